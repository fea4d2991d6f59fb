"""From deliveries to events: what a message to the coordinator asks for, or why it can't be read."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from countermand.coordinator.core.events import (
    CancelRequested,
    OperationRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
)
from countermand.schemas.announcing import ANNOUNCE, read_announce
from countermand.schemas.codec import decode_body
from countermand.schemas.envelope import REPLY, Incoming, message_type, read_reply, read_request, saga_id_of
from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.identifiers import new_secret
from countermand.schemas.messages import (
    AnnounceMessage,
    CancelMessage,
    DefineMessage,
    OperateMessage,
    ReplyMessage,
    SignalMessage,
    StartMessage,
    WatchMessage,
)
from countermand.wire import Delivery

_sorted_encoder = msgspec.json.Encoder(order="sorted")


SagaRequest = StartMessage | SignalMessage | CancelMessage | WatchMessage | OperateMessage


class Item(msgspec.Struct):
    """One event on its way through the one path.

    `again` says that this event may have been committed before without having been published: then everything that it
    may have left unsent is sent once more. `start` names the definition that a start asks for.
    """

    saga_id: str
    event: Callable[[int], SagaEvent]
    event_id: str
    again: bool = False
    start: StartMessage | None = None
    delivery: Delivery | None = None
    guard: bool = False


class Unreadable(msgspec.Struct, frozen=True):
    """A delivery that no saga can take, and why."""

    delivery: Delivery
    field: str
    problem: str
    saga_id: str | None
    over_limit: bool


def incoming(delivery: Delivery) -> Incoming:
    """What the protocol's readers need of a delivery."""
    return Incoming(delivery.headers, delivery.body, delivery.content_type, delivery.reply_to)


def read(delivery: Delivery) -> Item | DefineMessage | AnnounceMessage | Unreadable:
    """Reads one delivery of the coordinator inbox; never raises for what is in it."""
    message = incoming(delivery)
    try:
        type_ = message_type(message)
        if type_.startswith(REPLY):
            return _reply_item(delivery, read_reply(message))
        if type_ == ANNOUNCE:
            return read_announce(message)
        request = read_request(message)
        return request if isinstance(request, DefineMessage) else _request_item(delivery, request)
    except MalformedMessage as error:
        over_limit = isinstance(error, LimitExceeded)
        return Unreadable(delivery, error.field, error.problem, saga_id_of(message), over_limit)


def content_digest(message: StartMessage) -> str:
    """What a start asks for, in 32 hexadecimal digits: the order of an object's fields makes no difference."""
    value: Any = decode_body(bytes(message.input), object)
    asked = [message.definition, message.version, sorted(message.tags), value]
    return hashlib.blake2b(_sorted_encoder.encode(asked), digest_size=16).hexdigest()


def _reply_item(delivery: Delivery, reply: ReplyMessage) -> Item:
    kind = type(reply.outcome).__name__.lower()
    event_id = f"reply:{reply.step}/{reply.direction}/{reply.attempt}/{kind}"
    return Item(
        reply.saga_id,
        lambda at_ms: ReplyReceived(event_id, at_ms, reply),
        event_id,
        again=delivery.redelivered,
        delivery=delivery,
    )


def _request_item(delivery: Delivery, request: SagaRequest) -> Item:
    event_id = f"request:{request.request_id}"
    make: Callable[[int], SagaEvent]
    match request:
        case StartMessage():
            make = _start_maker(event_id, request)
        case SignalMessage():
            make = lambda at_ms: SignalReceived(  # noqa: E731  three makers side by side read better than three functions
                event_id, at_ms, request.request_id, request.name, request.payload, request.reply_to
            )
        case CancelMessage():
            make = lambda at_ms: CancelRequested(  # noqa: E731
                event_id, at_ms, request.request_id, request.reason, request.reply_to
            )
        case OperateMessage():
            make = _operation_maker(event_id, request)
        case WatchMessage():
            make = lambda at_ms: WatchRequested(event_id, at_ms, request.request_id, request.reply_to)  # noqa: E731
    return Item(
        request.saga_id,
        make,
        event_id,
        again=delivery.redelivered,
        start=request if isinstance(request, StartMessage) else None,
        delivery=delivery,
    )


def _operation_maker(event_id: str, request: OperateMessage) -> Callable[[int], SagaEvent]:
    asked: Any = msgspec.json.decode(msgspec.json.encode([request.operation, request.actor, request.reason]))
    content = hashlib.blake2b(_sorted_encoder.encode(asked), digest_size=16).hexdigest()
    return lambda at_ms: OperationRequested(
        event_id=event_id,
        at_ms=at_ms,
        request_id=request.request_id,
        operation=request.operation,
        actor=request.actor,
        reason=request.reason,
        content=content,
        expected_version=request.expected_version,
        reply_to=request.reply_to,
    )


def _start_maker(event_id: str, request: StartMessage) -> Callable[[int], SagaEvent]:
    # Chance is drawn once for an item, not once for an attempt to commit it.
    secret, content = new_secret(), content_digest(request)
    return lambda at_ms: StartRequested(
        event_id=event_id,
        at_ms=at_ms,
        saga_id=request.saga_id,
        input=request.input,
        secret=secret,
        content=content,
        request_id=request.request_id,
        reply_to=request.reply_to,
        tags=request.tags,
        traceparent=request.traceparent,
    )
