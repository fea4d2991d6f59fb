"""A saga's world: the commands that were sent, whoever answers them, and a judge who looks at every decision.

The world keeps what really happened (which attempts were made, which of them vouched that nothing was done) apart from
what the core believes, so that the core's own evidence is not the only witness.
"""

import copy
from typing import Literal

import msgspec
from msgspec.structs import replace

from core.judge import Judge
from core.order import Tree
from countermand.coordinator.core import Decision, Plan, decide, pending_commands, wake_at
from countermand.coordinator.core.approvals import open_approvals
from countermand.coordinator.core.events import (
    CancelRequested,
    CommandUnroutable,
    OperationRequested,
    ParentEnded,
    ParentRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
    WokenUp,
)
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Ask, Saga, SagaState, Wait
from countermand.schemas.definition import COORDINATOR, Definition
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import CommandMessage, Failed, Rejected, ReplyMessage, ReplyOutcome, Succeeded
from countermand.schemas.operations import DecideApproval, Operation, ResumeSaga, RetryStep

SAGA_ID = "order-1"
START_MS = 1_700_000_000_000
SECRET = "0123456789abcdef" * 2
OPERATOR = "clients.operator"
INPUT = msgspec.Raw(b'{"order":{"id":1,"total":20},"lines":[7,8]}')
RESULT = Succeeded(msgspec.Raw(b'{"value":7}'))

# No loop in a test has more items.
ITEMS_MOST = 3

Attempt = tuple[str, Direction, int]


