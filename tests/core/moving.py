"""Sagas that go over from one version of their definition to another, told step by step."""

import copy
from typing import Any

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core import Decision, Plan, decide, pending_commands, wake_at
from countermand.coordinator.core.compatibility import Comparison
from countermand.coordinator.core.events import OperationRequested, ReplyReceived, SagaEvent, StartRequested, WokenUp
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.migrating import weigh_migration
from countermand.coordinator.core.refusal import Refusal
from countermand.coordinator.core.state import Saga, SagaState
from countermand.schemas.definition import Definition, Node, RetryPolicy, SequenceNode, StepNode
from countermand.schemas.lint import errors, lint
from countermand.schemas.messages import (
    Accepted,
    CommandMessage,
    Failed,
    Refused,
    Rejected,
    ReplyMessage,
    ReplyOutcome,
    Succeeded,
)
from countermand.schemas.operations import MigrateSaga, Operation, PauseSaga, ResumeSaga

INPUT = msgspec.Raw(b'{"order":{"id":1,"total":20},"lines":[7,8,9]}')
SECRET = "0123456789abcdef" * 2
START_MS = 1_700_000_000_000


def step(name: str, **more: Any) -> StepNode:
    """A step with one attempt each way and a second for each."""
    once = RetryPolicy(attempts_max=1)
    usual = {"timeout_ms": 1_000, "retry": once, "undo_timeout_ms": 1_000, "undo_retry": once}
    asked = {"order": {"$": "input.order"}}
    return StepNode(name, more.pop("at", "shop"), more.pop("action", name), **{"input": asked, **usual, **more})


def version(number: int, *nodes: Node, **more: Any) -> Definition:
    """A version of one definition, which the lint lets pass."""
    definition = Definition(1, "moving", number, SequenceNode(nodes), **more)
    assert errors(lint(definition)) == []
    return definition


class Moving:
    """One saga. It has begun, in the first version."""

    def __init__(self, *nodes: Node, plan: Plan | None = None, **more: Any) -> None:
        self.plan = Plan(version(1, *nodes, **more)) if plan is None else plan
        self.saga: Saga | None = None
        self.now_ms = START_MS
        self.records: list[Record] = []
        self.sent: list[CommandMessage] = []
        self._events = 0
        self.take(StartRequested(self._id(), self.now_ms, "order-1", INPUT, SECRET, "content", "r-start", "clients.1"))
        self._kept: Saga | None = self.saga

    def copy(self) -> "Moving":
        """Another saga that has come as far, and goes its own way from here."""
        return copy.deepcopy(self, {id(self.plan): self.plan})

    def take(self, event: SagaEvent) -> Decision:
        decision = decide(self.plan, self.saga, event)
        self.saga = decision.saga
        self.records += decision.records
        if isinstance(event, OperationRequested) and event.target is not None:
            self.plan = event.target if self.state.definition_hash == event.target.hash else self.plan
        self.sent += [each for each in self.pending if each.command_id not in {one.command_id for one in self.sent}]
        return decision

    # --- what happens

    def succeeds(self, *refs: str, result: object = None) -> None:
        for ref in refs:
            self.answers(ref, Succeeded(msgspec.Raw(msgspec.json.encode(result))))

    def rejects(self, ref: str) -> None:
        self.answers(ref, Rejected("no"))

    def fails(self, ref: str, **more: Any) -> None:
        self.answers(ref, Failed("broken", **more))

    def answers(self, ref: str, outcome: ReplyOutcome) -> None:
        (command,) = (each for each in self.pending if each.step == ref)
        self.take(ReplyReceived(self._id(), self.now_ms, reply_to(command, outcome)))

    def waits(self, ms: int) -> None:
        """Time goes by, and the saga is woken up at every moment that it asked for."""
        end_ms = self.now_ms + ms
        while (due := wake_at(self.state)) is not None and due <= end_ms:
            self.now_ms = due
            self.take(WokenUp(self._id(), due))
        self.now_ms = end_ms

    def is_backed_up(self) -> None:
        """This is what the store falls back to, once it loses something; before, to the start."""
        self._kept = self.saga

    def forgets(self, last: str) -> None:
        """The store falls back, and hears of it by a reply to what it has forgotten."""
        self.saga = self._kept
        self.take(ReplyReceived(self._id(), self.now_ms, reply_to(self.command(last), Succeeded())))

    def operates(self, operation: Operation, target: Plan | None = None) -> Accepted | Refused:
        event = OperationRequested(self._id(), self.now_ms, self._id(), operation, "ann", "new version", "c")
        (addressed,) = self.take(replace(event, target=target, reply_to="clients.2")).answers[-1:]
        assert isinstance(addressed.answer, Accepted | Refused)
        return addressed.answer

    def pauses(self) -> None:
        assert isinstance(self.operates(PauseSaga()), Accepted)

    def resumes(self) -> None:
        assert isinstance(self.operates(ResumeSaga()), Accepted)

    def goes_over(self, *nodes: Node, number: int = 2, **more: Any) -> None:
        """To another version, which fits."""
        target = Plan(version(number, *nodes, **more))
        answer = self.operates(MigrateSaga(number), target)
        assert isinstance(answer, Accepted), answer

    def goes_well(self) -> None:
        """Whatever is asked for succeeds, and time passes, until nothing more happens."""
        while not self.state.ended:
            if self.pending:
                self.answers(self.pending[0].step, Succeeded(msgspec.Raw(b'{"value":7}')))
            elif wake_at(self.state) is not None:
                self.waits((wake_at(self.state) or 0) - self.now_ms)
            else:
                return

    # --- what is seen

    @property
    def state(self) -> SagaState:
        assert self.saga is not None
        return self.saga.whole().state

    @property
    def pending(self) -> list[CommandMessage]:
        return [] if self.saga is None else pending_commands(self.plan, self.saga)

    @property
    def asked(self) -> list[str]:
        """What is out: `name` for an action, `~name` for a compensation."""
        return sorted(_named(each) for each in self.pending)

    @property
    def all_asked(self) -> list[str]:
        """The same of everything that was ever asked for, in that order."""
        return [_named(each) for each in self.sent]

    def command(self, named: str) -> CommandMessage:
        """The newest command of an action (`name`) or a compensation (`~name`)."""
        return [each for each in self.sent if _named(each) == named][-1]

    def weighed(self, *nodes: Node, number: int = 2, **more: Any) -> Comparison | Refusal:
        """What going over to such a version would mean."""
        assert self.saga is not None
        return weigh_migration(self.plan, Plan(version(number, *nodes, **more)), self.saga.whole(), number)

    def notes(self, *nodes: Node, **more: Any) -> list[str]:
        """What is said of a version that fits."""
        weighed = self.weighed(*nodes, **more)
        assert isinstance(weighed, Comparison), weighed
        return [str(note) for note in weighed.notes]

    def refusal(self, *nodes: Node, **more: Any) -> str:
        """Why a version doesn't fit. Asking for it all the same changes nothing."""
        target = Plan(version(2, *nodes, **more))
        before, records = self.saga, len(self.records)
        answer = self.operates(MigrateSaga(2), target)
        assert isinstance(answer, Refused), answer
        assert (self.saga, len(self.records)) == (before, records)
        return f"{answer.code}: {answer.problem}"

    def _id(self) -> str:
        self._events += 1
        return f"event-{self._events}"


def _named(command: CommandMessage) -> str:
    return f"~{command.step}" if command.direction == "undo" else command.step


def reply_to(command: CommandMessage, outcome: ReplyOutcome) -> ReplyMessage:
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
