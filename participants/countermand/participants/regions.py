"""What is being written down: nodes in the order of writing, some of them enclosed.

What comes to be in an enclosure isn't simply there for what is written outside: a loop's body leaves one for each item,
and a branch or a scope may leave none.
"""

from typing import ClassVar, Literal, Protocol

import msgspec

from countermand.schemas.definition import ApprovalNode, Node, SequenceNode, WaitNode
from countermand.schemas.stand_ins import StandIn

Enclosure = Literal["loop", "branch", "scope"]


class Handle(StandIn):
    """What the `as` of a `with` gives. It is no value itself; `parts` says what can be read of it."""

    parts: ClassVar[str]


class Written(Protocol):
    """A node of which parts may still be written."""

    def node(self) -> Node:
        """The node as it stands in the document."""


class Region:
    """Nodes in the order of writing. `opening` is how its author opened it, at `line`."""

    def __init__(self, opening: str, line: str, enclosure: Enclosure | None = None) -> None:
        self.opening = opening
        self.line = line
        self.enclosure = enclosure
        self.written: list[Written] = []

    def children(self) -> tuple[Node, ...]:
        """What was written inside."""
        return tuple(written.node() for written in self.written)

    def node(self) -> Node:
        """What was written inside, as one node."""
        children = self.children()
        return children[0] if len(children) == 1 else SequenceNode(children)


class Leaf:
    """A node that has nothing inside."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def node(self) -> Node:
        return self._node


class Pending:
    """A wait or an approval, after which a branch may be written for when it comes to nothing."""

    def __init__(self, node: WaitNode | ApprovalNode, line: str) -> None:
        self.own = node
        self.line = line
        self.branch: Region | None = None
        # What an event brought is there only if it came, as though it stood in a branch of its own.
        self.outcome = Region(f"the wait for {node.name!r}", line)

    def node(self) -> Node:
        if self.branch is None:
            return self.own
        field = "on_timeout" if isinstance(self.own, WaitNode) else "otherwise"
        return msgspec.structs.replace(self.own, **{field: self.branch.node()})
