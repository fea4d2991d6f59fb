"""Messages as CloudEvents in binary mode: attributes in `ce-` headers, flat strings; the body is the plain payload.

Source of the header names: the CloudEvents RabbitMQ protocol binding (AMQP 0-9-1, prefix `ce-`). Extension attributes
begin with `saga` and use lower-case letters only, as CloudEvents asks. Every value is text, because RabbitMQ drops
arrays and tables when it converts to AMQP 1.0.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import msgspec

from countermand.schemas.codec import check_body, check_headers, check_undo_body, decode_body, encode
from countermand.schemas.errors import InvalidIdentifier, MalformedMessage
from countermand.schemas.identifiers import (
    DIRECTIONS,
    Direction,
    checked_name,
    checked_saga_id,
    checked_slug,
    checked_step,
    checked_tags,
)
from countermand.schemas.messages import (
    PROTOCOL,
    Answer,
    CancelMessage,
    CommandMessage,
    Defined,
    DefineMessage,
    EventAccepted,
    Failed,
    OperateMessage,
    Outcome,
    Rejected,
    ReplyMessage,
    ReplyOutcome,
    RequestMessage,
    SignalMessage,
    StartMessage,
    Succeeded,
    WatchMessage,
)
from countermand.schemas.moments import MOMENT_MAX_MS
from countermand.schemas.operations import Actor, OperationBody, RetryBody, SkipBody, Why, operation_of

JSON: Final = "application/json"

# What a participant writes into a code and a reason is kept with the saga and told to clients: a line, not a page.
CODE_MAX: Final = 64
REASON_MAX: Final = 1_000

_EPOCH: Final = datetime.fromtimestamp(0, UTC)

COMMAND: Final = "countermand.command"
REPLY: Final = "countermand.reply."
START: Final = "countermand.start"
SIGNAL: Final = "countermand.signal"
CANCEL: Final = "countermand.cancel"
WATCH: Final = "countermand.watch"
OPERATE: Final = "countermand.operate"
DEFINE: Final = "countermand.define"
ANSWER: Final = "countermand.answer"


class Envelope(msgspec.Struct, frozen=True):
    """A message on the wire, without its address."""

    type: str
    headers: dict[str, str | int]
    body: bytes
    correlation_id: str | None = None
    reply_to: str | None = None
    content_type: str = JSON


def timestamp(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds; of a moment that no calendar has, the nearest that one has."""
    moment = _EPOCH + timedelta(milliseconds=max(0, min(at_ms, MOMENT_MAX_MS)))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ce_headers(type_: str, id_: str, source: str, **extensions: str | int | None) -> dict[str, str | int]:
    """The headers of a message; an extension that is null is left out."""
    headers: dict[str, str | int] = {
        "ce-specversion": "1.0",
        "ce-id": id_,
        "ce-source": source,
        "ce-type": type_,
        "ce-sagaprotocol": str(PROTOCOL),
    }
    for name, value in extensions.items():
        if value is not None:
            headers[f"ce-{name}"] = str(value)
    return headers


# --- writing


def write_command(message: CommandMessage) -> Envelope:
    """A command for a participant; replies go to the coordinator inbox under `inbox_key(saga_id)`."""
    headers = ce_headers(
        COMMAND,
        f"{message.key}/{message.direction}/{message.attempt}",
        f"/sagas/{message.definition}",
        sagaid=message.saga_id,
        sagadef=message.definition,
        sagastep=message.step,
        sagaparticipant=message.participant,
        sagaaction=message.action,
        sagadirection=message.direction,
        sagaattempt=message.attempt,
        sagakey=message.key,
        sagacommandid=message.command_id,
        sagaversion=message.saga_version,
        sagadeadline=message.deadline_ms,
    )
    if message.traceparent is not None:
        headers["traceparent"] = message.traceparent
    return Envelope(COMMAND, headers, message.body, correlation_id=message.saga_id)


def write_reply(message: ReplyMessage) -> Envelope:
    """A participant's reply."""
    match message.outcome:
        case Succeeded(result=result):
            kind, body = "succeeded", bytes(result)
        case Rejected():
            kind, body = "rejected", _error_body(message.outcome)
        case Failed():
            kind, body = "failed", _error_body(message.outcome)
    headers = ce_headers(
        REPLY + kind,
        f"{message.key}/{message.direction}/{message.attempt}/{kind}",
        f"/participants/{message.participant}",
        sagaid=message.saga_id,
        sagastep=message.step,
        sagaparticipant=message.participant,
        sagadirection=message.direction,
        sagaattempt=message.attempt,
        sagakey=message.key,
        sagacommandid=message.command_id,
        sagaversion=message.saga_version,
        sagareplayed="true" if message.replayed else None,
    )
    if message.traceparent is not None:
        headers["traceparent"] = message.traceparent
    return Envelope(REPLY + kind, headers, body, correlation_id=message.saga_id)


