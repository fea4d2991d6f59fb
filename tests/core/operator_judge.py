"""The judge of what operators do: every request is refused with a reason or stands in the journal, once."""

import hashlib
import re

from core.past import Past
from countermand.coordinator.core import Decision, Plan
from countermand.coordinator.core.events import OperationRequested, SagaEvent
from countermand.coordinator.core.journal import (
    ApprovalDecided,
    AttemptFailed,
    CompensationSettled,
    CompensationStarted,
    DeadlineExtended,
    JournalEntry,
    OperatorActed,
    RetryGranted,
    SagaEnded,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    TurnDeferred,
)
from countermand.coordinator.core.possible import possible_operations
from countermand.coordinator.core.state import Saga
from countermand.schemas.messages import Accepted, Refused
from countermand.schemas.operations import (
    ExtendDeadline,
    Operation,
    ResumeSaga,
    RetryStep,
    SettleCompensation,
    SkipStep,
    name_of,
    step_of,
)

# What depends on more than the saga's state: the payload, the moment, or what the operator has looked at.
OF_THE_REQUEST = (
    "invalid_payload",
    "no_result",
    "not_editable",
    "attempt_may_run",
    "not_later",
    "version_needed",
    "digest_mismatch",
    "not_allowed",
    "requester",
)
BY_OPERATORS_ONLY = (
    OperatorActed,
    RetryGranted,
    StepSkipped,
    CompensationSettled,
    SagaPaused,
    SagaResumed,
    DeadlineExtended,
)
# What must be in the journal after each operation.
MARKS: dict[str, tuple[type[JournalEntry], ...]] = {
    "retry": (RetryGranted, SagaReleased),
    "skip": (StepSkipped,),
    "settle_compensation": (CompensationSettled,),
    "compensate": (CompensationStarted, TurnDeferred),
    "pause": (SagaPaused,),
    "resume": (SagaResumed,),
    "extend": (DeadlineExtended,),
    "abandon": (SagaEnded,),
    "decide": (ApprovalDecided,),
}


