"""Random sound definitions: trees of sequences and parallels, with a pivot or without, patient and impatient steps."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from countermand.coordinator.core import Plan
from countermand.schemas.definition import Definition, Node, ParallelNode, RetryPolicy, SequenceNode, StepKind, StepNode
from countermand.schemas.lint import errors, lint

STEPS_MAX = 9
DEPTH_MAX = 3
PARTICIPANTS = ("inventory", "payments", "shipping")

Draw = Callable[[st.SearchStrategy[Any]], Any]


def _policies(*, endless: bool) -> st.SearchStrategy[RetryPolicy | None]:
    """Small retry policies; none at all is the kind's own one."""
    attempts = st.integers(1, 3)
    return st.none() | st.builds(
        RetryPolicy,
        attempts_max=st.none() | attempts if endless else attempts,
        backoff_ms=st.integers(0, 500),
        backoff_max_ms=st.integers(500, 2_000),
        multiplier=st.integers(1, 3),
        jitter_percent=st.sampled_from([0, 20, 100]),
    )


# Made once: to make a strategy costs more than to draw from it.
_BOOLEANS = st.booleans()
_UP_TO_2 = st.integers(0, 2)
_UP_TO_3 = st.integers(0, 3)
_BREADTHS = st.integers(1, 3)
_SHAPES = st.sampled_from(["step", "step", "sequence", "parallel"])
_PARTICIPANTS = st.sampled_from(PARTICIPANTS)
_UNDOABLE = st.sampled_from([True, True, True, False])
_TIMEOUTS = st.integers(1, 5_000)
_DEADLINES = st.none() | st.integers(1, 20_000)
_BOUNDED = _policies(endless=False)
_ENDLESS = _policies(endless=True)
_PLACES = st.integers(0, STEPS_MAX)


class _Writer:
    """Writes one definition; knows which steps have surely run before the one it writes."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._written = 0

    def definition(self) -> Definition:
        draw = self._draw
        visible: set[str] = set()
        before = draw(_UP_TO_3)
        has_pivot = draw(_BOOLEANS)
        nodes = [self.node("compensatable", visible, 1) for _ in range(before if has_pivot else max(before, 1))]
        if has_pivot:
            nodes.append(self.step("pivot", visible))
            nodes += [self.node("retriable", visible, 1) for _ in range(draw(_UP_TO_2))]
        return Definition(
            countermand=1,
            name="random",
            version=1,
            root=SequenceNode(tuple(nodes)),
            deadline_ms=draw(_DEADLINES),
            outcome=self.template(visible),
        )

    def node(self, kind: StepKind, visible: set[str], depth: int) -> Node:
        shapes = (
            ["step", "step", "sequence", "parallel"] if depth < DEPTH_MAX and self._written < STEPS_MAX else ["step"]
        )
        match self._draw(st.sampled_from(shapes)):
            case "sequence":
                return SequenceNode(tuple(self.node(kind, visible, depth + 1) for _ in range(self.breadth())))
            case "parallel":
                after: set[str] = set()
                branches = []
                for _ in range(self.breadth()):
                    own = set(visible)
                    branches.append(self.node(kind, own, depth + 1))
                    after |= own
                visible |= after
                return ParallelNode(tuple(branches))
            case _:
                return self.step(kind, visible)

    def breadth(self) -> int:
        breadth: int = self._draw(_BREADTHS)
        return breadth

    def step(self, kind: StepKind, visible: set[str]) -> StepNode:
        draw = self._draw
        self._written += 1
        name = f"s{self._written}"
        undoable = kind != "compensatable" or draw(_UNDOABLE)
        step = StepNode(
            name=name,
            participant=draw(_PARTICIPANTS),
            action="act",
            input=self.template(visible),
            kind=kind,
            compensation=undoable,
            because="" if undoable else "it only reads",
            timeout_ms=draw(_TIMEOUTS),
            retry=draw(_ENDLESS if kind == "retriable" else _BOUNDED),
            undo_timeout_ms=draw(_TIMEOUTS),
            undo_retry=draw(_ENDLESS),
        )
        visible.add(name)
        return step

    def template(self, visible: set[str]) -> dict[str, Any]:
        """Reads the input, or the result of a step that has surely run: a result that may lack the field."""
        if visible and self._draw(_UP_TO_3) == 0:
            names = sorted(visible)
            return {"of": {"$": f"steps.{names[self._draw(_PLACES) % len(names)]}.value"}}
        return {"of": {"$": "input.order"}}


@st.composite
def plans(draw: Draw) -> Plan:
    """A plan of a definition that the lint finds nothing in."""
    definition = _Writer(draw).definition()
    assert errors(lint(definition)) == []
    return Plan(definition)