def write_request(message: RequestMessage, *, source: str) -> Envelope:
    """A client's request."""
    match message:
        case StartMessage():
            headers = ce_headers(
                START,
                message.request_id,
                source,
                sagaid=message.saga_id,
                sagadef=message.definition,
                sagadefversion=message.version,
                sagatags=",".join(message.tags) or None,
            )
            if message.traceparent is not None:
                headers["traceparent"] = message.traceparent
            return Envelope(START, headers, bytes(message.input), message.saga_id, message.reply_to)
        case SignalMessage():
            headers = ce_headers(
                SIGNAL,
                message.request_id,
                source,
                sagaid=message.saga_id,
                sagasignal=message.name,
                sagawait=message.wait,
            )
            return Envelope(SIGNAL, headers, bytes(message.payload), message.saga_id, message.reply_to)
        case CancelMessage():
            headers = ce_headers(CANCEL, message.request_id, source, sagaid=message.saga_id)
            body = encode({"reason": message.reason})
            return Envelope(CANCEL, headers, body, message.saga_id, message.reply_to)
        case WatchMessage():
            headers = ce_headers(WATCH, message.request_id, source, sagaid=message.saga_id)
            return Envelope(WATCH, headers, b"{}", message.saga_id, message.reply_to)
        case OperateMessage():
            headers = ce_headers(
                OPERATE,
                message.request_id,
                source,
                sagaid=message.saga_id,
                sagaexpectedversion=message.expected_version,
            )
            body = encode({"operation": message.operation, "actor": message.actor, "reason": message.reason})
            return Envelope(OPERATE, headers, body, message.saga_id, message.reply_to)
        case DefineMessage():
            headers = ce_headers(DEFINE, message.request_id, source)
            return Envelope(DEFINE, headers, message.document, None, message.reply_to)


def write_answer(answer: Answer) -> Envelope:
    """The coordinator's answer to a client."""
    saga_id = None if isinstance(answer, Defined | EventAccepted) else answer.saga_id
    # An outcome answers no single request: it may come days later, to whoever watches.
    request_id = f"{answer.saga_id}/outcome" if isinstance(answer, Outcome) else answer.request_id
    headers = ce_headers(ANSWER, request_id, "/coordinator", sagaid=saga_id)
    return Envelope(ANSWER, headers, encode(answer), correlation_id=request_id)


# --- reading


class Incoming(msgspec.Struct, frozen=True):
    """What a reader needs of a delivery, whatever driver brought it."""

    headers: Mapping[str, object]
    body: bytes
    content_type: str | None = JSON
    reply_to: str | None = None


def message_type(incoming: Incoming) -> str:
    """The message's `ce-type`, once headers, protocol, content type and body size are found to be in order.

    Raises:
        MalformedMessage: names the header.
    """
    check_headers(incoming.headers)
    protocol = text_header(incoming, "ce-sagaprotocol")
    if protocol != str(PROTOCOL):
        raise MalformedMessage("ce-sagaprotocol", f"{protocol[:16]!r} is not spoken here; expected {PROTOCOL}")
    content_type = (incoming.content_type or JSON).partition(";")[0].strip()
    if content_type != JSON:
        raise MalformedMessage("content_type", f"{content_type[:64]!r} is not read here; expected {JSON!r}")
    type_ = text_header(incoming, "ce-type")
    undo = type_ == COMMAND and incoming.headers.get("ce-sagadirection") == "undo"
    (check_undo_body if undo else check_body)(incoming.body)
    return type_


