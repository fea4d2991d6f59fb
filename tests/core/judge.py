"""The judge: looks at each decision beside the event that caused it, and at the whole journal so far.

Each rule names the invariant or promise that it stands for. The judge reads entries and events; of the core's functions
it calls those only whose agreement with the journal is itself the rule. What operators may do has a judge of its own.
"""

import msgspec
from msgspec.structs import replace

from core.operator_judge import OperatorJudge
from core.order import LIMIT, Tree
from core.past import Past
from core.taken import begun_by, may_begin, outstanding
from countermand.coordinator.core import Decision, Plan, decide, evolve, pending_commands, wake_at
from countermand.coordinator.core.draft import IGNORED_REPLIES_MAX
from countermand.coordinator.core.events import (
    CommandUnroutable,
    OperationRequested,
    ParentRequested,
    ReplyReceived,
    SagaEvent,
    WokenUp,
)
from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationStarted,
    JournalEntry,
    OperatorActed,
    ParentAsked,
    ParentGone,
    Record,
    ReplyIgnored,
    RetryGranted,
    SagaEnded,
    SagaReleased,
    ScopeUndone,
    StepAsked,
    StepSucceeded,
)
from countermand.coordinator.core.settle import VERSIONS_LOST_MAX
from countermand.coordinator.core.state import Saga, SagaState
from countermand.schemas.definition import StepNode
from countermand.schemas.identifiers import Direction, command_id
from countermand.schemas.messages import Failed, ReplyMessage, Succeeded

Attempt = tuple[str, Direction, int]

_record_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(Record)


