"""What a journal says has happened so far. Nothing here asks the core."""

from collections import Counter
from collections.abc import Iterator

from core.order import LIMIT, Tree
from core.waiting_marks import WaitingMarks
from countermand.coordinator.core import Plan
from countermand.coordinator.core.journal import (
    ApprovalAsked,
    AttemptFailed,
    BranchTaken,
    CompensationSettled,
    CompensationStarted,
    DeadlineExtended,
    DeadlineMissed,
    JournalEntry,
    LoopOpened,
    OperatorActed,
    Record,
    RetryGranted,
    SagaEnded,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    ScopeUndone,
    SleepBegun,
    StepAsked,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    TurnDeferred,
    WaitBegun,
)
from countermand.schemas.definition import ChildNode, LockNode, StepNode
from countermand.schemas.identifiers import Direction

OfStep = StepAsked | StepSucceeded | StepRejected | AttemptFailed | RetryGranted | StepSkipped | CompensationSettled
Way = tuple[str, Direction]


class Past:
    """One saga's journal, read."""

    def __init__(self, plan: Plan, tree: Tree, records: list[Record] | None = None) -> None:
        self.plan = plan
        self.tree = tree
        self.entries: list[JournalEntry] = []
        self.deadline_ms: int | None = None
        self.clock_stopped_ms: int | None = None
        self.turned = False
        self.ended = False
        self.failed_scopes: set[str] = set()
        self.undone_scopes: set[str] = set()
        # Every node that anything was ever begun of.
        self.begun: set[str] = set()
        self.branches: dict[str, bool] = {}
        self.loops: dict[str, int] = {}
        self.marks = WaitingMarks(tree)
        self._of: dict[Way, list[OfStep]] = {}
        # An action and the question what became of it, in their order.
        self._forward: dict[str, list[OfStep]] = {}
        self._keys_closed: Counter[str] = Counter()
        self._stuck: SagaStuck | None = None
        for record in records or []:
            self.append(record)

    def append(self, record: Record) -> None:
        entry = record.entry
        self.entries.append(entry)
        self._take_saga(record)
        self.marks.append(entry)
        match entry:
            case CompensationStarted(scope=str() as scope):
                self.failed_scopes.add(scope)
            case CompensationStarted():
                self.turned, self.ended = True, False
            case SagaEnded():
                self.ended = True
            case ScopeUndone(step=ref):
                self.undone_scopes.add(ref)
            case BranchTaken(step=ref, then=then):
                self.begun.add(ref)
                self.branches[ref] = then
            case LoopOpened(step=ref, count=count):
                self.begun.add(ref)
                self.loops[ref] = count
            case StepAsked(step=ref) | WaitBegun(step=ref) | SleepBegun(step=ref) | ApprovalAsked(step=ref):
                self.begun.add(ref)
            case RetryGranted(step=name, new_key=True):
                self._keys_closed[name] += 1
            case _:
                pass
        if isinstance(entry, OfStep) and self.is_step(entry.step):
            direction = "undo" if isinstance(entry, CompensationSettled) else entry.direction
            self._of.setdefault((entry.step, direction), []).append(entry)
            if direction != "undo":
                self._forward.setdefault(entry.step, []).append(entry)

    def _take_saga(self, record: Record) -> None:
        match record.entry:
            case SagaStarted(deadline_ms=deadline_ms):
                self.deadline_ms = deadline_ms
            case SagaPaused():
                self.clock_stopped_ms = record.at_ms
            case SagaResumed(deadline_ms=deadline_ms):
                self.clock_stopped_ms, self.deadline_ms = None, deadline_ms
            case DeadlineExtended(deadline_ms=deadline_ms):
                # A moment given while the clock stands still is the one that remains if it goes on at once.
                self.clock_stopped_ms = None if self.clock_stopped_ms is None else record.at_ms
                self.deadline_ms = deadline_ms
            case SagaStuck() as stuck:
                self._stuck = stuck
            case SagaReleased() | CompensationStarted(scope=None) | SagaEnded():
                self._stuck = None
            case _:
                pass

    # --- steps

    def is_step(self, ref: str) -> bool:
        return ref == LIMIT or isinstance(self.tree.node(ref), StepNode | ChildNode | LockNode)

    @property
    def refs(self) -> list[str]:
        """Every instance of a step that something is known of, in the order of being asked for."""
        return list(self._forward)

    def of(self, ref: str, direction: Direction) -> list[OfStep]:
        return self._of.get((ref, direction), [])

    def asked(self, ref: str, direction: Direction) -> list[StepAsked]:
        return [entry for entry in self.of(ref, direction) if isinstance(entry, StepAsked)]

    def has(self, kind: type[JournalEntry], ref: str, direction: Direction) -> bool:
        return any(isinstance(entry, kind) for entry in self.of(ref, direction))

    def last_of(self, ref: str, direction: Direction) -> OfStep | None:
        known = self.of(ref, direction)
        return known[-1] if known else None

    def last_word(self, ref: str) -> OfStep | None:
        """The newest of the action itself, and of the question what became of it."""
        known = self._forward.get(ref)
        return known[-1] if known else None

    def is_done(self, ref: str) -> bool:
        """By the last word about it: after a loss, what was done is asked again."""
        return isinstance(self.last_word(ref), StepSucceeded | StepSkipped)

    def is_undone(self, ref: str) -> bool:
        """Acknowledged by the participant, or closed by an operator."""
        return self.has(StepSucceeded, ref, "undo") or self.is_closed(ref, "undo")

    def is_acknowledged(self, ref: str) -> bool:
        """Undone by those who did it, and not by hand."""
        return any(isinstance(entry, StepSucceeded) and not entry.by_hand for entry in self.of(ref, "undo"))

    def is_closed(self, ref: str, direction: Direction) -> bool:
        return self.has(StepSkipped, ref, direction) or self.has(CompensationSettled, ref, direction)

    def key(self, ref: str) -> str:
        """What stands after the saga's id in the step's idempotency key."""
        closed = self._keys_closed[ref]
        return f"{ref}~{closed}" if closed else ref

    def owes_an_undo(self, ref: str) -> bool:
        """It was asked for and not rejected. A failure vouches for its attempt, not for its copies."""
        node = self.tree.node(ref)
        closable = isinstance(node, StepNode | ChildNode) and (
            node.kind == "pivot" or (node.kind == "compensatable" and node.compensation)
        )
        return closable and self.may_be_done(ref)

    def may_be_done(self, ref: str) -> bool:
        """Whether an effect of it may be out there: asked for under a key that no rejection has closed, or skipped."""
        begun = bool(self.asked(ref, "do")) or self.is_closed(ref, "do")
        return begun and not isinstance(self.last_word(ref), StepRejected)

    def effects(self) -> set[str]:
        """The steps whose effects stay if the saga ends here. A lock doesn't."""
        return {
            ref
            for ref in self.refs
            if self.may_be_done(ref)
            and ref != LIMIT
            and not isinstance(self.tree.node(ref), LockNode)
            and not self.has(StepSucceeded, ref, "undo")
            and not self.has(CompensationSettled, ref, "undo")
        }

    def newest(self, ref: str) -> OfStep | None:
        """The newest word of the direction that the step goes."""
        back = self.of(ref, "undo")
        return back[-1] if back else self.last_word(ref)

    def out(self, ref: str) -> StepAsked | None:
        """The attempt that is out."""
        last = self.newest(ref)
        given_up = isinstance(last, StepAsked) and last.direction == "do" and self.goes_back(ref)
        return last if isinstance(last, StepAsked) and not given_up and not self.ended and not self.halted else None

    def waiting(self, ref: str) -> AttemptFailed | None:
        """The attempt that will be made again."""
        last = self.newest(ref)
        if not isinstance(last, AttemptFailed) or last.then != "waiting":
            return None
        return None if last.direction == "do" and self.goes_back(ref) else last

    def given_up(self) -> Iterator[str]:
        """The nodes that wait for a person."""
        yield from (ref for ref in self.marks.in_vain if not self.goes_back(ref))
        for ref in self.refs:
            match self.newest(ref):
                case AttemptFailed(direction="undo", then="exhausted"):
                    yield ref
                case AttemptFailed(then="unknown") if self._to_be_probed(ref):
                    pass
                case AttemptFailed(then="exhausted" | "unknown" | "not_done") | StepRejected() if not self.goes_back(
                    ref
                ):
                    yield ref

    def _to_be_probed(self, ref: str) -> bool:
        """While the saga is paused the question waits."""
        node = self.tree.node(ref)
        return isinstance(node, StepNode) and node.on_unknown == "probe" and self.paused and not self.goes_back(ref)

    def was_probed(self, ref: str) -> bool:
        given_up = any(isinstance(each, AttemptFailed) and each.then == "exhausted" for each in self.of(ref, "probe"))
        return given_up or self.has(StepSucceeded, ref, "probe")

    # --- the saga

    def goes_back(self, ref: str) -> bool:
        return self.turned or any(scope in self.failed_scopes for scope in self.tree.scopes_around(ref))

    def direction_of(self, ref: str) -> Direction:
        return "undo" if self.goes_back(ref) else "do"

    @property
    def paused(self) -> bool:
        return self.clock_stopped_ms is not None

    @property
    def stuck(self) -> SagaStuck | None:
        return self._stuck

    @property
    def halted(self) -> bool:
        return self._stuck is not None and self._stuck.cause == "state_lost"

    @property
    def deadline_was_seen(self) -> bool:
        return any(
            isinstance(entry, DeadlineMissed) or (isinstance(entry, TurnDeferred) and entry.failure.code == "deadline")
            for entry in self.entries
        )

    def acts(self, request_id: str) -> list[OperatorActed]:
        return [e for e in self.entries if isinstance(e, OperatorActed) and e.request_id == request_id]