def read_command(incoming: Incoming) -> CommandMessage:
    """A participant reads a command.

    Raises:
        MalformedMessage: names the header or the field of the body.
    """
    if (type_ := message_type(incoming)) != COMMAND:
        raise MalformedMessage("ce-type", f"{type_[:64]!r} is not a command")
    try:
        saga_id = checked_saga_id(text_header(incoming, "ce-sagaid"))
        return CommandMessage(
            saga_id=saga_id,
            definition=text_header(incoming, "ce-sagadef"),
            step=step_header(incoming),
            participant=checked_slug("ce-sagaparticipant", text_header(incoming, "ce-sagaparticipant")),
            action=checked_name("ce-sagaaction", text_header(incoming, "ce-sagaaction")),
            direction=_direction(incoming),
            attempt=integer_header(incoming, "ce-sagaattempt", minimum=1),
            key=text_header(incoming, "ce-sagakey"),
            command_id=text_header(incoming, "ce-sagacommandid"),
            saga_version=integer_header(incoming, "ce-sagaversion"),
            deadline_ms=integer_header(incoming, "ce-sagadeadline"),
            body=incoming.body,
            traceparent=optional_header(incoming, "traceparent"),
        )
    except InvalidIdentifier as error:
        raise MalformedMessage(error.field, str(error)) from error


def read_reply(incoming: Incoming) -> ReplyMessage:
    """The coordinator reads a reply.

    Raises:
        MalformedMessage: names the header or the field of the body.
    """
    type_ = message_type(incoming)
    try:
        saga_id = checked_saga_id(text_header(incoming, "ce-sagaid"))
        return ReplyMessage(
            saga_id=saga_id,
            step=step_header(incoming),
            direction=_direction(incoming),
            attempt=integer_header(incoming, "ce-sagaattempt", minimum=1),
            key=text_header(incoming, "ce-sagakey"),
            command_id=text_header(incoming, "ce-sagacommandid"),
            saga_version=integer_header(incoming, "ce-sagaversion"),
            participant=checked_slug("ce-sagaparticipant", text_header(incoming, "ce-sagaparticipant")),
            outcome=_outcome(type_, incoming.body),
            replayed=optional_header(incoming, "ce-sagareplayed") == "true",
            traceparent=optional_header(incoming, "traceparent"),
        )
    except InvalidIdentifier as error:
        raise MalformedMessage(error.field, str(error)) from error


def read_request(incoming: Incoming) -> RequestMessage:
    """The coordinator reads a client's request.

    Raises:
        MalformedMessage: names the header or the field of the body.
    """
    type_ = message_type(incoming)
    request_id = text_header(incoming, "ce-id")
    try:
        if type_ == DEFINE:
            return DefineMessage(request_id, incoming.body, incoming.reply_to)
        saga_id = checked_saga_id(text_header(incoming, "ce-sagaid"))
        match type_:
            case "countermand.start":
                _check_json(incoming.body)
                version = optional_header(incoming, "ce-sagadefversion")
                tags = optional_header(incoming, "ce-sagatags")
                return StartMessage(
                    request_id=request_id,
                    saga_id=saga_id,
                    definition=checked_slug("ce-sagadef", text_header(incoming, "ce-sagadef")),
                    input=msgspec.Raw(incoming.body),
                    version=None if version is None else integer_header(incoming, "ce-sagadefversion", minimum=1),
                    tags=checked_tags(tuple(tags.split(","))) if tags else (),
                    reply_to=incoming.reply_to,
                    traceparent=optional_header(incoming, "traceparent"),
                )
            case "countermand.signal":
                _check_json(incoming.body)
                name = checked_name("ce-sagasignal", text_header(incoming, "ce-sagasignal"))
                wait = optional_header(incoming, "ce-sagawait")
                return SignalMessage(
                    request_id=request_id,
                    saga_id=saga_id,
                    name=name,
                    payload=msgspec.Raw(incoming.body),
                    reply_to=incoming.reply_to,
                    wait=None if wait is None else step_header(incoming, "ce-sagawait"),
                )
            case "countermand.cancel":
                reason = decode_body(incoming.body, _CancelBody).reason
                return CancelMessage(request_id, saga_id, reason, incoming.reply_to)
            case "countermand.watch":
                if incoming.reply_to is None:
                    raise MalformedMessage("reply_to", "a watch needs the queue that the outcome goes to")
                return WatchMessage(request_id, saga_id, incoming.reply_to)
            case "countermand.operate":
                asked = decode_body(incoming.body, _OperateBody)
                _check_payload(asked.operation)
                expected = optional_header(incoming, "ce-sagaexpectedversion")
                return OperateMessage(
                    request_id=request_id,
                    saga_id=saga_id,
                    operation=operation_of(asked.operation),
                    actor=asked.actor,
                    reason=asked.reason,
                    expected_version=None if expected is None else integer_header(incoming, "ce-sagaexpectedversion"),
                    reply_to=incoming.reply_to,
                )
            case _:
                raise MalformedMessage("ce-type", f"{type_[:64]!r} is not a message to the coordinator")
    except InvalidIdentifier as error:
        raise MalformedMessage(error.field, str(error)) from error