class World:
    """One saga, from outside: what it was told, what it sent, what the time is."""

    def __init__(self, definition: Definition | Plan) -> None:
        self.plan = definition if isinstance(definition, Plan) else Plan(definition)
        self.saga: Saga | None = None
        self.now_ms = START_MS
        self.records: list[Record] = []
        self.decisions: list[Decision] = []
        self.events: list[SagaEvent] = []
        self.sent: dict[Attempt, CommandMessage] = {}
        self._tree = Tree(self.plan.definition)
        self._judge = Judge(self.plan, self._tree)
        self._events = 0

    def copy(self) -> "World":
        """Another world that has come as far, and goes its own way from here."""
        return copy.deepcopy(self, {id(self.plan): self.plan, id(self._tree): self._tree})

    @property
    def state(self) -> SagaState:
        assert self.saga is not None, "the saga has not been started"
        return self.saga.state

    @property
    def pending(self) -> list[CommandMessage]:
        """The commands that are out."""
        return [] if self.saga is None else pending_commands(self.plan, self.saga)

    # --- what happens

    def take(self, event: SagaEvent) -> Decision:
        """Lets the core decide, the judge look, and the decision become true."""
        decision = decide(self.plan, self.saga, event)
        self._judge.look(self.saga, event, decision)
        self.saga = decision.saga
        self.records += decision.records
        self.decisions.append(decision)
        self.events.append(event)
        for command in self.pending:
            self.sent[command.step, command.direction, command.attempt] = command
        return decision

    def start(self, *, content: str = "content", reply_to: str | None = None, input_: bytes | None = None) -> Decision:
        value = INPUT if input_ is None else msgspec.Raw(input_)
        event = StartRequested(self._id("start"), self.now_ms, SAGA_ID, value, SECRET, content, "r-start", reply_to)
        return self.take(event)

    def reply(self, command: CommandMessage, outcome: ReplyOutcome) -> Decision:
        return self.take(ReplyReceived(self._id("reply"), self.now_ms, reply_to(command, outcome)))

    def forge(self, command: CommandMessage, outcome: ReplyOutcome, **lies: object) -> Decision:
        """A reply in which something is not true."""
        return self.take(ReplyReceived(self._id("reply"), self.now_ms, replace(reply_to(command, outcome), **lies)))

    def unroutable(self, command: CommandMessage) -> Decision:
        event = CommandUnroutable(self._id("unroutable"), self.now_ms, command.step, command.direction, command.attempt)
        return self.take(event)

    def wake(self, *, after_ms: int | None = None) -> Decision:
        """A wake-up at the saga's own moment, or so much later than now."""
        due = None if self.saga is None else wake_at(self.saga.state)
        if after_ms is not None:
            self.now_ms += after_ms
        elif due is not None:
            self.now_ms = max(self.now_ms, due)
        return self.take(WokenUp(self._id("wake-up"), self.now_ms))

    def cancel(self, *, reply_to: str | None = None) -> Decision:
        return self.take(CancelRequested(self._id("cancel"), self.now_ms, "r-cancel", "changed my mind", reply_to))

    def signal(self, request_id: str = "r-signal") -> Decision:
        event = SignalReceived(self._id("signal"), self.now_ms, request_id, "hello", msgspec.Raw(b"null"), "clients.1")
        return self.take(event)

    def event(
        self, name: str, request_id: str, *, wait: str | None = None, payload: bytes = b'{"value":7}'
    ) -> Decision:
        """An event comes: to the saga, or, from a mailbox, for one wait of it."""
        value = msgspec.Raw(payload)
        return self.take(
            SignalReceived(self._id("event"), self.now_ms, request_id, name, value, "clients.1", wait=wait)
        )

    def asked_by_parent(self, direction: Direction, attempt: int = 1) -> Decision:
        """The saga that starts this one asks for it, or for its undoing."""
        ask = Ask(attempt, f"{direction}-{attempt}", 100 + attempt)
        return self.take(
            ParentRequested(
                event_id=self._id("parent"),
                at_ms=self.now_ms,
                saga_id=SAGA_ID,
                direction=direction,
                ask=ask,
                parent="parent-1",
                step="child",
                key="parent-1/child",
                input=INPUT,
                secret=SECRET,
                content="content",
            )
        )

    def parent_ended(self) -> Decision:
        return self.take(ParentEnded(self._id("parent"), self.now_ms, "parent-1", "child"))

    def watch(self, queue: str = "clients.watcher") -> Decision:
        return self.take(WatchRequested(self._id("watch"), self.now_ms, "r-watch", queue))

    def operate(
        self,
        operation: Operation,
        *,
        actor: str = "ann",
        reason: str = "it is stuck",
        request_id: str | None = None,
        expected_version: int | None = None,
    ) -> Decision:
        """An operator asks for something. What is asked for again in the same words is the same request's content."""
        event_id = self._id("operation")
        content = f"{msgspec.json.encode(operation)!r} {actor} {reason}"
        return self.take(
            OperationRequested(
                event_id=event_id,
                at_ms=self.now_ms,
                request_id=request_id or event_id,
                operation=operation,
                actor=actor,
                reason=reason,
                content=content,
                expected_version=expected_version,
                reply_to=OPERATOR,
            )
        )

    def lose(self, versions: int) -> None:
        """The store forgets the newest versions, as after a failover: what was sent stays sent."""
        kept = self.state.version - versions
        assert kept >= 1
        records = [record for record in self.records if record.version <= kept]
        self.saga = self.decisions_by_version()[kept].saga
        self.records = records
        self._judge.forget(records)

    def decisions_by_version(self) -> dict[int, Decision]:
        return {each.saga.state.version: each for each in self.decisions if each.saga is not None and each.records}

    # --- when everything goes well from now on

    def heal(self) -> int:
        """Answers every command well and fires every wake-up until the saga ends; how many events that took.

        Whoever paused it resumes it. A saga that waits for a person only is given what may come late: the success of
        what it has given up.
        """
        taken = 0
        while not self.state.ended and taken < self._patience:
            late = self._late()
            if self.state.paused is not None:
                self.operate(ResumeSaga())
            elif not self.goes_well():
                if late is None:
                    return taken
                self.reply(late, RESULT)
            taken += 1
        return taken

    def heal_with_an_operator(self) -> int:
        """The same, with an operator in place of luck: who resumes what is paused and retries what is stuck.

        What can't be made is given an input; participants answer from their records, lost versions or not.
        """
        taken = 0
        while not self.state.ended and taken < self._patience:
            stuck = self.state.stuck
            if self.state.paused is not None:
                self.operate(ResumeSaga())
            elif not self.goes_well():
                assert stuck is not None, "waits for a person, and doesn't say for what"
                step = self.plan.step(stuck.step or "")
                editable = step is not None and step.participant != COORDINATOR and self.state.phase == "running"
                given = INPUT if stuck.cause == "unresolvable" and editable else None
                self.operate(RetryStep(input=given))
            taken += 1
        return taken

    @property
    def _patience(self) -> int:
        """So many events are enough for the largest saga: a few for each node and item."""
        instances: int = sum(ITEMS_MOST ** len(spot.loops) for spot in self.plan.spots.values())
        return 12 * instances + 20

    @property
    def open_waits(self) -> dict[str, Wait]:
        """The waits for events that are open."""
        marks = self.state.marks if not self.state.ended else {}
        return {ref: mark for ref, mark in marks.items() if isinstance(mark, Wait) and mark.status == "open"}

    def goes_well(self) -> bool:
        """A good answer, a decision, an event that is waited for, or what is due; false if there is none of them."""
        if self.pending:
            self.reply(self.pending[0], RESULT)
        elif (asked := open_approvals(self.state)) and not self.state.halted:
            ref, approval = next(iter(asked.items()))
            self.operate(DecideApproval(ref, "approved", approval.digest, roles=approval.roles), actor="bob")
            if ref in open_approvals(self.state):
                self.wake()  # It was too late.
        elif self.open_waits and not self.state.halted:
            ref, wait = next(iter(self.open_waits.items()))
            self.event(wait.event, self._id("r"), wait=None if wait.key is None else ref)
        elif wake_at(self.state) is not None:
            self.wake()
        else:
            return False
        return True

    def _late(self) -> CommandMessage | None:
        direction: Direction = "do" if self.state.phase == "running" else "undo"
        for name, step in self.state.steps.items():
            track = step.track(direction)
            if track is not None and track.status in ("exhausted", "unknown") and not self.state.halted:
                return self.sent.get((name, direction, track.attempt))
        return None

    def _id(self, kind: str) -> str:
        self._events += 1
        return f"{kind}:{self._events}"


def reply_to(command: CommandMessage, outcome: ReplyOutcome) -> ReplyMessage:
    """The honest reply to a command."""
    return ReplyMessage(
        saga_id=command.saga_id,
        step=command.step,
        direction=command.direction,
        attempt=command.attempt,
        key=command.key,
        command_id=command.command_id,
        saga_version=command.saga_version,
        participant=command.participant,
        outcome=outcome,
    )


Kind = Literal["result", "rejected", "failed", "rolled_back", "hopeless", "odd_result"]

OUTCOMES: dict[Kind, ReplyOutcome] = {
    "result": RESULT,
    "odd_result": Succeeded(msgspec.Raw(b'{"other":1}')),
    "rejected": Rejected("no", "because"),
    "failed": Failed("broken"),
    "rolled_back": Failed("broken", rolled_back=True, retry_after_ms=50),
    "hopeless": Failed("broken", retryable=False),
}
