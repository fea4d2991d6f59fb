"""What can be read from where: which nodes have surely run before, and which perhaps."""

from collections.abc import Mapping
from typing import Final

import msgspec

from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    ForEachNode,
    NamedNode,
    ScopeNode,
    StepNode,
    WaitNode,
)
from countermand.schemas.lint.rules import Finding
from countermand.schemas.template import Path

_WITH_RESULT: Final = (StepNode, ChildNode, WaitNode, ApprovalNode, ScopeNode)
_WORDS: Final[Mapping[str, str]] = {"when": "a when", "for_each": "a for_each", "sleep": "a sleep", "lock": "a lock"}


class Seen:
    """The nodes that stand before a place: those that have surely run there, and those that perhaps have."""

    def __init__(self, sure: frozenset[str] = frozenset(), perhaps: frozenset[str] = frozenset()) -> None:
        self.sure = set(sure)
        self.perhaps = set(perhaps)

    def copy(self) -> "Seen":
        """For what goes on beside others, and doesn't see them."""
        return Seen(frozenset(self.sure), frozenset(self.perhaps))

    def add(self, *others: "Seen") -> None:
        """All that others have seen counts here too."""
        for other in others:
            self.sure |= other.sure
            self.perhaps |= other.perhaps

    def doubt(self, branch: "Seen") -> None:
        """What a branch has seen counts as perhaps: it may not have been taken, or was undone."""
        self.perhaps |= (branch.sure | branch.perhaps) - self.sure

    def collect(self, body: "Seen") -> None:
        """What a loop's body has seen is there as lists, which are whole, if with gaps."""
        self.sure |= body.sure | (body.perhaps - self.perhaps)


class Reader(msgspec.Struct, frozen=True):
    """Who reads, from where: the node's own name (null for the definition itself), and the loops around it."""

    own: str | None
    loops: tuple[str, ...]


def reading_finding(
    path: Path, place: str, reader: Reader, seen: Seen, nodes: Mapping[str, NamedNode]
) -> Finding | None:
    """Why a path can't be read from here; null if it can."""
    name = path.step
    if name is None:
        return None
    if path.root == "each":
        return None if name in reader.loops else _outside(path, place, name, nodes)
    if name == reader.own:
        return Finding("own-result", place, f"{path.text}: a step can't read its own result")
    node = nodes.get(name)
    if node is None:
        return Finding("unknown-step", place, f"{path.text}: there is no step {name[:64]!r} in this definition")
    if not isinstance(node, _WITH_RESULT):
        kind = _WORDS[str(type(node).__struct_config__.tag)]
        return Finding("no-result", place, f"{path.text}: {name!r} is {kind}, which has no result; read a step of it")
    if name in seen.sure or (name in seen.perhaps and path.guarded_step):
        return None
    if name in seen.perhaps:
        message = (
            f"{path.text}: step {name!r} may not have run, or may have been undone; ask first: "
            f"has(steps.{name}) ? {path.text} : null"
        )
        return Finding("may-not-have-run", place, message)
    return Finding(
        "not-yet-run", place, f"{path.text}: step {name!r} has not surely run before; move it ahead, in sequence"
    )


def _outside(path: Path, place: str, name: str, nodes: Mapping[str, NamedNode]) -> Finding:
    if isinstance(nodes.get(name), ForEachNode):
        message = f"{path.text}: this is not inside the body of the for_each {name!r}; move it there"
    else:
        message = f"{path.text}: there is no for_each {name[:64]!r} around this"
    return Finding("each-outside", place, message)
