"""Random sound definitions: every kind of node, nested, with a pivot or without, patient and impatient steps."""

from collections.abc import Callable
from typing import Any, Literal

from hypothesis import strategies as st

from core.policies import BOUNDED, ENDLESS
from countermand.coordinator.core import Plan
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    Concurrency,
    Definition,
    ForEachNode,
    LockNode,
    Node,
    ParallelNode,
    ScopeNode,
    SequenceNode,
    SleepNode,
    StepKind,
    StepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.lint import errors, lint

NODES_MAX = 9
DEPTH_MAX = 4
LOOPS_MAX = 2
PARTICIPANTS = ("inventory", "payments", "shipping")
EVENTS = ("paid", "shipped")
ROLE, OTHER_ROLE, ASSIGNEE = "fraud", "board", "ann"

Draw = Callable[[st.SearchStrategy[Any]], Any]
Shape = Literal[
    "step", "sequence", "parallel", "when", "for_each", "wait_for", "sleep", "approval", "child", "lock", "scope"
]
LEAVES: list[Shape] = ["step", "step", "step", "wait_for", "sleep", "approval", "child", "lock"]
GROUPS: list[Shape] = ["sequence", "sequence", "parallel", "parallel", "when", "for_each", "for_each"]

# Made once: to make a strategy costs more than to draw from it.
_BOOLEANS = st.booleans()
_UP_TO_2 = st.integers(0, 2)
_UP_TO_3 = st.integers(0, 3)
_BREADTHS = st.integers(1, 3)
_PARTICIPANTS = st.sampled_from(PARTICIPANTS)
_UNDOABLE = st.sampled_from([True, True, True, False])
_TIMEOUTS = st.integers(1, 5_000)
_DEADLINES = st.none() | st.integers(1, 20_000)
_PLACES = st.integers(0, NODES_MAX)
_EVENTS = st.sampled_from(EVENTS)
_KEYS = st.sampled_from([None, None, {"$": "saga.id"}, "k1"])
_ITEMS = st.sampled_from([[], [1], [1, 2], [1, 2], [1, 2, 3], {"$": "input.lines"}])
_LEAF = st.sampled_from(LEAVES)
_ANY = st.sampled_from([*LEAVES, *GROUPS, *GROUPS, "scope", "scope"])
_ANY_FORWARD = st.sampled_from([*LEAVES, *GROUPS, *GROUPS])
_CONDITIONS = st.sampled_from(["input.order.total > 10", "input.order.total < 10", "size(input.lines) == 2"])
_UNKNOWNS: st.SearchStrategy[Any] = st.sampled_from(["compensate", "compensate", "probe"])
_ESCALATIONS = st.none() | st.integers(1, 400)

# What can be read at a place: the text of an expression, by the name of the node that it reads.
Visible = dict[str, str]


