"""Where each node stands and what comes after what, read from the document alone.

This is written again here, and in another way than the core's walk, so that one can prove the other: two nodes depend
on each other if and only if the node at which their paths part is a sequence, or a loop that takes one item at a time.
"""

from collections.abc import Iterator

from countermand.schemas.definition import Definition, ForEachNode, Node, ScopeNode, SequenceNode, children_of
from countermand.schemas.identifiers import step_name, step_place

LIMIT = "countermand_limit"

# A node on the way down, and which of its children is next.
Turn = tuple[Node, int]


class Tree:
    """A definition's nodes with a name, each with its path from the root."""

    def __init__(self, definition: Definition) -> None:
        self.root = definition.root
        self.nodes: dict[str, Node] = {}
        self._paths: dict[str, tuple[Turn, ...]] = {}
        self._grow(definition.root, ())

    def _grow(self, node: Node, above: tuple[Turn, ...]) -> None:
        name = getattr(node, "name", None)
        if name is not None:
            self.nodes[name] = node
            self._paths[name] = above
        for index, (_, child) in enumerate(children_of(node)):
            self._grow(child, (*above, (node, index)))

    def node(self, ref: str) -> Node | None:
        return self.nodes.get(step_name(ref))

    def way(self, ref: str) -> Iterator[tuple[Node, str, int]]:
        """The nodes above an instance from the root down: each with its place, and which child is next.

        The item of a loop counts as its child.
        """
        items = indexes(ref)
        place = ""
        for node, index in self._paths.get(step_name(ref), ()):
            if isinstance(node, ForEachNode):
                item = items.pop(0)
                yield node, place, item
                place += f"[{item}]"
            else:
                yield node, place, index

    def scopes_around(self, ref: str) -> list[str]:
        return [node.name + place for node, place, _ in self.way(ref) if isinstance(node, ScopeNode)]

    def before(self, ref: str) -> list[tuple[Node, str]]:
        """The nodes that must be over before this one begins, each with its place."""
        found: list[tuple[Node, str]] = []
        for node, place, index in self.way(ref):
            if isinstance(node, SequenceNode):
                found += [(child, place) for _, child in children_of(node)[:index]]
            elif isinstance(node, ForEachNode) and node.concurrency == 1:
                found += [(node.body, f"{place}[{item}]") for item in range(index)]
        return found

    def follows(self, first: str, second: str) -> bool:
        """Whether the second step runs only once the first one is done."""
        if LIMIT in (first, second):
            return first == LIMIT != second
        for (node, _, here), (_, _, there) in zip(self.way(first), self.way(second), strict=False):
            if here != there:
                one_by_one = isinstance(node, ForEachNode) and node.concurrency == 1
                return (one_by_one or isinstance(node, SequenceNode)) and there > here
        return False


def indexes(ref: str) -> list[int]:
    """The items that an instance stands in, from the outermost loop inwards."""
    return [int(each) for each in step_place(ref).replace("]", "").split("[")[1:]]