def read_answer(incoming: Incoming) -> Answer:
    """A client reads an answer.

    Raises:
        MalformedMessage: names the header or the field of the body.
    """
    if (type_ := message_type(incoming)) != ANSWER:
        raise MalformedMessage("ce-type", f"{type_[:64]!r} is not an answer")
    return decode_body(incoming.body, cast("type[Answer]", Answer))


def saga_id_of(incoming: Incoming) -> str | None:
    """The saga that a message names, however malformed the rest of it is."""
    value = incoming.headers.get("ce-sagaid")
    try:
        return checked_saga_id(value) if isinstance(value, str) else None
    except InvalidIdentifier:
        return None


class _CancelBody(msgspec.Struct):
    reason: str = ""


class _OperateBody(msgspec.Struct, forbid_unknown_fields=True):
    operation: OperationBody
    actor: Actor
    reason: Why


class _ErrorBody(msgspec.Struct, omit_defaults=True):
    code: str
    reason: str = ""
    rolled_back: bool = False
    retry_after_ms: int | None = None
    retryable: bool = True


def _error_body(error: Rejected | Failed) -> bytes:
    match error:
        case Rejected(code=code, reason=reason):
            return encode(_ErrorBody(code, reason))
        case Failed():
            body = _ErrorBody(error.code, error.reason, error.rolled_back, error.retry_after_ms, error.retryable)
            return encode(body)


def _outcome(type_: str, body: bytes) -> ReplyOutcome:
    match type_:
        case "countermand.reply.succeeded":
            _check_json(body)
            return Succeeded(msgspec.Raw(body))
        case "countermand.reply.rejected":
            error = decode_body(body, _ErrorBody)
            return Rejected(error.code[:CODE_MAX], error.reason[:REASON_MAX])
        case "countermand.reply.failed":
            error = decode_body(body, _ErrorBody)
            if error.retry_after_ms is not None and error.retry_after_ms < 0:
                raise MalformedMessage("body.retry_after_ms", "expected a number of milliseconds, not below 0")
            code, reason = error.code[:CODE_MAX], error.reason[:REASON_MAX]
            return Failed(code, reason, error.rolled_back, error.retry_after_ms, error.retryable)
        case _:
            raise MalformedMessage("ce-type", f"{type_[:64]!r} is not a reply")


def _check_payload(operation: OperationBody) -> None:
    """Reads what was passed over as raw JSON, so that it can be read by whoever gets it."""
    if isinstance(operation, RetryBody) and isinstance(operation.input, msgspec.Raw):
        decode_body(bytes(operation.input), object, field="body.operation.input")
    if isinstance(operation, SkipBody) and isinstance(operation.result, msgspec.Raw):
        decode_body(bytes(operation.result), object, field="body.operation.result")


def _check_json(body: bytes) -> None:
    # Results are passed on as they are; bytes that are no JSON would fail only later, in somebody else's hands.
    decode_body(body, object)


def text_header(incoming: Incoming, header: str) -> str:
    """A header that must be there. Raises MalformedMessage."""
    value = incoming.headers.get(header)
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise MalformedMessage(header, "not UTF-8") from error
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise MalformedMessage(header, "missing" if value is None else f"expected text, got {type(value).__name__}")
    return value


def optional_header(incoming: Incoming, header: str) -> str | None:
    """A header that need not be there."""
    return text_header(incoming, header) if incoming.headers.get(header) is not None else None


def integer_header(incoming: Incoming, header: str, *, minimum: int = 0) -> int:
    """A header that must be there and be a whole number. Raises MalformedMessage."""
    text = text_header(incoming, header)
    # Eighteen digits hold every honest number and fit a signed 64-bit integer.
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < minimum:
        raise MalformedMessage(header, f"{text[:20]!r} is not a whole number from {minimum} on")
    return int(text)


def _direction(incoming: Incoming) -> Direction:
    text = text_header(incoming, "ce-sagadirection")
    for direction in DIRECTIONS:
        if text == direction:
            return direction
    raise MalformedMessage("ce-sagadirection", f"{text[:16]!r}; expected 'do', 'undo' or 'probe'")


def step_header(incoming: Incoming, header: str = "ce-sagastep") -> str:
    """A header that must be there and name a step. Raises MalformedMessage."""
    text = text_header(incoming, header)
    try:
        return checked_step(text)
    except InvalidIdentifier as error:
        raise MalformedMessage(header, str(error)) from error
