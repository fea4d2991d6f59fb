"""Every message of the protocol and its headers, as a table: what the documents of the protocol are made from.

`envelope`, `announcing` and `lifecycle` write and read these headers; `tests/protocol` proves for each message that
what is written, and what is read, is what stands here.
"""

from typing import Final, Literal

import msgspec

# What a header's text is. All of them are text; whole numbers may come as AMQP integers too.
Form = Literal[
    "text",
    "whole",
    "positive",
    "saga_id",
    "name",
    "step",
    "slug",
    "label",
    "direction",
    "true",
    "tags",
    "business_key",
    "moment",
    "protocol",
]

# required  a message without it is refused
# sent      whoever sends the message must send it; readers of this release do without
# optional  it may be missing, which means something
Need = Literal["required", "sent", "optional"]


class Header(msgspec.Struct, frozen=True):
    """One header of one message."""

    name: str
    form: Form
    meaning: str
    need: Need = "required"


class Kind(msgspec.Struct, frozen=True):
    """One kind of message. `type` is its `ce-type`, or begins it where it ends in a dot."""

    name: str
    type: str
    sender: str
    receiver: str
    headers: tuple[Header, ...]
    body: str


def _frame(*, id_: str, source: str, id_need: Need = "sent") -> tuple[Header, ...]:
    return (
        Header("ce-specversion", "text", "`1.0`, the version of CloudEvents", "sent"),
        Header("ce-id", "text", id_, id_need),
        Header("ce-source", "text", source, "sent"),
        Header("ce-type", "text", "the kind of the message"),
        Header("ce-sagaprotocol", "protocol", "the version of this protocol"),
    )


_SAGA: Final = Header("ce-sagaid", "saga_id", "the saga")
_TRACE: Final = Header("traceparent", "text", "W3C trace context, passed on unread", "optional")
_STEP: Final = (
    _SAGA,
    Header("ce-sagastep", "step", "the step; inside a for-each with the item's place, counted from 0"),
    Header("ce-sagaparticipant", "slug", "the participant"),
    Header(
        "ce-sagadirection", "direction", "`do` is the action, `undo` its compensation, `probe` asks what became of it"
    ),
    Header("ce-sagaattempt", "positive", "counts from 1, for each step and direction"),
    Header("ce-sagakey", "text", "the idempotency key: the same for every attempt and every direction"),
    Header("ce-sagacommandid", "text", "can't be guessed; a reply that does not repeat it is not believed"),
    Header("ce-sagaversion", "whole", "the saga's version when the command was made"),
)


def _request(name: str, body: str, *headers: Header) -> Kind:
    frame = _frame(
        id_="the request's id: comes back in the answer, and the same id counts once",
        source="`/clients/<name>`",
        id_need="required",
    )
    return Kind(name, f"countermand.{name}", "client", "coordinator", (*frame, *headers), body)


COMMAND: Final = Kind(
    "command",
    "countermand.command",
    "coordinator",
    "participant",
    (
        *_frame(id_="`<key>/<direction>/<attempt>`", source="`/sagas/<definition>`"),
        *_STEP,
        Header("ce-sagadef", "label", "the definition that the saga runs on, `name@version`"),
        Header("ce-sagaaction", "name", "the action that is asked for, to be undone, or asked about"),
        Header("ce-sagadeadline", "whole", "the moment until which this attempt is waited for (Unix time, ms)"),
        _TRACE,
    ),
    "`do` and `probe`: the command's own JSON. `undo`: `command`, the same JSON, and `result`, or null if unknown",
)

REPLY: Final = Kind(
    "reply",
    "countermand.reply.",
    "participant",
    "coordinator",
    (
        *_frame(id_="`<key>/<direction>/<attempt>/<outcome>`", source="`/participants/<participant>`"),
        *_STEP,
        Header(
            "ce-sagareplayed", "true", "`true`: the outcome was on record, and this attempt did nothing", "optional"
        ),
        _TRACE,
    ),
    "`succeeded`: the result, null where there is none. `rejected` and `failed`: a code, a reason and what follows",
)

ANNOUNCE: Final = Kind(
    "announce",
    "countermand.announce",
    "participant",
    "coordinator",
    (
        *_frame(id_="`<participant>/<instance>`", source="`/participants/<participant>`"),
        Header("ce-sagaparticipant", "slug", "the participant", "sent"),
    ),
    "what the participant is",
)

