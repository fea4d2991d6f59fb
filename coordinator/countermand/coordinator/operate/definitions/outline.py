"""A definition in lines, nested as it is written: what each node does, how long it waits, and how it is undone."""

from collections.abc import Iterator

import msgspec

from countermand.coordinator.operate.definitions.words import (
    branch_text,
    kind_of,
    role_of,
    waits_of,
    what_of,
)
from countermand.schemas.definition import Definition, NamedNode, Node, SequenceNode, children_of


class Line(msgspec.Struct, frozen=True):
    """A node, or a branch of one: then `name` says when it is taken, and `kind` is empty."""

    depth: int
    name: str
    kind: str = ""
    what: str = ""
    waits: str = ""
    role: str = ""


def outline(definition: Definition) -> list[Line]:
    """Every node in the order of writing. Sequences have no line: what is in them stands below each other."""
    return list(_inner(definition.root, 0))


def _lines(node: Node, depth: int) -> Iterator[Line]:
    if isinstance(node, SequenceNode):
        yield from _inner(node, depth)
        return
    name = node.name if isinstance(node, NamedNode) else kind_of(node)
    yield Line(depth, name, kind_of(node), what_of(node), waits_of(node), role_of(node))
    yield from _inner(node, depth + 1)


def _inner(node: Node, depth: int) -> Iterator[Line]:
    for place, child in children_of(node):
        if branch := branch_text(node, place):
            yield Line(depth, branch)
            yield from _lines(child, depth + 1)
        elif place.startswith(".branches") and isinstance(child, SequenceNode):
            yield Line(depth, "one after another")
            yield from _lines(child, depth + 1)
        else:
            yield from _lines(child, depth)
