"""From decisions to messages: commands, lifecycle events and answers, as the wire wants them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from countermand.coordinator.core.commands import Tiding, asked_of
from countermand.coordinator.core.draft import Addressed
from countermand.coordinator.core.journal import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalTimedOut,
    AttemptFailed,
    BranchTaken,
    ChildAsked,
    CompensationSettled,
    CompensationStarted,
    EventTaken,
    JournalEntry,
    LockAsked,
    Record,
    SagaEnded,
    SagaMigrated,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    ScopeUndone,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    WaitBegun,
    WaitTimedOut,
)
from countermand.coordinator.core.state import SagaState
from countermand.schemas.coordinating import target_of, write_coordination
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.envelope import Envelope, timestamp, write_answer, write_command, write_reply, write_request
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.lifecycle import write_lifecycle
from countermand.schemas.messages import (
    CommandMessage,
    LifecycleMessage,
    LifecycleName,
    ReplyMessage,
    SignalMessage,
)
from countermand.schemas.topology import Topology
from countermand.wire import Message


class Outbox:
    """Addresses what a saga has to say."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    def command(self, command: CommandMessage) -> Message:
        """A command, to its participant's queue; to the coordinator inbox, if the participant is the coordinator."""
        if command.participant == COORDINATOR:
            return self._to_inbox(asked_of(command), write_command(command))
        return _message(self.topology.commands_exchange, command.participant, write_command(command))

    def own_reply(self, reply: ReplyMessage) -> Message:
        """What the coordinator itself replies to a saga, as a participant does."""
        return self._to_inbox(reply.saga_id, write_reply(reply))

    def signal(self, signal: SignalMessage) -> Message:
        """What a mailbox tells a saga."""
        return self._to_inbox(signal.saga_id, write_request(signal, source="/coordinator"))

    def _to_inbox(self, target: str, envelope: Envelope) -> Message:
        return _message(self.topology.inbox_exchange, inbox_key(target), envelope)

    def tiding(self, tiding: Tiding) -> Message:
        """What one saga tells another, or a lock or a mailbox; through the coordinator inbox."""
        if isinstance(tiding, ReplyMessage):
            return self.own_reply(tiding)
        return self._to_inbox(target_of(tiding), write_coordination(tiding))

    def answer(self, addressed: Addressed) -> Message | None:
        """An answer, to the client's own queue; none if nobody waits, or the queue that was named is not a client's."""
        if addressed.queue is None or not addressed.queue.startswith(self.topology.client_queue_prefix):
            return None
        return _message("", addressed.queue, write_answer(addressed.answer))

    def lifecycle(self, event: LifecycleMessage) -> Message:
        """A lifecycle event, to whoever listens; nobody has to."""
        name = event.definition.partition("@")[0]
        envelope = write_lifecycle(event)
        return _message(self.topology.lifecycle_exchange, f"{name}.{event.name}", envelope, mandatory=False)


def lifecycle_of(state: SagaState, records: Sequence[Record]) -> Iterator[LifecycleMessage]:
    """What records mean to the world. Each event's id is its record's place, so it is the same when told again."""
    place: dict[int, int] = {}
    for record in records:
        index = place[record.version] = place.get(record.version, -1) + 1
        told = _told(record)
        if told is not None:
            name, data = told
            yield LifecycleMessage(
                id=f"{state.saga_id}/{record.version}/{index}",
                name=name,
                saga_id=state.saga_id,
                definition=state.definition,
                saga_version=record.version,
                at_ms=record.at_ms,
                data=data,
            )


def caused_by(records: Sequence[Record], causes: Iterable[str], since_version: int | None) -> list[Record]:
    """The records of whole versions that one of these events caused, or that are not older than a version."""
    wanted = set(causes)
    versions = {
        record.version
        for record in records
        if record.cause in wanted or (since_version is not None and record.version >= since_version)
    }
    return [record for record in records if record.version in versions]


