"""Lifecycle events on the wire: what happened to a saga, told to anyone who listens."""

from datetime import datetime
from typing import Any, Final, cast, get_args

from countermand.schemas.codec import decode_body, encode
from countermand.schemas.envelope import (
    Envelope,
    Incoming,
    ce_headers,
    integer_header,
    message_type,
    text_header,
    timestamp,
)
from countermand.schemas.errors import InvalidIdentifier, MalformedMessage
from countermand.schemas.identifiers import checked_saga_id
from countermand.schemas.messages import LifecycleMessage, LifecycleName
from countermand.schemas.moments import MOMENT_MAX_MS

LIFECYCLE: Final = "countermand.lifecycle."


def write_lifecycle(message: LifecycleMessage) -> Envelope:
    """A lifecycle event, for anyone."""
    type_ = LIFECYCLE + message.name
    headers = ce_headers(
        type_,
        message.id,
        f"/sagas/{message.definition}",
        subject=message.saga_id,
        time=timestamp(message.at_ms),
        sagaid=message.saga_id,
        sagadef=message.definition,
        sagaversion=message.saga_version,
    )
    return Envelope(type_, headers, encode(message.data), correlation_id=message.saga_id)


def read_lifecycle(incoming: Incoming) -> LifecycleMessage:
    """Anyone reads what happened to a saga.

    Raises:
        MalformedMessage: names the header or the field of the body.
    """
    name = message_type(incoming).removeprefix(LIFECYCLE)
    if name not in get_args(LifecycleName):
        raise MalformedMessage("ce-type", f"{name[:64]!r} is not a lifecycle event")
    try:
        return LifecycleMessage(
            id=text_header(incoming, "ce-id"),
            name=cast("LifecycleName", name),
            saga_id=checked_saga_id(text_header(incoming, "ce-sagaid")),
            definition=text_header(incoming, "ce-sagadef"),
            saga_version=integer_header(incoming, "ce-sagaversion"),
            at_ms=_moment(incoming, "ce-time"),
            data=decode_body(incoming.body, dict[str, Any]),
        )
    except InvalidIdentifier as error:
        raise MalformedMessage(error.field, str(error)) from error


def _moment(incoming: Incoming, header: str) -> int:
    text = text_header(incoming, header)
    try:
        moment_ms = round(datetime.fromisoformat(text).timestamp() * 1000)
        if not 0 <= moment_ms <= MOMENT_MAX_MS:
            raise ValueError(moment_ms)
        return moment_ms
    except (ValueError, OverflowError) as error:
        raise MalformedMessage(header, f"{text[:40]!r} is not a moment, such as 2026-01-31T12:00:00.000Z") from error
