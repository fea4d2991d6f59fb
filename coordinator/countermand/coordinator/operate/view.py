"""A saga laid upon its plan: which nodes there are in which places, and what has become of those that left no trace."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from countermand.coordinator.core import Plan
from countermand.coordinator.core.frontier import branch_of
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.operations import going_back
from countermand.coordinator.core.plan import Spot, places
from countermand.coordinator.core.state import Held, Looped, Saga, SagaState
from countermand.coordinator.operate.timeline import Span, spans
from countermand.schemas.identifiers import Direction, step_name, step_place

Absence = Literal["not_yet", "never", "not_taken"]

# Why nothing is known of a node: it comes later, the saga turned back before it, or another branch was taken.
ABSENT_WORDS: Final[dict[Absence, str]] = {
    "not_yet": "not yet",
    "never": "never asked for",
    "not_taken": "branch not taken",
}


class View:
    """What every part of a story looks at. `children` are states of child sagas, by id, as far as they were loaded."""

    def __init__(
        self,
        plan: Plan,
        saga: Saga,
        records: Iterable[Record],
        now_ms: int,
        children: Mapping[str, SagaState] | None = None,
    ) -> None:
        self.plan = plan
        self.saga = saga.whole()
        self.state = self.saga.state
        self.now_ms = now_ms
        self.children = children or {}
        self.held: dict[str, Held] = {each.step: each for each in self.state.held}
        self._spans = spans(records)
        self._branches: dict[int, tuple[tuple[Spot, Spot], ...]] = {}
        self._note_branches(plan.root, ())
        self._instances: dict[str, list[str]] = {}
        for ref in (*self.state.steps, *self.state.marks):
            self._instances.setdefault(step_name(ref), []).append(step_place(ref))

    def spans(self, ref: str, direction: Direction = "do") -> tuple[Span, ...]:
        """What the journal says of one direction of one node, in the order of time."""
        return tuple(self._spans.get((ref, direction), ()))

    def places(self, spot: Spot) -> list[str]:
        """The places in which a node stands: one outside of loops, else one for each item of those that were opened."""
        found = [""]
        for loop in spot.loops:
            found = [f"{place}[{index}]" for place in found for index in range(self._count(loop + place))]
        return found

    def traces(self, name: str) -> list[str]:
        """The places in which something is known of a node, in the order of its loops' items."""
        return sorted(self._instances.get(name, ()), key=lambda place: [int(each[1:-1]) for each in places(place)])

    def absent(self, spot: Spot, place: str) -> Absence:
        """Why nothing is known of a node in a place."""
        around = places(place)
        for node, branch in self._branches[spot.number]:
            mark = self.state.marks.get(node.ref("".join(around[: len(node.loops)])))
            if mark is None or getattr(mark, "status", "") in ("open", "dropped"):
                continue
            if branch_of(node, mark) is not branch:
                return "not_taken"
        over = self.state.ended or going_back(self.plan, self.state, spot.ref(place))
        return "never" if over else "not_yet"

    def _count(self, ref: str) -> int:
        mark = self.state.marks.get(ref)
        return mark.count if isinstance(mark, Looped) else 0

    def _note_branches(self, spot: Spot, around: tuple[tuple[Spot, Spot], ...]) -> None:
        self._branches[spot.number] = around
        for child in spot.children:
            # Of a node without branches, what is in it is always run.
            inner = (*around, (spot, child)) if spot.name and spot.step is None and _branches(spot) else around
            self._note_branches(child, inner)


def _branches(spot: Spot) -> bool:
    return spot.node.__struct_config__.tag in ("when", "wait_for", "approval")