class Judge:
    """Knows one saga's past. Every complaint is an AssertionError that names the rule."""

    def __init__(self, plan: Plan, tree: Tree) -> None:
        self._plan = plan
        self._tree = tree
        self._past = Past(plan, tree)
        self._operators = OperatorJudge(plan)
        self._replayed: SagaState | None = None
        self._command_ids: dict[Attempt, str] = {}
        self._bodies: dict[tuple[str, Direction, int, str], bytes] = {}
        self._vouched: set[Attempt] = set()
        self._newest_seen = 0
        self._lost = False

    def forget(self, kept: list[Record]) -> None:
        """The store has lost what came after these records; what was vouched for outside stays so."""
        # Results and what operators wrote are lost with the rest: the same attempt may be made again from others.
        self._bodies.clear()
        self._past, self._replayed, self._lost = Past(self._plan, self._tree), None, True
        for record in kept:
            self._append(record)

    def look(self, before: Saga | None, event: SagaEvent, decision: Decision) -> None:
        """Judges one decision."""
        self._is_repeatable(before, event, decision)
        self._hear(before, event, decision)
        self._keeps_count(before, event, decision)
        self._operators.look(self._past, before, event, decision)
        for record in decision.records:
            self._entry_may_follow(record.entry)
            self._append(record)
        if decision.saga is None:
            return
        self._replays_to(decision.saga.whole().state)
        self._sends_what_is_asked(decision.saga)
        self._wakes_up(decision, event)
        self._says_what_waits_for_a_person(decision.saga.state)
        self._is_no_dead_end(decision.saga.state)
        self._ends_honestly(before, event, decision.saga.whole().state)

    def _append(self, record: Record) -> None:
        self._past.append(record)
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

    def _keeps_count(self, before: Saga | None, event: SagaEvent, decision: Decision) -> None:
        version = 0 if before is None else before.state.version
        if not decision.records:
            assert is_the_same(decision.saga, before), "P3: changed without a record"
            return
        assert decision.saga is not None
        (made,) = {record.version for record in decision.records}
        if self._past.halted and isinstance(decision.records[0].entry, OperatorActed) and made != version + 1:
            assert decision.records[0].entry.operation == "retry", "P3: a version is left out"
        else:
            assert made == version + 1, "P3: a version is left out"
        if self._past.halted and any(isinstance(record.entry, SagaReleased) for record in decision.records):
            assert made > self._newest_seen, "P12: goes on under a version that was lost"
        assert decision.saga.state.version == made
        last_ms = 0 if before is None else before.state.updated_ms
        for record in decision.records:
            assert record.at_ms >= last_ms, "time ran backwards"
        assert decision.saga.state.updated_ms == decision.records[-1].at_ms
        for part in ("results", "edits", "items", "events", "steps", "marks"):
            kept = {} if before is None else getattr(before, part)
            new = getattr(decision.parts, part)
            if part in ("steps", "marks") and isinstance(event, OperationRequested):
                kept = {}  # It was all brought together, to be weighed.
            assert getattr(decision.saga, part) == {**kept, **new}, f"{part}: kept but not committed"

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
        step = self._plan.step(reply.step)
        known = step is not None and reply.command_id == command_id(
            state.secret, reply.step, reply.direction, reply.attempt
        )
        if not known or step is None or reply.participant != step.participant:
            self._is_a_fact_only(state, decision, "P26: a forged reply was believed")
            return
        asked = [each.attempt for each in self._past.asked(reply.step, reply.direction)]
        if reply.saga_version > state.version or self._past.halted:
            self._hear_of_what_was_lost(state, reply)
            return
        if reply.attempt not in asked:
            if not self._lost:
                self._is_a_fact_only(state, decision, "P26: a reply to what was never asked was believed")
            return
        out = self._past.out(reply.step)
        waited_for = out is not None and (out.direction, out.attempt) == (reply.direction, reply.attempt)
        if isinstance(reply.outcome, Succeeded) and waited_for:
            told = [
                replace(each.entry, by_hand=False) for each in decision.records if isinstance(each.entry, StepSucceeded)
            ]
            assert StepSucceeded(reply.step, reply.direction, reply.attempt) in told, "an answer didn't count"
        if not isinstance(reply.outcome, Failed):
            return
        if not waited_for:
            self._is_a_fact_only(state, decision, "P9: a failure of an old attempt was believed")
        elif reply.outcome.rolled_back:
            self._vouched.add((reply.step, reply.direction, reply.attempt))

    def _hear_of_what_was_lost(self, state: SagaState, reply: ReplyMessage) -> None:
        # Once the history is full, a halted saga takes nothing more in.
        room = not self._past.halted or state.facts < IGNORED_REPLIES_MAX
        if room and reply.saga_version < state.version + VERSIONS_LOST_MAX:
            self._newest_seen = max(self._newest_seen, reply.saga_version)

    def _is_a_fact_only(self, state: SagaState, decision: Decision, rule: str) -> None:
        assert all(isinstance(record.entry, ReplyIgnored) for record in decision.records), rule
        assert len(decision.records) == (1 if state.facts < IGNORED_REPLIES_MAX else 0), rule
        assert not decision.parts.results, rule

    # --- entries: what may follow what

    def _entry_may_follow(self, entry: JournalEntry) -> None:
        past = self._past
        match entry:
            case StepAsked(step=ref, direction=direction):
                goes = ("undo", "probe") if past.goes_back(ref) else ("do", "probe")
                assert direction in goes, "asked for in the direction that this part of the saga doesn't go"
                assert not past.paused, "asked for while paused"
                assert not past.halted, "P12: asked for while a part of the state is lost"
                self._attempt_may_follow(entry)
                if direction == "undo" and entry.attempt == 1:
                    self._undo_is_due(ref)
                if direction == "probe" and entry.attempt == 1:
                    self._probe_is_due(ref)
            case CompensationStarted(scope=str() as scope):
                assert not past.turned, "a scope turns back in a saga that does"
                assert scope not in past.failed_scopes, "a scope turned back twice"
                for around in self._tree.scopes_around(scope):
                    assert around not in past.failed_scopes, "a scope turns back in one that does"
            case ScopeUndone(step=scope):
                assert scope in past.failed_scopes, "undone without having failed"
                self._is_all_undone(scope)
            case CompensationStarted(failure=failure):
                assert not past.turned, "turned back twice"
                assert past.plan.pivot is None or not past.is_done(past.plan.pivot), "turned back after the pivot"
                forced = failure.code == "operator" and past.stuck is not None and past.stuck.cause == "pivot_unknown"
                assert forced or self._lost or not self._pivot_may_be_done(), (
                    "D5: turned back although the pivot may be done"
                )
            case _:
                after_the_end = (ReplyIgnored, ParentAsked, ParentGone)
                assert not past.ended or isinstance(entry, after_the_end), "P2: something happened after the end"
        begun = begun_by(entry)
        if begun is not None and begun != LIMIT:
            assert not past.goes_back(begun), "begun in a part of the saga that goes back"
            assert not past.paused, "begun while paused"
            assert not past.halted, "P12: begun while a part of the state is lost"
            may_begin(past, begun)

    def _attempt_may_follow(self, entry: StepAsked) -> None:
        past = self._past
        before = [each.attempt for each in past.asked(entry.step, entry.direction)]
        assert entry.attempt == len(before) + 1, f"attempts don't count up by one: {before}, {entry.attempt}"
        assert not past.is_closed(entry.step, entry.direction), "asked for what an operator has closed"
        last = past.last_of(entry.step, entry.direction)
        if before and not isinstance(last, RetryGranted):
            assert isinstance(last, AttemptFailed), "asked again before the last attempt was over"
            assert last.then == "waiting", "asked again after giving up"

    def _undo_is_due(self, name: str) -> None:
        past = self._past
        assert past.may_be_done(name), "D4, P7: an undo without a do, or of a rejected one"
        assert past.owes_an_undo(name), "P7: a step without a compensation is compensated"
        for later in past.refs:
            if self._tree.follows(name, later) and past.owes_an_undo(later):
                assert past.is_undone(later), f"I6: {name} is undone before {later}"
        node = self._tree.node(name)
        if isinstance(node, StepNode) and node.on_unknown == "probe" and not past.is_done(name):
            # One that surely did nothing needs no question; of any other, it was asked.
            last = past.last_word(name)
            vouched = isinstance(last, AttemptFailed) and not last.doubtful
            assert vouched or past.was_probed(name), "D5: compensated unasked"

    def _probe_is_due(self, name: str) -> None:
        node, past = self._tree.node(name), self._past
        assert isinstance(node, StepNode)
        assert node.on_unknown == "probe", "probed, which nobody wanted"
        assert past.may_be_done(name), "probed without a do"
        assert not past.is_done(name), "probed although it is done"
        assert not past.of(name, "undo"), "probed while it is undone"

    def _is_all_undone(self, scope: str) -> None:
        past = self._past
        for ref in past.refs:
            if scope in self._tree.scopes_around(ref) and past.owes_an_undo(ref):
                assert past.is_undone(ref), f"I5: {scope} counts as undone, and {ref} is not"

    def _pivot_may_be_done(self) -> bool:
        pivot = self._past.plan.pivot
        if pivot is None or not self._past.may_be_done(pivot):
            return False
        attempts = [(pivot, "do", each.attempt) for each in self._past.asked(pivot, "do")]
        return any(attempt not in self._vouched for attempt in attempts)

    # --- the state is what the journal says

    def _replays_to(self, state: SagaState) -> None:
        assert self._replayed is not None
        numbered = replace(self._replayed, version=state.version, updated_ms=state.updated_ms)
        # How far a walk has come is no fact of the journal's, but follows from what it says.
        assert numbered == replace(state, frames={}), "P25: the journal replays to another state"

    def _sends_what_is_asked(self, saga: Saga) -> None:
        commands = pending_commands(self._plan, saga)
        assert commands == pending_commands(self._plan, saga)
        sent = {(each.step, each.direction, each.attempt) for each in commands}
        assert len(sent) == len(commands), "D7: a command is sent twice"
        assert sent == self._unanswered(), "D7: what is sent is not what is asked for and unanswered"
        for each in commands:
            attempt = (each.step, each.direction, each.attempt)
            assert self._command_ids.setdefault(attempt, each.command_id) == each.command_id, "D7: another command id"
            # Another attempt to compensate may know more than the one before; the same attempt never does.
            # A probe asks with the command itself.
            way: Direction = "undo" if each.direction == "undo" else "do"
            same = (each.step, way, each.attempt if way == "undo" else 0, each.key)
            assert self._bodies.setdefault(same, each.body) == each.body, "D7: another body under the same key"
            assert each.key == f"{saga.state.saga_id}/{self._past.key(each.step)}", "D4: another key"
            assert each.saga_version == saga.state.version
        ids = list(self._command_ids.values())
        assert len(set(ids)) == len(ids), "two commands have one id"

    def _unanswered(self) -> set[Attempt]:
        out = [each for ref in self._past.refs if (each := self._past.out(ref)) is not None]
        return {(each.step, each.direction, each.attempt) for each in out}

    # --- I3: one wake-up, or a cause

    def _wakes_up(self, decision: Decision, event: SagaEvent) -> None:
        assert decision.saga is not None
        state = decision.saga.state
        assert decision.wake_at_ms == wake_at(state) == self._expected_wake_up(), "I3: not the next moment"
        if not state.ended:
            held = state.stuck is not None or state.paused is not None
            assert decision.wake_at_ms is not None or held, "I3: sleeps without a cause"
        if isinstance(event, WokenUp) and decision.wake_at_ms is not None and not decision.records:
            assert decision.wake_at_ms > event.at_ms, "I3: a wake-up that was due did nothing"

    def _expected_wake_up(self) -> int | None:
        past = self._past
        if past.ended or past.halted or past.paused:
            return None
        moments = [each.until_ms for ref in past.refs if (each := past.out(ref) or past.waiting(ref)) is not None]
        moments += [moments_of[0] for moments_of in past.marks.open.values()]
        if past.deadline_ms is not None and not past.turned and not past.deadline_was_seen:
            moments.append(past.deadline_ms)
        return min(moments, default=None)

    def _says_what_waits_for_a_person(self, state: SagaState) -> None:
        past = self._past
        if past.ended or past.halted:
            return
        waiting = set(past.given_up())
        assert not waiting or state.stuck is not None, f"I3: {waiting} wait for a person, and nobody is told"
        if state.stuck is not None and state.stuck.cause != "unresolvable":
            assert state.stuck.step in waiting, "stuck on what waits for nobody"

    def _is_no_dead_end(self, state: SagaState) -> None:
        """A saga's deadline is no way on: something is out, due or waited for, or a person is told."""
        past = self._past
        if past.ended or past.halted or past.paused or state.stuck is not None:
            return
        going = any(past.out(ref) or past.waiting(ref) for ref in past.refs)
        assert going or past.marks.open, "I4: a dead end"

    # --- I5: an ended state is what it says

    def _ends_honestly(self, before: Saga | None, event: SagaEvent, state: SagaState) -> None:
        past = self._past
        undone_for_parent = isinstance(event, ParentRequested) and event.direction == "undo" and past.turned
        if before is not None and before.state.ended and not undone_for_parent:
            known = before.whole().state
            unchanged = replace(
                state, version=known.version, updated_ms=known.updated_ms, facts=known.facts, parent=known.parent
            )
            assert unchanged == known, "P2: an ended saga has changed"
        owed = [ref for ref in past.refs if past.owes_an_undo(ref)]
        acknowledged = [ref for ref in owed if past.is_acknowledged(ref)]
        match state.phase:
            case "completed":
                missing = outstanding(past, self._tree.root)
                assert not missing, f"I5: completed without {missing}"
                assert not past.turned, "P2: completed after turning back"
            case "compensated":
                assert acknowledged == owed, f"I5: compensated, but of {owed} only {acknowledged}"
            case "compensated_with_exceptions":
                assert all(past.is_undone(name) for name in owed), f"I5: not everything was closed: {owed}"
                assert acknowledged != owed, "I5: there was no exception"
            case "abandoned":
                assert any(isinstance(entry, SagaEnded) and entry.phase == "abandoned" for entry in past.entries)


def is_the_same(saga: Saga | None, other: Saga | None) -> bool:
    """Whether two sagas hold the same, put away or not."""
    return saga == other or (saga is not None and other is not None and saga.whole() == other.whole())
