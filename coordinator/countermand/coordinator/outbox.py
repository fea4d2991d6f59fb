"""From decisions to messages: commands, lifecycle events and answers, as the wire wants them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from countermand.coordinator.core.draft import Addressed
from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationSettled,
    CompensationStarted,
    Record,
    SagaEnded,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    StepRejected,
    StepSkipped,
    StepSucceeded,
)
from countermand.coordinator.core.state import SagaState
from countermand.schemas.envelope import Envelope, write_answer, write_command
from countermand.schemas.lifecycle import write_lifecycle
from countermand.schemas.messages import CommandMessage, LifecycleMessage, LifecycleName
from countermand.schemas.topology import Topology
from countermand.wire import Message


class Outbox:
    """Addresses what a saga has to say."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    def command(self, command: CommandMessage) -> Message:
        """A command, to its participant's queue."""
        return _message(self.topology.commands_exchange, command.participant, write_command(command))

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
        case StepSkipped(step=step, direction=direction):
            return "step.skipped", {"step": step, "direction": direction}
        case CompensationSettled(step=step):
            return "step.settled", {"step": step}
        case StepSucceeded(step=step, direction="do", attempt=attempt):
            return "step.succeeded", {"step": step, "attempt": attempt}
        case StepSucceeded(step=step, attempt=attempt):
            return "step.compensated", {"step": step, "attempt": attempt}
        case StepRejected(step=step, attempt=attempt, code=code):
            return "step.rejected", {"step": step, "attempt": attempt, "code": code}
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