class _Writer:
    """Writes one definition; knows which nodes have surely run before the one it writes, and which perhaps."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._written = 0
        self._loops: list[str] = []

    def definition(self) -> Definition:
        draw = self._draw
        visible: Visible = {}
        before = draw(_UP_TO_3)
        has_pivot = draw(_BOOLEANS)
        nodes = [self.node("compensatable", visible, 1) for _ in range(before if has_pivot else max(before, 1))]
        if has_pivot:
            nodes.append(self.child("pivot", visible) if draw(_UP_TO_3) == 0 else self.step("pivot", visible))
            nodes += [self.node("retriable", visible, 1) for _ in range(draw(_UP_TO_2))]
        limited = draw(_UP_TO_3) == 0
        return Definition(
            countermand=1,
            name="random",
            version=1,
            root=SequenceNode(tuple(nodes)),
            deadline_ms=draw(_DEADLINES),
            outcome=self.template(visible),
            concurrency=Concurrency(2, draw(_KEYS), 2_000) if limited else None,
        )

    def node(self, kind: StepKind, visible: Visible, depth: int) -> Node:
        shape = self._shape(kind, depth)
        match shape:
            case "sequence":
                return SequenceNode(tuple(self.node(kind, visible, depth + 1) for _ in range(self._draw(_BREADTHS))))
            case "parallel":
                return self.parallel(kind, visible, depth)
            case "for_each":
                return self.for_each(kind, visible, depth)
            case "when" | "wait_for" | "approval" | "scope":
                return self.branching(shape, kind, visible, depth)
            case "sleep":
                until = self._draw(_BOOLEANS)
                ends = {"until": "2023-11-14T22:13:22Z"} if until else {"duration_ms": self._draw(_TIMEOUTS)}
                return SleepNode(self.name("sleep"), **ends)
            case "child":
                return self.child(kind, visible)
            case "lock":
                own: Any = kind
                return LockNode(
                    self.name("lock"), "order", self._draw(_KEYS) or 7, timeout_ms=self._draw(_TIMEOUTS), kind=own
                )
            case _:
                return self.step(kind, visible)

    def _shape(self, kind: StepKind, depth: int) -> Shape:
        if depth >= DEPTH_MAX or self._written >= NODES_MAX:
            shape: Shape = self._draw(_LEAF)
        else:
            shape = self._draw(_ANY_FORWARD if kind == "retriable" else _ANY)
        return "sequence" if shape == "for_each" and len(self._loops) >= LOOPS_MAX else shape

    def name(self, prefix: str) -> str:
        self._written += 1
        return f"{prefix}{self._written}"

    # --- groups

    def parallel(self, kind: StepKind, visible: Visible, depth: int) -> Node:
        after: Visible = {}
        branches = []
        for _ in range(self._draw(_BREADTHS)):
            own = dict(visible)
            branches.append(self.node(kind, own, depth + 1))
            after |= own
        visible |= after
        return ParallelNode(tuple(branches))

    def for_each(self, kind: StepKind, visible: Visible, depth: int) -> Node:
        name = self.name("each")
        own = dict(visible)
        self._loops.append(name)
        body = self.node(kind, own, depth + 1)
        self._loops.pop()
        # From outside it is a list, whatever may be in it.
        visible |= {inner: f"steps.{inner}" for inner in own if inner not in visible}
        return ForEachNode(name, self._draw(_ITEMS), body, concurrency=self._draw(_BREADTHS))

    def branching(self, shape: Shape, kind: StepKind, visible: Visible, depth: int) -> Node:
        draw, name = self._draw, self.name(shape.removesuffix("_for"))
        # After the pivot nothing can be turned back, so nothing is read there that may not be there.
        condition = {"$": self.condition({} if kind == "retriable" else visible)}
        branches: list[Node] = []
        seen: Visible = {}
        most = {"when": 1 + draw(_BOOLEANS), "scope": 1}.get(shape, int(draw(_BOOLEANS)))
        for _ in range(most):
            own = dict(visible) | ({name: f"steps.{name}.decision"} if shape == "approval" else {})
            branches.append(self.node(kind, own, depth + 1))
            seen |= own
        visible |= {inner: f"has(steps.{inner}) ? steps.{inner} : null" for inner in seen if inner not in visible}
        branch = branches[0] if branches else None
        match shape:
            case "when":
                return WhenNode(name, condition, branches[0], branches[1] if most > 1 else None)
            case "scope":
                visible[name] = f"steps.{name}.failed"
                return ScopeNode(name, branches[0])
            case "wait_for":
                visible[name] = f"steps.{name}" if branch is None else f"has(steps.{name}) ? steps.{name} : null"
                return WaitNode(name, draw(_EVENTS), draw(_TIMEOUTS), key=draw(_KEYS), on_timeout=branch)
            case _:
                visible[name] = f"steps.{name}.decision"
                return self.approval(name, branch)

    def approval(self, name: str, branch: Node | None) -> ApprovalNode:
        after_ms = self._draw(_ESCALATIONS)
        return ApprovalNode(
            name,
            deadline_ms=500 + self._draw(_TIMEOUTS),
            shows={"order": {"$": "input.order"}},
            role=ROLE,
            assignees=(ASSIGNEE,) if self._draw(_BOOLEANS) else (),
            requester=ASSIGNEE if self._draw(_BOOLEANS) else None,
            escalate_after_ms=after_ms,
            escalate_to=None if after_ms is None else OTHER_ROLE,
            otherwise=branch,
        )

    # --- what is asked for

    def child(self, kind: StepKind, visible: Visible) -> ChildNode:
        undoable = kind != "compensatable" or self._draw(_UNDOABLE)
        name = self.name("child")
        node = ChildNode(
            name,
            "other",
            input={"order": {"$": "input.order"}} if kind == "retriable" else self.template(visible),
            kind=kind,
            compensation=undoable,
            because="" if undoable else "it only reads",
            timeout_ms=self._draw(_TIMEOUTS) if self._draw(_BOOLEANS) else None,
        )
        visible[name] = f"steps.{name}.value"
        return node

    def step(self, kind: StepKind, visible: Visible) -> StepNode:
        draw = self._draw
        name = self.name("s")
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
            retry=draw(ENDLESS if kind == "retriable" else BOUNDED),
            undo_timeout_ms=draw(_TIMEOUTS),
            undo_retry=draw(ENDLESS),
            on_unknown="compensate" if kind == "retriable" else draw(_UNKNOWNS),
        )
        visible[name] = f"steps.{name}.value"
        return step

    # --- what is read

    def template(self, visible: Visible) -> dict[str, Any]:
        """Reads the input, an item, or what has run before: a result that may lack the field."""
        style = self._draw(_UP_TO_3)
        if visible and style == 0:
            return {"of": {"$": self._any_of(visible)}}
        if self._loops and style == 1:
            return {"of": {"$": f"each.{self._loops[-1]}.item"}}
        return {"of": {"$": "input.order"}}

    def condition(self, visible: Visible) -> str:
        match self._draw(_UP_TO_3):
            case 0 if visible and (text := self._any_of(visible)).endswith(".value"):
                return f"{text} > 3"
            case 1 if visible:
                # Not true and not false: there is no way on.
                return "input.order"
            case _:
                return str(self._draw(_CONDITIONS))

    def _any_of(self, visible: Visible) -> str:
        return visible[sorted(visible)[self._draw(_PLACES) % len(visible)]]


@st.composite
def plans(draw: Draw) -> Plan:
    """A plan of a definition that the lint finds no error in."""
    definition = _Writer(draw).definition()
    assert errors(lint(definition)) == []
    return Plan(definition)
