"""From deliveries to events: what a message to the coordinator asks for, or why it can't be read."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from countermand.coordinator.core.events import (
    CancelRequested,
    OperationRequested,
    ParentEnded,
    ParentRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
)
from countermand.coordinator.core.state import Ask
from countermand.schemas.announcing import ANNOUNCE, read_announce
from countermand.schemas.codec import check_undo_body, decode_body
from countermand.schemas.coordinating import COORDINATION, read_coordination, target_of
from countermand.schemas.coordination import (
    LOCK_ACTION,
    SAGA_ACTION,
    ChildBody,
    EventMessage,
    LockBody,
    ParentEndedMessage,
    ReleaseMessage,
    SubscribeMessage,
    gate_id,
)
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.envelope import (
    COMMAND,
    REPLY,
    Incoming,
    message_type,
    read_command,
    read_reply,
    read_request,
    saga_id_of,
)
from countermand.schemas.errors import InvalidIdentifier, LimitExceeded, MalformedMessage
from countermand.schemas.identifiers import checked_saga_id, checked_slug, new_secret
from countermand.schemas.messages import (
    AnnounceMessage,
    CancelMessage,
    CommandMessage,
    DefineMessage,
    OperateMessage,
    ReplyMessage,
    SignalMessage,
    StartMessage,
    UndoBody,
    WatchMessage,
)
from countermand.schemas.operations import MigrateSaga
from countermand.wire import Delivery

_sorted_encoder = msgspec.json.Encoder(order="sorted")


Body = TypeVar("Body", LockBody, ChildBody)

SagaRequest = StartMessage | SignalMessage | CancelMessage | WatchMessage | OperateMessage


class Item(msgspec.Struct):
    """One event on its way through the one path.

    `again` says that this event may have been committed before without having been published: then everything that it
    may have left unsent is sent once more. `start` names the definition that a start asks for, `to_version` the version
    that a migration goes over to.
    """

    saga_id: str
    event: Callable[[int], SagaEvent]
    event_id: str
    again: bool = False
    start: StartMessage | None = None
    delivery: Delivery | None = None
    guard: bool = False
    to_version: int | None = None


class LockAsked(msgspec.Struct, frozen=True):
    """A command that asks for a lock, and its body."""

    command: CommandMessage
    body: LockBody


class GateItem(msgspec.Struct, frozen=True):
    """One message on its way to a gate or a mailbox, whose id is `target`. `again` as in `Item`."""

    target: str
    message: EventMessage | SubscribeMessage | ReleaseMessage | LockAsked
    delivery: Delivery
    again: bool = False


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


def read(delivery: Delivery) -> Item | GateItem | DefineMessage | AnnounceMessage | Unreadable:
    """Reads one delivery of the coordinator inbox; never raises for what is in it."""
    message = incoming(delivery)
    try:
        type_ = message_type(message)
        if type_.startswith(REPLY):
            return _reply_item(delivery, read_reply(message))
        if type_ == ANNOUNCE:
            return read_announce(message)
        if type_ == COMMAND:
            return _command_item(delivery, read_command(message))
        if type_ in COORDINATION:
            asked = read_coordination(message)
            if isinstance(asked, ParentEndedMessage):
                return _parting_item(delivery, asked)
            return GateItem(target_of(asked), asked, delivery, again=delivery.redelivered)
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


def _command_item(delivery: Delivery, command: CommandMessage) -> Item | GateItem:
    """A command for the coordinator itself, as for any participant: a lock or a child saga is asked for."""
    if command.participant != COORDINATOR:
        raise MalformedMessage("ce-sagaparticipant", f"{command.participant!r}; expected {COORDINATOR!r}")
    if command.action == LOCK_ACTION and command.direction != "probe":
        asked = LockAsked(command, _asked_body(command, LockBody))
        return GateItem(gate_id(asked.body.lock, asked.body.key), asked, delivery, again=delivery.redelivered)
    if command.action == SAGA_ACTION and command.direction != "probe":
        return _child_item(delivery, command)
    raise MalformedMessage("ce-sagaaction", f"{command.action!r} to {command.direction}; expected a lock or a saga")


def _asked_body(command: CommandMessage, type_: type[Body]) -> Body:
    """The body of the command, also in an undo."""
    if command.direction != "undo":
        return decode_body(command.body, type_)
    undone = decode_body(command.body, UndoBody, check=check_undo_body)
    return decode_body(bytes(undone.command), type_, field="body.command")


def _child_item(delivery: Delivery, command: CommandMessage) -> Item:
    body = _asked_body(command, ChildBody)
    try:
        saga_id, name = checked_saga_id(body.saga_id), checked_slug("body.definition", body.definition)
    except InvalidIdentifier as error:
        raise MalformedMessage(error.field, str(error)) from error
    done = command.direction == "undo" and bytes(decode_body(command.body, UndoBody).result) != b"null"
    event_id = f"parent:{command.key}/{command.direction}/{command.attempt}"
    start = StartMessage(event_id, saga_id, name, body.input, body.version, traceparent=command.traceparent)
    # Chance is drawn once for an item, not once for an attempt to commit it.
    secret, content = new_secret(), content_digest(start)
    ask = Ask(command.attempt, command.command_id, command.saga_version)
    return Item(
        saga_id,
        lambda at_ms: ParentRequested(
            event_id=event_id,
            at_ms=at_ms,
            saga_id=saga_id,
            direction=command.direction,
            ask=ask,
            parent=command.saga_id,
            step=command.step,
            key=command.key,
            input=body.input,
            secret=secret,
            content=content,
            traceparent=command.traceparent,
            depth=body.depth,
            done=done,
        ),
        event_id,
        again=delivery.redelivered,
        start=start,
        delivery=delivery,
    )


def _parting_item(delivery: Delivery, message: ParentEndedMessage) -> Item:
    event_id = f"parent-ended:{message.parent}/{message.step}"
    return Item(
        message.saga_id,
        lambda at_ms: ParentEnded(event_id, at_ms, message.parent, message.step),
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
                event_id, at_ms, request.request_id, request.name, request.payload, request.reply_to, request.wait
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
        to_version=_version_to_go_to(request),
    )


def _version_to_go_to(request: SagaRequest) -> int | None:
    match request:
        case OperateMessage(operation=MigrateSaga(version=version)):
            return version
        case _:
            return None


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
