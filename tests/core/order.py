"""Which step comes after which, read from the tree alone.

This is written again here, and in another way than the core's frontiers, so that one can prove the other: two steps
depend on each other if and only if the node at which their paths part is a sequence.
"""

from collections.abc import Iterator

from countermand.schemas.definition import Definition, Node, ParallelNode, SequenceNode, StepNode

Turn = tuple[str, int]


def followers(definition: Definition) -> dict[str, set[str]]:
    """For each step, those that run only once it is done."""
    paths = dict(_paths(definition.root, ()))
    return {step: {other for other in paths if _follows(paths[step], paths[other])} for step in paths}


def _paths(node: Node, above: tuple[Turn, ...]) -> Iterator[tuple[str, tuple[Turn, ...]]]:
    match node:
        case StepNode(name=name):
            yield name, above
        case SequenceNode(nodes=children):
            for place, child in enumerate(children):
                yield from _paths(child, (*above, ("sequence", place)))
        case ParallelNode(branches=children):
            for place, child in enumerate(children):
                yield from _paths(child, (*above, ("parallel", place)))


def _follows(first: tuple[Turn, ...], second: tuple[Turn, ...]) -> bool:
    for (kind, here), (_, there) in zip(first, second, strict=False):
        if here != there:
            return kind == "sequence" and there > here
    return False
