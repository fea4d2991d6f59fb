"""What a journal says has happened so far. Nothing here asks the core."""

from collections import Counter
from collections.abc import Iterator

from countermand.coordinator.core import Plan
from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationSettled,
    CompensationStarted,
    DeadlineExtended,
    DeadlineMissed,
    JournalEntry,
    OperatorActed,
    Record,
    RetryGranted,
    SagaEnded,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    StepAsked,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    TurnDeferred,
)
from countermand.schemas.identifiers import Direction

OfStep = StepAsked | StepSucceeded | StepRejected | AttemptFailed | RetryGranted | StepSkipped | CompensationSettled
Way = tuple[str, Direction]


class Past:
    """One saga's journal, read."""

    def __init__(self, plan: Plan, records: list[Record] | None = None) -> None:
        self.plan = plan
        self.entries: list[JournalEntry] = []
        self.started_ms = 0
        self.deadline_ms: int | None = None
        self.clock_stopped_ms: int | None = None
        self._of: dict[Way, list[OfStep]] = {}
        self._keys_closed: Counter[str] = Counter()
        self._stuck: SagaStuck | None = None
        for record in records or []:
            self.append(record)

    def append(self, record: Record) -> None:
        entry = record.entry
        self.entries.append(entry)
        match entry:
            case SagaStarted(deadline_ms=deadline_ms):
                self.started_ms, self.deadline_ms = record.at_ms, deadline_ms
            case SagaPaused():
                self.clock_stopped_ms = record.at_ms
            case SagaResumed(deadline_ms=deadline_ms):
                self.clock_stopped_ms, self.deadline_ms = None, deadline_ms
            case DeadlineExtended(deadline_ms=deadline_ms):
                # A moment given while the clock stands still is the one that remains if it goes on at once.
                self.clock_stopped_ms = None if self.clock_stopped_ms is None else record.at_ms
                self.deadline_ms = deadline_ms
            case SagaStuck():
                self._stuck = entry
            case SagaReleased() | CompensationStarted() | SagaEnded():
                self._stuck = None
            case RetryGranted(step=name, new_key=True):
                self._keys_closed[name] += 1
            case _:
                pass
        if isinstance(entry, OfStep):
            direction = "undo" if isinstance(entry, CompensationSettled) else entry.direction
            self._of.setdefault((entry.step, direction), []).append(entry)

    # --- steps

    def of(self, name: str, direction: Direction) -> list[OfStep]:
        return self._of.get((name, direction), [])

    def asked(self, name: str, direction: Direction) -> list[StepAsked]:
        return [entry for entry in self.of(name, direction) if isinstance(entry, StepAsked)]

    def has(self, kind: type[JournalEntry], name: str, direction: Direction) -> bool:
        return any(isinstance(entry, kind) for entry in self.of(name, direction))

    def last_of(self, name: str, direction: Direction) -> OfStep | None:
        known = self.of(name, direction)
        return known[-1] if known else None

    def is_done(self, name: str) -> bool:
        """By the last word about it: after a loss, what was done is asked again."""
        return isinstance(self.last_of(name, "do"), StepSucceeded | StepSkipped)

    def is_undone(self, name: str) -> bool:
        """Acknowledged by the participant, or closed by an operator."""
        return self.has(StepSucceeded, name, "undo") or self.is_closed(name, "undo")

    def is_closed(self, name: str, direction: Direction) -> bool:
        return self.has(StepSkipped, name, direction) or self.has(CompensationSettled, name, direction)

    def key(self, name: str) -> str:
        """What stands after the saga's id in the step's idempotency key."""
        closed = self._keys_closed[name]
        return f"{name}~{closed}" if closed else name

    def owes_an_undo(self, name: str) -> bool:
        """It was asked for and not rejected. A failure vouches for its attempt, not for its copies."""
        closable = self.plan.steps[name].can_be_undone or name == self.plan.pivot
        return closable and self.may_be_done(name)

    def may_be_done(self, name: str) -> bool:
        """Whether an effect of it may be out there: asked for under a key that no rejection has closed, or skipped."""
        begun = bool(self.asked(name, "do")) or self.is_closed(name, "do")
        return begun and not isinstance(self.last_of(name, "do"), StepRejected)

    def effects(self) -> set[str]:
        """The steps whose effects stay if the saga ends here."""
        return {
            name
            for name in self.plan.steps
            if self.may_be_done(name)
            and not self.has(StepSucceeded, name, "undo")
            and not self.has(CompensationSettled, name, "undo")
        }

    def given_up(self, direction: Direction) -> Iterator[str]:
        """The steps that wait for a person."""
        for name in self.plan.steps:
            match self.last_of(name, direction):
                case AttemptFailed(then="exhausted" | "unknown") | StepRejected():
                    yield name

    # --- the saga

    @property
    def turned(self) -> bool:
        return any(isinstance(entry, CompensationStarted) for entry in self.entries)

    @property
    def direction(self) -> Direction:
        return "undo" if self.turned else "do"

    @property
    def ended(self) -> bool:
        return any(isinstance(entry, SagaEnded) for entry in self.entries)

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