def _told(record: Record) -> tuple[LifecycleName, dict[str, Any]] | None:
    match record.entry:
        case SagaStarted():
            return "saga.started", {}
        case CompensationStarted(failure=failure, scope=str() as scope):
            return "scope.compensating", {"scope": scope, "code": failure.code, "step": failure.step}
        case CompensationStarted(failure=failure):
            return "saga.compensating", {"code": failure.code, "step": failure.step}
        case SagaStuck(cause=cause, step=step):
            return "saga.stuck", {"cause": cause, "step": step}
        case SagaReleased():
            return "saga.released", {}
        case SagaPaused(actor=actor):
            return "saga.paused", {"actor": actor}
        case SagaResumed():
            return "saga.resumed", {}
        case SagaMigrated(definition=definition, former=former):
            return "saga.migrated", {"from": former, "to": definition}
        case StepSkipped(step=step, direction=direction):
            return "step.skipped", {"step": step, "direction": direction}
        case CompensationSettled(step=step):
            return "step.settled", {"step": step}
        case StepSucceeded(step=step, direction="do" | "probe", attempt=attempt):
            return "step.succeeded", {"step": step, "attempt": attempt}
        case StepSucceeded(step=step, attempt=attempt):
            return "step.compensated", {"step": step, "attempt": attempt}
        case StepRejected(step=step, attempt=attempt, code=code, direction=direction):
            return "step.rejected", {"step": step, "attempt": attempt, "code": code, "direction": direction}
        case AttemptFailed(step=step, attempt=attempt, code=code, direction=direction):
            return "step.failed", {"step": step, "attempt": attempt, "code": code, "direction": direction}
        case SagaEnded(phase="completed"):
            return "saga.completed", {}
        case SagaEnded(phase="compensated"):
            return "saga.compensated", {}
        case SagaEnded(phase="compensated_with_exceptions"):
            return "saga.compensated_with_exceptions", {}
        case SagaEnded(phase="abandoned"):
            return "saga.abandoned", {}
        case _:
            return _told_of_a_node(record.entry)


def _told_of_a_node(entry: JournalEntry) -> tuple[LifecycleName, dict[str, Any]] | None:
    match entry:
        case BranchTaken(step=step, then=then):
            return "branch.taken", {"step": step, "then": then}
        case WaitBegun(step=step, event=event, key=key, until_ms=until_ms):
            return "wait.begun", {"step": step, "event": event, "key": key, "until": timestamp(until_ms)}
        case EventTaken(step=step):
            return "wait.met", {"step": step}
        case WaitTimedOut(step=step):
            return "wait.timed_out", {"step": step}
        case ApprovalAsked(step=step, until_ms=until_ms, roles=roles, assignees=assignees, digest=digest):
            return "approval.asked", {
                "step": step,
                "until": timestamp(until_ms),
                "roles": list(roles),
                "assignees": list(assignees),
                "digest": digest,
            }
        case ApprovalEscalated(step=step, role=role):
            return "approval.escalated", {"step": step, "role": role}
        case ApprovalDecided(step=step, decision=decision, by=by):
            return "approval.decided", {"step": step, "decision": decision, "by": by}
        case ApprovalTimedOut(step=step):
            return "approval.timed_out", {"step": step}
        case ScopeUndone(step=step):
            return "scope.compensated", {"scope": step}
        case LockAsked(step=step, lock=lock, key=key):
            return "lock.asked", {"step": step, "lock": lock, "key": key}
        case ChildAsked(step=step, saga_id=saga_id):
            return "child.asked", {"step": step, "saga_id": saga_id}
        case _:
            return None


def _message(exchange: str, routing_key: str, envelope: Envelope, *, mandatory: bool = True) -> Message:
    return Message(
        exchange=exchange,
        routing_key=routing_key,
        body=envelope.body,
        headers=envelope.headers,
        content_type=envelope.content_type,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
        mandatory=mandatory,
    )
