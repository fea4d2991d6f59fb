"""Other versions of random definitions: a step more, a step less, another order, another participant or input."""

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from countermand.schemas.definition import (
    ApprovalNode,
    Definition,
    ForEachNode,
    Node,
    ParallelNode,
    ScopeNode,
    SequenceNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.lint import errors, lint

Draw = Callable[[st.SearchStrategy[Any]], Any]

_BRANCHES: dict[type, tuple[str, ...]] = {
    WhenNode: ("then", "otherwise"),
    ForEachNode: ("body",),
    ScopeNode: ("body",),
    WaitNode: ("on_timeout",),
    ApprovalNode: ("otherwise",),
}


def altered(draw: Draw, definition: Definition) -> Definition:
    """The next version: up to three changes, of which those are left out that the lint finds fault with."""
    found = replace(definition, version=definition.version + 1)
    for number in range(draw(st.integers(0, 3))):
        candidates = [replace(found, root=root) for root in _changed(found.root, number) if root is not None]
        sound = [each for each in candidates if errors(lint(each)) == []]
        if sound:
            found = sound[draw(st.integers(0, len(sound) - 1))]
    return found


def _changed(node: Any, number: int) -> Iterator[Any]:
    """The node after each change that can be made in it, one at a time."""
    if isinstance(node, SequenceNode | ParallelNode):
        field = "nodes" if isinstance(node, SequenceNode) else "branches"
        for children in _rearranged(getattr(node, field), number):
            yield replace(node, **{field: children})
    elif isinstance(node, StepNode):
        yield replace(node, input={"changed": number})
        yield replace(node, participant="elsewhere")
        yield replace(node, undo_timeout_ms=node.undo_timeout_ms + 1_000, timeout_ms=node.timeout_ms + 1_000)
        if node.kind == "compensatable":
            yield replace(node, compensation=not node.compensation, because="it changes its mind")
    for field in _BRANCHES.get(type(node), ()):
        if (branch := getattr(node, field)) is not None:
            for each in _changed(branch, number):
                yield replace(node, **{field: each})


def _rearranged(children: tuple[Node, ...], number: int) -> Iterator[tuple[Node, ...]]:
    for at in range(len(children) + 1):
        for kind in ("compensatable", "retriable"):
            new = StepNode(f"new_{number}", "elsewhere", "act", kind=kind)
            yield (*children[:at], new, *children[at:])
    for at, child in enumerate(children):
        if len(children) > 1:
            yield (*children[:at], *children[at + 1 :])
        if at:
            yield (*children[: at - 1], child, children[at - 1], *children[at + 1 :])
        for each in _changed(child, number):
            yield (*children[:at], each, *children[at + 1 :])
