"""What spans two sagas, on the wire: events by business key, subscriptions to them, and what an ended saga tells.

All of them go to the coordinator inbox, under the `inbox_key` of the aggregate that takes them: see `target_of`. Child
sagas and locks are asked for by commands like any others (`envelope.write_command`), on the same exchange, under the
`inbox_key` of the child's id or of the lock's `gate_id`.
"""

from typing import Final, assert_never

import msgspec

from countermand.schemas.codec import decode_body, encode
from countermand.schemas.coordination import (
    EVENT_KEPT_MAX_MS,
    EVENT_KEPT_MS,
    CoordinationMessage,
    EventMessage,
    LockKey,
    LockName,
    ParentEndedMessage,
    ReleaseMessage,
    SubscribeMessage,
    checked_key,
    gate_id,
    mailbox_id,
)
from countermand.schemas.envelope import (
    Envelope,
    Incoming,
    ce_headers,
    integer_header,
    message_type,
    optional_header,
    step_header,
    text_header,
)
from countermand.schemas.errors import InvalidIdentifier, MalformedMessage
from countermand.schemas.identifiers import checked_name, checked_saga_id
from countermand.schemas.moments import MOMENT_MAX_MS

EVENT: Final = "countermand.event"
SUBSCRIBE: Final = "countermand.subscribe"
RELEASE: Final = "countermand.release"
PARENT_ENDED: Final = "countermand.parent_ended"
COORDINATION: Final = frozenset((EVENT, SUBSCRIBE, RELEASE, PARENT_ENDED))


def write_event(message: EventMessage, *, source: str) -> Envelope:
    """A client's event; it goes to the coordinator inbox under `inbox_key(mailbox_id(event, key))`."""
    headers = ce_headers(
        EVENT,
        message.request_id,
        source,
        sagaevent=message.event,
        sagaeventkey=message.key,
        sagakeepms=None if message.keep_ms == EVENT_KEPT_MS else message.keep_ms,
    )
    return Envelope(EVENT, headers, bytes(message.payload), None, message.reply_to)


def write_coordination(message: CoordinationMessage) -> Envelope:
    """What a saga tells another aggregate; it goes to the coordinator inbox under `inbox_key(target_of(message))`."""
    match message:
        case SubscribeMessage():
            headers = ce_headers(
                SUBSCRIBE,
                f"{message.saga_id}/{message.step}/subscribe",
                "/coordinator",
                sagaid=message.saga_id,
                sagastep=message.step,
                sagaevent=message.event,
                sagaeventkey=message.key,
                sagauntil=message.until_ms,
            )
            return Envelope(SUBSCRIBE, headers, b"{}", correlation_id=message.saga_id)
        case ReleaseMessage():
            headers = ce_headers(
                RELEASE,
                f"{message.saga_id}/{message.step}/release",
                "/coordinator",
                sagaid=message.saga_id,
                sagastep=message.step,
                sagacommandid=message.command_id,
            )
            body = encode({"lock": message.lock, "key": message.key})
            return Envelope(RELEASE, headers, body, correlation_id=message.saga_id)
        case ParentEndedMessage():
            headers = ce_headers(
                PARENT_ENDED,
                f"{message.parent}/{message.step}/parent-ended",
                "/coordinator",
                sagaid=message.saga_id,
                sagaparent=message.parent,
                sagastep=message.step,
            )
            return Envelope(PARENT_ENDED, headers, b"{}", correlation_id=message.saga_id)
        case _:
            assert_never(message)


def target_of(message: EventMessage | CoordinationMessage) -> str:
    """The id of the aggregate that a message is for."""
    match message:
        case ReleaseMessage(lock=lock, key=key):
            return gate_id(lock, key)
        case ParentEndedMessage(saga_id=saga_id):
            return saga_id
        case _:
            return mailbox_id(message.event, message.key)


def read_coordination(incoming: Incoming) -> EventMessage | CoordinationMessage:
    """The coordinator reads a message to a mailbox, a gate or a child saga.

    Raises:
        MalformedMessage: names the header or the field of the body.
    """
    type_ = message_type(incoming)
    try:
        match type_:
            case "countermand.event":
                return _event(incoming)
            case "countermand.subscribe":
                return SubscribeMessage(
                    saga_id=checked_saga_id(text_header(incoming, "ce-sagaid")),
                    step=step_header(incoming),
                    event=checked_name("ce-sagaevent", text_header(incoming, "ce-sagaevent")),
                    key=checked_key("ce-sagaeventkey", text_header(incoming, "ce-sagaeventkey")),
                    until_ms=_bounded(incoming, "ce-sagauntil", MOMENT_MAX_MS),
                )
            case "countermand.release":
                body = decode_body(incoming.body, ReleaseBody)
                return ReleaseMessage(
                    lock=body.lock,
                    key=body.key,
                    saga_id=checked_saga_id(text_header(incoming, "ce-sagaid")),
                    step=step_header(incoming),
                    command_id=text_header(incoming, "ce-sagacommandid"),
                )
            case "countermand.parent_ended":
                return ParentEndedMessage(
                    saga_id=checked_saga_id(text_header(incoming, "ce-sagaid")),
                    parent=checked_saga_id(text_header(incoming, "ce-sagaparent")),
                    step=step_header(incoming),
                )
            case _:
                raise MalformedMessage("ce-type", f"{type_[:64]!r} is not a message between sagas")
    except InvalidIdentifier as error:
        raise MalformedMessage(error.field, str(error)) from error


class ReleaseBody(msgspec.Struct, frozen=True):
    """The body of a release."""

    lock: LockName
    key: LockKey = ""


def _event(incoming: Incoming) -> EventMessage:
    # Passed on as it is; bytes that are no JSON would fail only later, in somebody else's hands.
    decode_body(incoming.body, object)
    kept = optional_header(incoming, "ce-sagakeepms")
    return EventMessage(
        request_id=text_header(incoming, "ce-id"),
        event=checked_name("ce-sagaevent", text_header(incoming, "ce-sagaevent")),
        key=checked_key("ce-sagaeventkey", text_header(incoming, "ce-sagaeventkey")),
        payload=msgspec.Raw(incoming.body),
        keep_ms=EVENT_KEPT_MS if kept is None else _bounded(incoming, "ce-sagakeepms", EVENT_KEPT_MAX_MS),
        reply_to=incoming.reply_to,
    )


def _bounded(incoming: Incoming, header: str, maximum: int) -> int:
    found = integer_header(incoming, header)
    if found > maximum:
        raise MalformedMessage(header, f"{found}; expected at most {maximum}")
    return found
