"""Where a saga stands in a definition: what is known of its nodes, laid over the tree.

The walk is the forward one of `frontier`, but it looks at everything, and it asks whether the saga could have come this
far here: nothing has begun behind a node that isn't over.
"""

from collections.abc import Iterable, Iterator

import msgspec

from countermand.coordinator.core.frontier import branch_of
from countermand.coordinator.core.plan import Plan, Spot
from countermand.coordinator.core.state import DONE, Approval, Looped, Mark, SagaState, Scoped, Sleep, Wait
from countermand.schemas.definition import ForEachNode, ParallelNode, ScopeNode, SequenceNode
from countermand.schemas.identifiers import step_name


class Reached(msgspec.Struct, frozen=True):
    """What a walk has found. `seen` are the instances that the saga has come to, of those that something is known of.

    `ahead` are the nodes, by name, that it may still come to. `overtaken` are pairs of nodes: the first isn't over, and
    the second, which comes after it, has begun.
    """

    seen: frozenset[str]
    ahead: frozenset[str]
    overtaken: tuple[tuple[str, str], ...]


def reach(plan: Plan, state: SagaState) -> Reached:
    """How far a saga, of which nothing is put away, has come in a definition."""
    walk = _Walk(state, set())
    walk.look(plan.root, "")
    return Reached(frozenset(walk.seen), frozenset(walk.ahead), tuple(walk.overtaken))


def is_open(mark: Mark) -> bool:
    """Whether something is still waited for at a node."""
    return isinstance(mark, Wait | Sleep | Approval) and mark.status == "open"


class _Part(msgspec.Struct, frozen=True):
    """What is to be said of a part of the tree: the first node in it that has begun, and the first that isn't over."""

    begun: str | None
    unfinished: str | None


class _Walk:
    def __init__(self, state: SagaState, seen: set[str]) -> None:
        self._state = state
        self._steps, self._marks = state.steps, state.marks
        self.seen = seen
        self.ahead: set[str] = set()
        self.overtaken: dict[tuple[str, str], None] = {}

    def look(self, spot: Spot, place: str) -> _Part:
        node, ref = spot.node, spot.ref(place)
        if isinstance(node, SequenceNode):
            return self._sequence(self.look(child, place) for child in spot.children)
        if isinstance(node, ParallelNode):
            return _together([self.look(child, place) for child in spot.children])
        mark = self._marks.get(ref)
        if spot.step is not None:
            known = self._steps.get(ref)
            if known is None:
                self.ahead.add(spot.name)
                return _Part(None, ref)
            self.seen.add(ref)
            return _Part(ref, None if known.do.status in DONE else ref)
        if isinstance(node, ScopeNode):
            return self._scope(spot, place, mark)
        if mark is None:
            self.ahead |= _names(spot)
            return _Part(None, ref)
        self.seen.add(ref)
        return self._begun(spot, place, mark)

    def _sequence(self, parts: Iterable[_Part]) -> _Part:
        begun = unfinished = None
        for part in parts:
            if part.begun is not None and unfinished is not None:
                self.overtaken[step_name(unfinished), step_name(part.begun)] = None
            begun = begun or part.begun
            unfinished = unfinished or part.unfinished
        return _Part(begun, unfinished)

    def _scope(self, spot: Spot, place: str, mark: Mark | None) -> _Part:
        ref = spot.ref(place)
        if not isinstance(mark, Scoped):
            inner = self.look(spot.children[0], place)
            if inner.begun is None:
                self.ahead.add(spot.name)
            return inner
        self.seen.add(ref)
        # It goes back, or has gone back: nothing in it is still to come, whatever stands before what.
        _Walk(self._state, self.seen).look(spot.children[0], place)
        return _Part(ref, None if mark.undone else ref)

    def _begun(self, spot: Spot, place: str, mark: Mark) -> _Part:
        ref = spot.ref(place)
        if isinstance(mark, Looped) and isinstance(spot.node, ForEachNode):
            items = [self.look(spot.children[0], f"{place}[{index}]") for index in range(mark.count)]
            return _Part(ref, _together(items).unfinished)
        if is_open(mark):
            for child in spot.children:
                self.ahead |= _names(child)
            return _Part(ref, ref)
        branch = branch_of(spot, mark)
        return _Part(ref, None if branch is None else self.look(branch, place).unfinished)


def _together(parts: list[_Part]) -> _Part:
    begun = next((part.begun for part in parts if part.begun is not None), None)
    return _Part(begun, next((part.unfinished for part in parts if part.unfinished is not None), None))


def _names(spot: Spot) -> set[str]:
    return {each.name for each in _under(spot) if each.name}


def _under(spot: Spot) -> Iterator[Spot]:
    yield spot
    for child in spot.children:
        yield from _under(child)