class OperatorJudge:
    """Looks at a decision before its records become the past."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def look(self, past: Past, before: Saga | None, event: SagaEvent, decision: Decision) -> None:
        entries = [record.entry for record in decision.records]
        if not isinstance(event, OperationRequested):
            self._did_not_act(entries)
            return
        answers = [each.answer for each in decision.answers if each.queue == event.reply_to]
        (answer,) = [each for each in answers if isinstance(each, Accepted | Refused)]
        assert answer.request_id == event.request_id
        if isinstance(answer, Refused):
            assert re.fullmatch(r"[a-z_]+", answer.code), "refused without a code"
            assert len(answer.problem) > 10, "refused without a reason"
        counted = isinstance(answer, Accepted) and not answer.duplicate
        if not counted:
            changed = [*entries, *decision.parts.results, *decision.parts.edits]
            assert changed == [], "what was refused or known changed something"
        if before is not None:
            self._is_answered_rightly(past, before, event, answer)
        if counted:
            assert before is not None
            assert decision.saga is not None
            assert isinstance(answer, Accepted)
            assert (answer.saga_version, answer.phase) == (decision.saga.state.version, decision.saga.state.phase)
            self._stands_in_the_journal(past, event, entries)
            self._did_what_it_says(past, event, entries, decision)

    def _did_not_act(self, entries: list[JournalEntry]) -> None:
        for entry in entries:
            # An action that is in doubt once more is asked about once more.
            again = isinstance(entry, RetryGranted) and entry.direction == "probe"
            doubted = any(isinstance(each, AttemptFailed) and each.direction == "do" for each in entries)
            assert not isinstance(entry, BY_OPERATORS_ONLY) or (again and doubted), f"nobody asked for {entry}"
            assert not (isinstance(entry, SagaEnded) and entry.phase == "abandoned"), "abandoned by nobody"
            if isinstance(entry, CompensationStarted) and entry.failure.code == "operator":
                assert any(isinstance(each, StepSucceeded | StepRejected) or each == entry for each in entries)

    def _is_answered_rightly(
        self, past: Past, before: Saga, event: OperationRequested, answer: Accepted | Refused
    ) -> None:
        known = past.acts(event.request_id)
        assert len(known) <= 1, "a request counted twice"
        if known:
            same = known[0].content == event.content
            assert isinstance(answer, Accepted) == same, "a known request is answered as another one"
            assert not isinstance(answer, Accepted) or answer.duplicate, "a known request counted again"
            return
        assert isinstance(answer, Refused) or not answer.duplicate
        stale = event.expected_version is not None and event.expected_version != before.state.version
        if before.state.ended:
            assert isinstance(answer, Refused)
        elif stale:
            assert isinstance(answer, Refused)
            assert answer.code == "version_conflict", "what was looked at is not what is"
        else:
            self._is_taken_if_offered(before, event, answer)

    def _is_taken_if_offered(self, before: Saga, event: OperationRequested, answer: Accepted | Refused) -> None:
        state = before.whole().state
        offered = {
            (each.operation, each.step)
            for each in possible_operations(self._plan, state, max(event.at_ms, state.updated_ms))
        }
        step = step_of(event.operation)
        if step is None and isinstance(event.operation, RetryStep | SkipStep | SettleCompensation) and not state.halted:
            step = None if state.stuck is None else state.stuck.step
        is_offered = (name_of(event.operation), step) in offered
        if state.halted and isinstance(event.operation, RetryStep) and event.operation.input is not None:
            # What is lost is retried as a whole: an input would be one step's.
            is_offered = False
        if isinstance(answer, Accepted):
            assert is_offered, "accepted, but not offered"
        elif is_offered:
            assert answer.code in OF_THE_REQUEST, f"offered, but refused: {answer.problem}"

    def _stands_in_the_journal(self, past: Past, event: OperationRequested, entries: list[JournalEntry]) -> None:
        operation = event.operation
        acted = entries[0]
        assert isinstance(acted, OperatorActed), "the first thing said is not who acted"
        assert sum(isinstance(entry, OperatorActed) for entry in entries) == 1
        assert (acted.actor, acted.reason, acted.request_id) == (event.actor, event.reason, event.request_id)
        assert (acted.operation, acted.content) == (name_of(operation), event.content)
        named = step_of(operation)
        assert named is None or acted.step == named
        payload = payload_of(operation)
        assert acted.payload_digest == (None if payload is None else hashlib.sha256(payload).hexdigest())
        assert acted.evidence == (operation.evidence if isinstance(operation, SettleCompensation) else None)
        kinds = MARKS[acted.operation]
        marks = [entry for entry in entries if isinstance(entry, kinds)]
        assert marks, f"{acted.operation} counted, and nothing of it is in the journal"
        if acted.operation in ("decide", "skip", "settle_compensation", "pause", "resume", "extend"):
            assert len(marks) == 1
        assert not past.ended

    def _did_what_it_says(
        self, past: Past, event: OperationRequested, entries: list[JournalEntry], decision: Decision
    ) -> None:
        for entry in entries:
            match entry:
                case RetryGranted():
                    self._retry_is_safe(past, entry, event, decision)
                case StepSkipped(step=name, direction=direction):
                    assert direction == past.direction_of(name)
                    assert not past.is_closed(name, direction)
                    assert not isinstance(past.last_of(name, direction), StepSucceeded), "skipped what is done"
                    # What was done before, and is only asked about again, keeps the result that it has.
                    again = any(isinstance(each, StepSucceeded) for each in past.of(name, direction))
                    new = direction == "do" and not again
                    assert (name in decision.parts.results) == new, "a result for what has none, or has one"
                case CompensationSettled(step=name):
                    assert past.goes_back(name)
                    assert past.owes_an_undo(name)
                    assert not past.is_undone(name), "settled what is undone"
                case SagaPaused(actor=actor):
                    assert not past.paused
                    assert actor == event.actor
                case SagaResumed(deadline_ms=deadline_ms):
                    assert past.paused
                    assert deadline_ms == self._deadline_after(past, event, decision.records[0].at_ms), (
                        "the deadline's clock is wrong"
                    )
                case DeadlineExtended(deadline_ms=deadline_ms):
                    assert isinstance(event.operation, ExtendDeadline)
                    by_ms = event.operation.by_ms
                    longer = by_ms is not None and max(decision.records[0].at_ms, past.deadline_ms or 0) + by_ms
                    assert deadline_ms == (event.operation.deadline_ms or longer)
                    assert deadline_ms > (past.deadline_ms or 0)
                case SagaEnded(phase="abandoned", remaining=remaining):
                    assert name_of(event.operation) == "abandon"
                    assert event.expected_version is not None, "abandoned unseen"
                    self._says_what_remains(past, remaining)

    def _retry_is_safe(self, past: Past, entry: RetryGranted, event: OperationRequested, decision: Decision) -> None:
        assert not past.paused, "retried while paused"
        assert not past.is_closed(entry.step, entry.direction), "retried what an operator has closed"
        if not past.is_step(entry.step):
            assert past.stuck is not None
            assert past.stuck.step == entry.step, "begun again without need"
            return
        last = past.last_word(entry.step) if entry.direction == "do" else past.last_of(entry.step, entry.direction)
        # After a loss, whether what was done still stands is asked once more.
        asks_whether_it_stands = past.halted and entry.direction == "do"
        assert asks_whether_it_stands or not isinstance(last, StepSucceeded), "retried what is done"
        rejected = entry.direction == "do" and isinstance(last, StepRejected)
        assert entry.new_key == rejected, "I2: a new key opens exactly where a rejection has closed the old one"
        operation = event.operation
        assert isinstance(operation, RetryStep)
        assert entry.edited == (operation.input is not None) == (entry.step in decision.parts.edits)
        if entry.edited:
            assert entry.direction == "do", "edited what is undone"
            assert rejected or not past.asked(entry.step, "do"), "I2: edited while an old attempt may run"

    def _deadline_after(self, past: Past, event: OperationRequested, at_ms: int) -> int | None:
        ran = isinstance(event.operation, ResumeSaga) and event.operation.clock == "ran"
        if past.deadline_ms is None or past.clock_stopped_ms is None or ran:
            return past.deadline_ms
        return past.deadline_ms + at_ms - past.clock_stopped_ms

    def _says_what_remains(self, past: Past, remaining: tuple[str, ...]) -> None:
        told = dict(line.split(": ", 1) for line in remaining)
        assert len(told) == len(remaining)
        assert set(told) == past.effects(), "abandoned, and not every effect that remains is told"
        for name, how in told.items():
            assert (how == "done") == isinstance(past.last_word(name), StepSucceeded), f"{name}: {how}"


def payload_of(operation: Operation) -> bytes | None:
    """What a person wrote, as JSON."""
    payload = None
    if isinstance(operation, RetryStep):
        payload = operation.input
    elif isinstance(operation, SkipStep):
        payload = operation.result
    return None if payload is None else bytes(payload)
