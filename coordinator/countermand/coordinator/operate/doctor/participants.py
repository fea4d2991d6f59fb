"""Examines the participants that definitions name: their queues, and whether somebody takes their commands."""

from collections.abc import Iterator, Sequence

from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.doctor.broker import Broker
from countermand.coordinator.operate.doctor.examination import Examination
from countermand.schemas.definition import Definition
from countermand.schemas.topology import Queue
from countermand.wire import QueueFacts


async def examine_participants(broker: Broker, definitions: Sequence[Definition]) -> list[Examination]:
    """Every participant's queue."""
    names = sorted({step.participant for definition in definitions for step in definition.steps()})
    queues = {name: broker.topology.participant_queue(name) for name in names}
    facts = {name: await broker.asking.queue(queue) for name, queue in queues.items()}
    found = [*_missing(facts), *_idle(facts), *(await _otherwise(broker, facts))]
    if found:
        return found
    known = f"{len(names)}: {', '.join(names)}" if names else "no definition names one yet"
    return [Examination("participants.queues", "participants", "queues", "ok", known)]


def _missing(facts: dict[str, QueueFacts | None]) -> Iterator[Examination]:
    missing = [name for name, each in facts.items() if each is None]
    if missing:
        yield Examination(
            "participants.missing",
            "participants",
            "queues",
            "warning",
            f"no queue for: {', '.join(missing)}",
            "a command for them has nowhere to wait until the queue is declared",
            "start the participant, or restart a coordinator: either declares the queue",
        )


def _idle(facts: dict[str, QueueFacts | None]) -> Iterator[Examination]:
    for name, each in facts.items():
        if each is None or each.consumers > 0:
            continue
        yield Examination(
            "participants.idle",
            "participants",
            f"{name} at work",
            "warning" if each.messages else "notice",
            f"nobody consumes the queue of {name}; {counted(each.messages, 'command waits', 'commands wait')}",
            "its steps time out and are tried again, and then their sagas turn back",
            f"start the participant {name}; if it runs, look in its log for connection_failed",
        )


async def _otherwise(broker: Broker, facts: dict[str, QueueFacts | None]) -> list[Examination]:
    found: list[Examination] = []
    for name, each in facts.items():
        if each is None:
            continue
        queue = broker.topology.participant_queue(name)
        difference = await broker.asking.differs(Queue(queue, broker.topology.quorum_arguments()))
        if difference is not None and difference.kind != "permission":
            found.append(
                Examination(
                    "participants.arguments",
                    "participants",
                    f"queue of {name}",
                    "warning",
                    f"{queue}: {difference.text}",
                    "without quorum, delivery limit or dead-letter exchange a command can be lost, or stop all others",
                    f"let it run empty, stop the participant, `rabbitmqctl delete_queue {queue}`, start it again",
                )
            )
    return found
