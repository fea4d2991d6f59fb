"""Which nodes moved between two definitions: into another loop, branch or scope, or after other nodes than before."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from countermand.coordinator.operate.definitions.words import kind_of
from countermand.schemas.definition import (
    Definition,
    ForEachNode,
    NamedNode,
    Node,
    ParallelNode,
    ScopeNode,
    WhenNode,
    children_of,
)

NAMES_SHOWN_MAX: Final = 4

# A named node, and the place in it that something stands at (`.then`).
Holder = tuple[str, str]


class Place(msgspec.Struct, frozen=True):
    """Where a node stands: in which nodes, from the outside in, and after which ones. `holder` says it in words."""

    inside: tuple[Holder, ...]
    after: frozenset[str]
    holder: str


def places(definition: Definition) -> dict[str, Place]:
    """The place of each node that has a name."""
    found: dict[str, Place] = {}
    _walk(definition.root, Place((), frozenset(), ""), found)
    return found


def moves(old: Mapping[str, Place], new: Mapping[str, Place], pairs: Mapping[str, str]) -> dict[str, str]:
    """The nodes (by their new names) that moved, and how. `pairs` has the new name of each old one that is still there.

    What moved along with the node that it is in hasn't moved itself.
    """
    order = [name for name in new if name in set(pairs.values())]
    stood = {pairs[name]: _renamed(place, pairs) for name, place in old.items() if name in pairs}
    ranks = {pairs[name]: rank for rank, name in enumerate(name for name in old if name in pairs)}
    fixed = {order[index] for index in _longest_rising([ranks[name] for name in order])}
    moved: dict[str, str] = {}
    for name in order:
        was, is_ = stood[name], new[name]
        if was.inside != is_.inside:
            moved[name] = f"moved: {_between(was, is_)}"
        elif not (is_.inside and is_.inside[-1][0] in moved) and (told := _order(name, was, is_, fixed, order)):
            moved[name] = told
    return moved


def _order(name: str, was: Place, is_: Place, fixed: set[str], order: list[str]) -> str:
    before, after = was.after & fixed, is_.after & fixed
    if name in fixed and before == after:
        return ""
    told = [f"no longer after {_listed(before - after, order)}"] if before - after else []
    told += [f"now after {_listed(after - before, order)}"] if after - before else []
    return f"moved: {', '.join(told) or 'to another place'}"


def _between(was: Place, is_: Place) -> str:
    return f"now {is_.holder}" if is_.holder else f"no longer {was.holder}"


def _renamed(place: Place, pairs: Mapping[str, str]) -> Place:
    inside = tuple((pairs.get(name, name), at) for name, at in place.inside)
    return Place(inside, frozenset(pairs[name] for name in place.after if name in pairs), place.holder)


def _walk(node: Node, at: Place, found: dict[str, Place]) -> frozenset[str]:
    """Notes the places of a node and of all in it; answers what has run when it is done."""
    after = at.after
    if isinstance(node, NamedNode):
        found[node.name] = at
        after |= {node.name}
    apart = isinstance(node, ParallelNode | WhenNode)
    done = after
    for place, child in children_of(node):
        inner = msgspec.structs.replace(at, after=after if apart else done)
        if isinstance(node, NamedNode):
            inner = Place((*at.inside, (node.name, place)), inner.after, _in_words(node, place))
        done |= _walk(child, inner, found)
    return done


def _in_words(node: NamedNode, place: str) -> str:
    match node:
        case ForEachNode():
            return f"in the loop {node.name}"
        case ScopeNode():
            return f"in the scope {node.name}"
        case _:
            return f"in `{place.lstrip('.')}` of {kind_of(node)} {node.name}"


def _longest_rising(numbers: list[int]) -> set[int]:
    """The indexes of a longest part of a list that rises."""
    ends: list[int] = []
    indexes: list[int] = []
    previous: list[int | None] = []
    for index, number in enumerate(numbers):
        place = bisect_left(ends, number)
        previous.append(indexes[place - 1] if place else None)
        ends[place:] = [number] if place == len(ends) else [number, *ends[place + 1 :]]
        indexes[place:] = [index] if place == len(indexes) else [index, *indexes[place + 1 :]]
    found: set[int] = set()
    at: int | None = indexes[-1] if indexes else None
    while at is not None:
        found.add(at)
        at = previous[at]
    return found


def _listed(names: Iterable[str], order: list[str]) -> str:
    wanted = set(names)
    sorted_ = [name for name in order if name in wanted]
    more = f" and {len(sorted_) - NAMES_SHOWN_MAX} more" if len(sorted_) > NAMES_SHOWN_MAX else ""
    return ", ".join(sorted_[:NAMES_SHOWN_MAX]) + more