START: Final = _request(
    "start",
    "the saga's input",
    Header("ce-sagaid", "saga_id", "the new saga's id"),
    Header("ce-sagadef", "slug", "the name of the definition"),
    Header("ce-sagadefversion", "positive", "its version; missing: the newest", "optional"),
    Header("ce-sagatags", "tags", "the saga's tags, separated by commas", "optional"),
    _TRACE,
)

SIGNAL: Final = _request(
    "signal",
    "the event's JSON",
    _SAGA,
    Header("ce-sagasignal", "name", "the event's name"),
    Header("ce-sagawait", "step", "the step that waits; set by coordinators that tell of an event", "optional"),
)
CANCEL: Final = _request("cancel", "a reason", _SAGA)
WATCH: Final = _request("watch", "any JSON; `{}` is sent", _SAGA)
OPERATE: Final = _request(
    "operate",
    "the operation, who asks for it, and why",
    _SAGA,
    Header("ce-sagaexpectedversion", "whole", "refused if the saga is at another version by now", "optional"),
)
DEFINE: Final = _request("define", "the definition's document")
_EVENT: Final = (
    Header("ce-sagaevent", "name", "the event's name"),
    Header("ce-sagaeventkey", "business_key", "what it happened to, such as an order's number"),
)
EVENT: Final = _request(
    "event",
    "the event's JSON",
    *_EVENT,
    Header("ce-sagakeepms", "whole", "for how long it is kept for later waits (ms); missing: a day", "optional"),
)

SUBSCRIBE: Final = Kind(
    "subscribe",
    "countermand.subscribe",
    "coordinator",
    "coordinator",
    (
        *_frame(id_="`<saga id>/<step>/subscribe`", source="`/coordinator`"),
        _SAGA,
        Header("ce-sagastep", "step", "the step that waits"),
        *_EVENT,
        Header("ce-sagauntil", "whole", "the moment until which it waits (Unix time, ms)"),
    ),
    "any JSON; `{}` is sent",
)

RELEASE: Final = Kind(
    "release",
    "countermand.release",
    "coordinator",
    "coordinator",
    (
        *_frame(id_="`<saga id>/<step>/release`", source="`/coordinator`"),
        _SAGA,
        Header("ce-sagastep", "step", "the step that asked for the lock"),
        Header("ce-sagacommandid", "text", "that of the command that asked for it"),
    ),
    "which lock",
)

ANSWER: Final = Kind(
    "answer",
    "countermand.answer",
    "coordinator",
    "client",
    (
        *_frame(id_="the request's id; `<saga id>/outcome` for an outcome", source="`/coordinator`"),
        Header("ce-sagaid", "saga_id", "the saga, if the answer is about one", "optional"),
    ),
    "the field `answer` says which answer it is",
)

LIFECYCLE: Final = Kind(
    "lifecycle",
    "countermand.lifecycle.",
    "coordinator",
    "anyone",
    (
        *_frame(
            id_="the same whenever the same happening is told again", source="`/sagas/<definition>`", id_need="required"
        ),
        Header("ce-subject", "saga_id", "the saga", "sent"),
        Header("ce-time", "moment", "when it happened: RFC 3339, UTC, milliseconds"),
        _SAGA,
        Header("ce-sagadef", "label", "the definition that the saga runs on, `name@version`"),
        Header("ce-sagaversion", "whole", "the saga's version since"),
    ),
    "what there is to say of the happening",
)

PARENT_ENDED: Final = Kind(
    "parent_ended",
    "countermand.parent_ended",
    "coordinator",
    "coordinator",
    (
        *_frame(id_="`<parent's id>/<step>/parent-ended`", source="`/coordinator`"),
        Header("ce-sagaid", "saga_id", "the child saga"),
        Header("ce-sagaparent", "saga_id", "the saga that started it, which has ended"),
        Header("ce-sagastep", "step", "the parent's step that started it"),
    ),
    "any JSON; `{}` is sent",
)

KINDS: Final = (
    COMMAND,
    REPLY,
    ANNOUNCE,
    START,
    SIGNAL,
    EVENT,
    CANCEL,
    WATCH,
    OPERATE,
    DEFINE,
    ANSWER,
    LIFECYCLE,
    SUBSCRIBE,
    RELEASE,
    PARENT_ENDED,
)
