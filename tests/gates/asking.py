"""What sagas and clients say to gates and mailboxes."""

from typing import Any

import msgspec

from countermand.coordinator.gates.decision import Decision
from countermand.schemas.coordination import EventMessage, LockBody, ReleaseMessage, SubscribeMessage
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.identifiers import Direction, command_id, step_key
from countermand.schemas.messages import CommandMessage, ReplyMessage, SignalMessage

LOCK = "order"
KEY = "1001"
STEP = "order_lock"
EVENT = "payment_received"


def secret_of(saga_id: str) -> str:
    return f"secret-of-{saga_id}"


def command(
    saga_id: str, *, attempt: int = 1, step: str = STEP, direction: Direction = "do", at_once: int = 1
) -> CommandMessage:
    """A saga's command for the lock."""
    return CommandMessage(
        saga_id=saga_id,
        definition="fulfil@1",
        step=step,
        participant=COORDINATOR,
        action="lock",
        direction=direction,
        attempt=attempt,
        key=step_key(saga_id, step),
        command_id=command_id(secret_of(saga_id), step, direction, attempt),
        saga_version=attempt + 1,
        deadline_ms=0,
        body=msgspec.json.encode(body(at_once=at_once)),
    )


def body(*, at_once: int = 1) -> LockBody:
    return LockBody(LOCK, KEY, at_once)


def release(saga_id: str, *, attempt: int = 1, step: str = STEP) -> ReleaseMessage:
    """What the saga says at its end."""
    return ReleaseMessage(LOCK, KEY, saga_id, step, command_id(secret_of(saga_id), step, "do", attempt))


def event(
    request_id: str, *, payload: object = None, keep_ms: int = 3_600_000, queue: str | None = None
) -> EventMessage:
    return EventMessage(request_id, EVENT, KEY, msgspec.Raw(msgspec.json.encode(payload)), keep_ms, queue)


def subscription(saga_id: str, *, step: str = "paid", until_ms: int = 2 * 10**12) -> SubscribeMessage:
    return SubscribeMessage(saga_id, step, EVENT, KEY, until_ms)


def replies(decision: Decision[Any]) -> list[tuple[str, int, str]]:
    """The replies: to whom, to which attempt, and how it ended."""
    return [
        (each.saga_id, each.attempt, type(each.outcome).__name__)
        for each in decision.tells
        if isinstance(each, ReplyMessage)
    ]


def signals(decision: Decision[Any]) -> list[tuple[str, str, str]]:
    """The signals: to whom, for which wait, of which event."""
    return [
        (each.saga_id, each.wait or "", each.request_id) for each in decision.tells if isinstance(each, SignalMessage)
    ]
