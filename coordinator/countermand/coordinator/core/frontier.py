"""What can be asked for or begun now: one walk over the definition's tree, forwards and backwards.

Forwards, a sequence stops at its first unfinished child and a parallel walks all of its branches. Backwards is the
mirror image: a sequence begins at its end. So a compensation is asked for only when everything that came after its
action has been undone (invariant I6), and branches that don't depend on each other go on without each other. A scope
that failed is walked backwards while the saga around it goes forwards.

What a walk finds is a function of the definition and of what is known of its nodes. The frames only spare it the parts
that are over: without them it finds the same (but looks at more).
"""

import msgspec

from countermand.coordinator.core.plan import Plan, Spot
from countermand.coordinator.core.state import (
    DONE,
    EDIT,
    RESULT,
    UNDONE,
    Approval,
    Chosen,
    Frame,
    Looped,
    Mark,
    NotLoaded,
    Saga,
    Scoped,
    StepState,
    Wait,
)
from countermand.schemas.definition import (
    ApprovalNode,
    ForEachNode,
    ParallelNode,
    ScopeNode,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.identifiers import Direction


class Due(msgspec.Struct, frozen=True):
    """A step to ask for, and in which direction."""

    spot: Spot
    place: str
    step: StepNode
    direction: Direction

    @property
    def ref(self) -> str:
        return self.spot.ref(self.place)


class Opening(msgspec.Struct, frozen=True):
    """A node that is reached and that something has to be decided of before the walk can go on in it."""

    spot: Spot
    place: str

    @property
    def ref(self) -> str:
        return self.spot.ref(self.place)


class Frontier(msgspec.Struct, frozen=True):
    """What a walk has found; `finished` when there is nothing left to do or to wait for in this direction.

    `frames` are those from now on; `passed` are nodes, steps aside, that are over.
    """

    due: tuple[Due, ...]
    openings: tuple[Opening, ...]
    frames: dict[str, Frame]
    passed: tuple[str, ...]
    finished: bool


def forward_frontier(plan: Plan, saga: Saga) -> Frontier:
    """What can be begun now, and the compensations of scopes that failed.

    Raises:
        NotLoaded: of a large saga, something is needed that isn't here.
    """
    walk = _Walk(plan, saga)
    return walk.found(finished=walk.forwards(plan.root, ""))


def backward_frontier(plan: Plan, saga: Saga) -> Frontier:
    """The compensations that can be asked for now, in reverse dependency order.

    Raises:
        NotLoaded: as above.
    """
    walk = _Walk(plan, saga)
    return walk.found(finished=walk.backwards(plan.root, ""))


def needs_compensation(step: StepNode, known: StepState | None) -> bool:
    """Whether the saga may not end before the participant has acknowledged the step's undo (invariant I5).

    Every action that was asked for is undone, unless it was rejected: a rejection stands on record under the step's
    key, so nothing can be done under it any more. A failure doesn't, however surely its attempt was rolled back: a copy
    of the command may still be on the way. For the same reason a pivot that was given up gets an undo, though it has no
    compensation: the barrier then closes its key, or says that the pivot was done after all.
    """
    if known is None:
        return False
    closable = step.can_be_undone or step.kind == "pivot" if known.route is None else known.route.compensated
    return closable and known.do.status in ("succeeded", "skipped", "unknown", "not_done")


class _Walk:
    """One walk over one saga's tree. Every method says whether the node is over in its direction."""

    def __init__(self, plan: Plan, saga: Saga) -> None:
        self._plan = plan
        self._saga = saga
        self._steps = saga.state.steps
        self._marks = saga.state.marks
        self._frames = dict(saga.state.frames)
        self._due: list[Due] = []
        self._openings: list[Opening] = []
        self._passed: list[str] = []
        self._missing: NotLoaded | None = None

    def found(self, *, finished: bool) -> Frontier:
        if self._missing is not None:
            raise self._missing
        return Frontier(tuple(self._due), tuple(self._openings), self._frames, tuple(self._passed), finished)

    # --- forwards: what isn't in the state has not been begun, because the frames lead past what was put away

    def forwards(self, spot: Spot, place: str) -> bool:
        node = spot.node
        if isinstance(node, SequenceNode):
            return self._sequence_on(spot, place)
        if isinstance(node, ParallelNode):
            return self._parallel(spot, place, back=False)
        if spot.step is not None:
            known = self._steps.get(spot.ref(place))
            if known is None:
                self._due.append(Due(spot, place, spot.step, "do"))
            return known is not None and known.do.status in DONE
        over = self._forwards_at(spot, place, self._marks.get(spot.ref(place)))
        if over:
            self._passed.append(spot.ref(place))
        return over

    def _forwards_at(self, spot: Spot, place: str, mark: Mark | None) -> bool:
        match spot.node, mark:
            case ScopeNode(), None:
                return self.forwards(spot.children[0], place)
            case ScopeNode(), Scoped(undone=undone):
                if not undone and self.backwards(spot.children[0], place):
                    self._openings.append(Opening(spot, place))
                return undone
            case _, None:
                self._openings.append(Opening(spot, place))
                return False
            case ForEachNode(concurrency=concurrency), Looped(count=count):
                return self._loop(spot, place, concurrency, count, back=False)
            case ((WaitNode() | SleepNode() | ApprovalNode()), _) if mark.status == "open":  # type: ignore[union-attr]
                return False
            case _ if in_vain(spot, mark):
                return False
            case _:
                branch = branch_of(spot, mark)
                return branch is None or self.forwards(branch, place)

    def _sequence_on(self, spot: Spot, place: str) -> bool:
        key, children = spot.key(place), spot.children
        frame = self._frames.get(key)
        at = 0 if frame is None else frame.at
        while at < len(children) and self.forwards(children[at], place):
            at += 1
        return self._keep(key, Frame(False, at), over=at == len(children))

    # --- backwards: what isn't in the state may have been put away

    def backwards(self, spot: Spot, place: str) -> bool:
        node = spot.node
        if isinstance(node, SequenceNode):
            return self._sequence_back(spot, place)
        if isinstance(node, ParallelNode):
            return self._parallel(spot, place, back=True)
        ref = spot.ref(place)
        try:
            if spot.step is not None:
                return self._undone(spot, spot.step, place)
            mark = self._saga.mark(ref)
        except NotLoaded as missing:
            # The others are looked at all the same, so that all that is missing is loaded at once; and of a step also
            # what its compensation will need.
            also = frozenset() if spot.step is None else frozenset({EDIT + ref, RESULT + ref})
            self._missing = NotLoaded(missing.parts | also) | self._missing
            return False
        match mark:
            case Scoped(undone=True):
                return True
            case Looped(count=count) if isinstance(node, ForEachNode):
                return self._loop(spot, place, node.concurrency, count, back=True)
            case _ if isinstance(node, ScopeNode):
                return self.backwards(spot.children[0], place)
            case _:
                branch = None if mark is None else branch_of(spot, mark)
                return branch is None or self.backwards(branch, place)

    def _undone(self, spot: Spot, step: StepNode, place: str) -> bool:
        known = self._saga.step(spot.ref(place))
        if known is None or not needs_compensation(step, known):
            return True
        if known.undo is None and known.do.status == "unknown" and step.on_unknown == "probe":
            if known.probe is None:
                self._due.append(Due(spot, place, step, "probe"))
            if known.probe is None or known.open:
                return False
        if known.undo is None:
            self._due.append(Due(spot, place, step, "undo"))
        return known.undo is not None and known.undo.status in UNDONE

    def _sequence_back(self, spot: Spot, place: str) -> bool:
        key, last = spot.key(place), len(spot.children) - 1
        frame = self._frames.get(key)
        at = last if frame is None else min(frame.at, last)
        while at >= 0 and self.backwards(spot.children[at], place):
            at -= 1
        return self._keep(key, Frame(True, at), over=at < 0)

    # --- both ways

    def _parallel(self, spot: Spot, place: str, *, back: bool) -> bool:
        key = spot.key(place)
        frame = self._frames.get(key)
        begun = frame is not None and frame.back == back
        walk = self.backwards if back else self.forwards
        indexes = frame.open if frame is not None and begun else range(len(spot.children))
        still = tuple(index for index in indexes if not walk(spot.children[index], place))
        return self._keep(key, Frame(back, 0, still), over=not still)

    def _loop(self, spot: Spot, place: str, at_once: int, count: int, *, back: bool) -> bool:
        key, body = spot.key(place), spot.children[0]
        frame = self._frames.get(key)
        walk = self.backwards if back else self.forwards
        still: list[int]
        if frame is None:
            at, still = count if back else 0, []
        elif frame.back != back:
            # The items that were begun, the newest first: whatever is done of them is undone.
            at, still = frame.at, []
        else:
            at, still = frame.at, [index for index in frame.open if not walk(body, f"{place}[{index}]")]
        while len(still) < at_once and (at > 0 if back else at < count):
            index = at - 1 if back else at
            at = at - 1 if back else at + 1
            if not walk(body, f"{place}[{index}]"):
                still.append(index)
        over = not still and at == (0 if back else count)
        return self._keep(key, Frame(back, at, tuple(still)), over=over)

    def _keep(self, key: str, frame: Frame, *, over: bool) -> bool:
        if over:
            self._frames.pop(key, None)
        else:
            self._frames[key] = frame
        return over


def in_vain(spot: Spot, mark: Mark | None) -> bool:
    """Whether a node was waited for in vain, and has no branch for that: there is no way on from it."""
    match mark:
        case Wait(status="missed") | Approval(status="denied" | "timed_out"):
            return not spot.children
        case _:
            return False


def branch_of(spot: Spot, mark: Mark) -> Spot | None:
    """The branch that was taken at a node that is decided; null where it goes on at once."""
    match spot.node, mark:
        case WhenNode(), Chosen(then=then):
            index = 0 if then else 1
        case WaitNode(), Wait(status="missed"):
            index = 0
        case ApprovalNode(), Approval(status="denied" | "timed_out"):
            index = 0
        case _:
            return None
    return spot.children[index] if index < len(spot.children) else None
