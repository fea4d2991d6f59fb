"""The judge: looks at each decision beside the event that caused it, and at the whole journal so far.

Each rule names the invariant or promise that it stands for. The judge reads entries and events; of the core's functions
it calls those only whose agreement with the journal is itself the rule.
"""

import msgspec
from msgspec.structs import replace

from core.order import followers
from countermand.coordinator.core import Decision, Plan, decide, evolve, pending_commands, wake_at
from countermand.coordinator.core.draft import IGNORED_REPLIES_MAX
from countermand.coordinator.core.events import CommandUnroutable, ReplyReceived, SagaEvent, WokenUp
from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationStarted,
    DeadlineMissed,
    JournalEntry,
    Record,
    ReplyIgnored,
    SagaEnded,
    StepAsked,
    StepRejected,
    StepSucceeded,
    TurnDeferred,
)
from countermand.coordinator.core.state import Saga, SagaState
from countermand.schemas.identifiers import Direction, command_id
from countermand.schemas.messages import Failed, ReplyMessage

Attempt = tuple[str, Direction, int]

_record_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(Record)


class Judge:
    """Knows one saga's past. Every complaint is an AssertionError that names the rule."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._followers = followers(plan.definition)
        self._journal: list[Record] = []
        self._replayed: SagaState | None = None
        self._command_ids: dict[Attempt, str] = {}
        self._bodies: dict[Attempt, bytes] = {}
        self._vouched: set[Attempt] = set()
        self._lost = False

    def forget(self, kept: list[Record]) -> None:
        """The store has lost what came after these records; what was vouched for outside stays so."""
        self._journal, self._replayed, self._lost = [], None, True
        for record in kept:
            self._append(record)

    def look(self, before: Saga | None, event: SagaEvent, decision: Decision) -> None:
        """Judges one decision."""
        self._is_repeatable(before, event, decision)
        self._keeps_count(before, decision)
        self._hear(before, event, decision)
        for record in decision.records:
            self._entry_may_follow(record.entry)
            self._append(record)
        if decision.saga is None:
            return
        self._replays_to(decision.saga.state)
        self._sends_what_is_asked(decision.saga)
        self._wakes_up(decision, event)
        self._ends_honestly(before, decision.saga.state)

    def _append(self, record: Record) -> None:
        self._journal.append(record)
        # Through JSON and back, as a stored journal is read.
        read = _record_decoder.decode(_record_encoder.encode(record))
        assert read == record
        self._replayed = evolve(self._replayed, read.entry, read.at_ms)

    # --- P34: the same arguments, the same decision

    def _is_repeatable(self, before: Saga | None, event: SagaEvent, decision: Decision) -> None:
        frozen = msgspec.msgpack.encode(before), msgspec.msgpack.encode(event)
        assert decide(self._plan, before, event) == decision, "P34: decided differently the second time"
        unchanged = (msgspec.msgpack.encode(before), msgspec.msgpack.encode(event)) == frozen
        assert unchanged, "P34: deciding changed what it was given"

    # --- P3: versions without gaps, time without returns

    def _keeps_count(self, before: Saga | None, decision: Decision) -> None:
        version = 0 if before is None else before.state.version
        if not decision.records:
            assert decision.saga == before, "P3: changed without a record"
            return
        assert decision.saga is not None
        assert {record.version for record in decision.records} == {version + 1}, "P3: a version is left out"
        assert decision.saga.state.version == version + 1
        last_ms = 0 if before is None else before.state.updated_ms
        for record in decision.records:
            assert record.at_ms >= last_ms, "time ran backwards"
        assert decision.saga.state.updated_ms == decision.records[-1].at_ms
        new = {
            name: value for name, value in decision.saga.results.items() if before is None or name not in before.results
        }
        assert new == decision.results, "a result is kept but not committed, or the other way round"

    # --- replies: what is believed, and what is a fact only

    def _hear(self, before: Saga | None, event: SagaEvent, decision: Decision) -> None:
        if before is None or before.state.ended:
            return
        if isinstance(event, CommandUnroutable):
            if any(isinstance(record.entry, AttemptFailed) for record in decision.records):
                self._vouched.add((event.step, event.direction, event.attempt))
        elif isinstance(event, ReplyReceived):
            self._hear_reply(before.state, event.reply, decision)

    def _hear_reply(self, state: SagaState, reply: ReplyMessage, decision: Decision) -> None:
        step = self._plan.steps.get(reply.step)
        known = step is not None and reply.command_id == command_id(
            state.secret, reply.step, reply.direction, reply.attempt
        )
        if not known or step is None or reply.participant != step.participant:
            self._is_a_fact_only(state, decision, "P26: a forged reply was believed")
            return
        if reply.saga_version > state.version or state.halted:
            return
        asked = [each.attempt for each in self._asked(reply.step, reply.direction)]
        if reply.attempt not in asked:
            self._is_a_fact_only(state, decision, "P26: a reply to what was never asked was believed")
            return
        if not isinstance(reply.outcome, Failed):
            return
        track = state.steps[reply.step].track(reply.direction)
        assert track is not None
        current = track.status == "asked" and reply.attempt == asked[-1]
        if not current or (reply.direction == "do") != (state.phase == "running"):
            self._is_a_fact_only(state, decision, "P9: a failure of an old attempt was believed")
        elif reply.outcome.rolled_back:
            self._vouched.add((reply.step, reply.direction, reply.attempt))

    def _is_a_fact_only(self, state: SagaState, decision: Decision, rule: str) -> None:
        assert all(isinstance(record.entry, ReplyIgnored) for record in decision.records), rule
        assert len(decision.records) == (1 if state.facts < IGNORED_REPLIES_MAX else 0), rule
        assert not decision.results, rule

    # --- entries: what may follow what

    def _entry_may_follow(self, entry: JournalEntry) -> None:
        match entry:
            case StepAsked(direction="do"):
                assert not self._turned(), "an action was asked for after the saga had turned back"
                self._attempt_may_follow(entry)
            case StepAsked():
                assert self._turned(), "a compensation was asked for while the saga goes forward"
                self._attempt_may_follow(entry)
                if entry.attempt == 1:
                    self._undo_is_due(entry.step)
            case CompensationStarted():
                assert not self._turned(), "turned back twice"
                assert self._lost or not self._pivot_may_be_done(), "D5: turned back although the pivot may be done"
            case _:
                ended = any(isinstance(record.entry, SagaEnded) for record in self._journal)
                assert not ended or isinstance(entry, ReplyIgnored), "P2: something happened after the end"

    def _attempt_may_follow(self, entry: StepAsked) -> None:
        before = [each.attempt for each in self._asked(entry.step, entry.direction)]
        assert entry.attempt == len(before) + 1, f"attempts don't count up by one: {before}, {entry.attempt}"
        if before:
            last = self._last_of(entry.step, entry.direction)
            assert isinstance(last, AttemptFailed), "asked again before the last attempt was over"
            assert last.then == "waiting", "asked again after giving up"

    def _undo_is_due(self, name: str) -> None:
        assert self._asked(name, "do"), "D4: an undo without a do"
        assert not self._has(StepRejected, name, "do"), "P7: a rejected action is compensated"
        if not self._plan.steps[name].can_be_undone:
            assert name == self._plan.pivot, "P7: a step without a compensation is compensated"
            assert not self._pivot_may_be_done() or self._lost, "P7: a pivot that may be done is undone"
        for later in self._followers[name]:
            if self._owes_an_undo(later):
                assert self._has(StepSucceeded, later, "undo"), f"I6: {name} is undone before {later}"

    def _owes_an_undo(self, name: str) -> bool:
        """By the journal: it was asked for and not rejected. A failure vouches for its attempt, not for its copies."""
        closable = self._plan.steps[name].can_be_undone or name == self._plan.pivot
        return closable and bool(self._asked(name, "do")) and not self._has(StepRejected, name, "do")

    def _pivot_may_be_done(self) -> bool:
        pivot = self._plan.pivot
        if pivot is None or self._has(StepRejected, pivot, "do"):
            return False
        attempts = [(pivot, "do", each.attempt) for each in self._asked(pivot, "do")]
        return any(attempt not in self._vouched for attempt in attempts)

    # --- the state is what the journal says

    def _replays_to(self, state: SagaState) -> None:
        assert self._replayed is not None
        numbered = replace(self._replayed, version=state.version, updated_ms=state.updated_ms)
        assert numbered == state, "P25: the journal replays to another state"

    def _sends_what_is_asked(self, saga: Saga) -> None:
        commands = pending_commands(self._plan, saga)
        assert commands == pending_commands(self._plan, saga)
        sent = {(each.step, each.direction, each.attempt) for each in commands}
        assert len(sent) == len(commands), "D7: a command is sent twice"
        assert sent == self._unanswered(saga.state), "D7: what is sent is not what is asked for and unanswered"
        for each in commands:
            attempt = (each.step, each.direction, each.attempt)
            assert self._command_ids.setdefault(attempt, each.command_id) == each.command_id, "D7: another command id"
            # Another attempt to compensate may know more than the one before; the same attempt never does.
            same = attempt if each.direction == "undo" else (each.step, each.direction, 0)
            assert self._bodies.setdefault(same, each.body) == each.body, "D7: another body"
            assert each.saga_version == saga.state.version
        ids = list(self._command_ids.values())
        assert len(set(ids)) == len(ids), "two commands have one id"

    def _unanswered(self, state: SagaState) -> set[Attempt]:
        if state.ended or state.halted:
            return set()
        direction: Direction = "undo" if self._turned() else "do"
        last = {name: self._last_of(name, direction) for name in self._plan.steps}
        return {(name, direction, each.attempt) for name, each in last.items() if isinstance(each, StepAsked)}

    # --- I3: one wake-up, or a cause

    def _wakes_up(self, decision: Decision, event: SagaEvent) -> None:
        assert decision.saga is not None
        state = decision.saga.state
        assert decision.wake_at_ms == wake_at(state) == self._expected_wake_up(state), "I3: not the next moment"
        if not state.ended:
            assert decision.wake_at_ms is not None or state.stuck is not None, "I3: sleeps without a cause"
        if isinstance(event, WokenUp) and decision.wake_at_ms is not None and not decision.records:
            assert decision.wake_at_ms > event.at_ms, "I3: a wake-up that was due did nothing"

    def _expected_wake_up(self, state: SagaState) -> int | None:
        if state.ended or state.halted:
            return None
        direction: Direction = "undo" if self._turned() else "do"
        moments: list[int] = []
        for name in self._plan.steps:
            match self._last_of(name, direction):
                case StepAsked(until_ms=until_ms):
                    moments.append(until_ms)
                case AttemptFailed(then="waiting", until_ms=until_ms):
                    moments.append(until_ms)
        deadline_ms = self._plan.definition.deadline_ms
        if deadline_ms is not None and not self._turned() and not self._deadline_was_seen():
            moments.append(self._journal[0].at_ms + deadline_ms)
        return min(moments, default=None)

    def _deadline_was_seen(self) -> bool:
        return any(
            isinstance(entry, DeadlineMissed) or (isinstance(entry, TurnDeferred) and entry.failure.code == "deadline")
            for entry in self._entries()
        )

    # --- I5: an ended state is what it says

    def _ends_honestly(self, before: Saga | None, state: SagaState) -> None:
        if before is not None and before.state.ended:
            unchanged = replace(
                state, version=before.state.version, updated_ms=before.state.updated_ms, facts=before.state.facts
            )
            assert unchanged == before.state, "P2: an ended saga has changed"
        match state.phase:
            case "completed":
                missing = [name for name in self._plan.steps if not self._has(StepSucceeded, name, "do")]
                assert not missing, f"I5: completed without {missing}"
                assert not self._turned(), "P2: completed after turning back"
            case "compensated":
                owed = [name for name in self._plan.steps if self._owes_an_undo(name)]
                missing = [name for name in owed if not self._has(StepSucceeded, name, "undo")]
                assert not missing or self._lost, f"I5: compensated without {missing}"
                believed = [
                    name
                    for name, step in state.steps.items()
                    if step.do.status in ("succeeded", "unknown") and self._plan.steps[name].can_be_undone
                ]
                assert all(self._has(StepSucceeded, name, "undo") for name in believed), "I5: by its own evidence"

    # --- reading the journal

    def _entries(self) -> list[JournalEntry]:
        return [record.entry for record in self._journal]

    def _turned(self) -> bool:
        return any(isinstance(entry, CompensationStarted) for entry in self._entries())

    def _asked(self, name: str, direction: Direction) -> list[StepAsked]:
        return [
            entry
            for entry in self._entries()
            if isinstance(entry, StepAsked) and entry.step == name and entry.direction == direction
        ]

    def _has(self, kind: type[StepSucceeded] | type[StepRejected], name: str, direction: Direction) -> bool:
        return any(
            isinstance(entry, kind) and entry.step == name and entry.direction == direction for entry in self._entries()
        )

    def _last_of(self, name: str, direction: Direction) -> JournalEntry | None:
        for entry in reversed(self._entries()):
            match entry:
                case StepAsked() | StepSucceeded() | StepRejected() | AttemptFailed():
                    if (entry.step, entry.direction) == (name, direction):
                        return entry
        return None
