"""What a dead letter tells: when and why it died, where it came from, which saga it names.

A letter has one of two witnesses. The broker's own is `x-death`: a consumer refused the message, or it was delivered as
often as is allowed. Ours is in headers of `countermand.wire.dead`: a message that could not be read. The broker is
believed first, because a sender can write our headers too.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from countermand.coordinator.intake import incoming
from countermand.schemas.envelope import saga_id_of, timestamp
from countermand.schemas.identifiers import INBOX_SHARDS
from countermand.schemas.moments import MOMENT_MAX_MS
from countermand.schemas.topology import Topology
from countermand.wire import AT_HEADER, DEAD_HEADERS, QUEUE_HEADER, REASON_HEADER, UNREADABLE_HEADER, Delivery, Message

REDRIVEN_BY: Final = "countermand-redriven-by"
REDRIVEN_REASON: Final = "countermand-redriven-reason"
REDRIVEN_LETTER: Final = "countermand-redriven-letter"

# Changes with every look at a letter, so it is no part of its id.
_VOLATILE: Final = ("x-delivery-count", "x-acquired-count")
_ID_BYTES: Final = 6  # 281 million million ids: two of ten thousand letters are alike once in five million queues.
_SHOWN_MAX: Final = 4_000
_VALUE_BYTES: Final = 64  # What the smallest value costs in memory, its place in a table included.

_REASONS: Final = {
    "rejected": "a consumer put it aside: its log says why",
    "delivery_limit": "it was delivered as often as is allowed, and never settled",
    "expired": "it waited longer than it was allowed to",
    "maxlen": "its queue was full",
}


class Letter(msgspec.Struct, frozen=True):
    """One dead letter. What its witness doesn't say is null; `refusal` is why it can't be sent back to `queue`."""

    id: str
    died_ms: int | None
    queue: str | None
    reason: str
    saga_id: str | None
    refusal: str | None
    delivery: Delivery


class LetterFilter(msgspec.Struct, frozen=True):
    """Which letters are meant: those that match all that is given. `reason` and `type` are parts of the text."""

    ids: tuple[str, ...] = ()
    saga_id: str | None = None
    reason: str | None = None
    queue: str | None = None
    type: str | None = None

    @property
    def empty(self) -> bool:
        return self == LetterFilter()

    def matches(self, letter: Letter) -> bool:
        return (
            (not self.ids or letter.id in self.ids)
            and self.saga_id in (None, letter.saga_id)
            and (self.reason or "").lower() in letter.reason.lower()
            and self.queue in (None, letter.queue)
            and (self.type or "") in letter.delivery.type
        )


class LetterReader:
    """Reads letters in their order. Those that are alike to the last byte have ids that end in -2, -3, …"""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._seen: Counter[str] = Counter()

    def read(self, delivery: Delivery) -> Letter:
        digest = _digest(delivery)
        self._seen[digest] += 1
        number = self._seen[digest]
        return _letter(digest if number == 1 else f"{digest}-{number}", delivery, self._topology)


def weight(delivery: Delivery) -> int:
    """About how many bytes of memory a letter takes, headers included: a table of many small values is the heaviest."""
    return len(delivery.body) + _weight(delivery.headers)


def _weight(value: object) -> int:
    if isinstance(value, Mapping):
        return _VALUE_BYTES + sum(_weight(name) + _weight(part) for name, part in value.items())
    if isinstance(value, list):
        return _VALUE_BYTES + sum(map(_weight, value))
    return _VALUE_BYTES + (len(value) if isinstance(value, str | bytes | bytearray) else 0)


def copy_of(letter: Letter, *, actor: str, reason: str) -> Message:
    """A copy for the very queue that the letter died in: nobody else who listens to its exchange gets it twice."""
    delivery = letter.delivery
    headers = {name: value for name, value in _portable(delivery.headers).items() if not _is_witness(name)}
    headers |= {REDRIVEN_BY: actor, REDRIVEN_REASON: reason, REDRIVEN_LETTER: letter.id}
    return Message(
        exchange="",
        routing_key=letter.queue or "",
        body=delivery.body,
        headers=headers,
        content_type=delivery.content_type,
        type=delivery.type,
        correlation_id=delivery.correlation_id,
        reply_to=delivery.reply_to,
        app_id=delivery.app_id or "",
    )


def left_behind(letter: Letter) -> list[str]:
    """The names of headers that a copy can't carry: neither text nor whole numbers."""
    headers = letter.delivery.headers
    return sorted(name for name in headers if name not in _portable(headers) and not _is_witness(name))


def letter_line(letter: Letter) -> dict[str, Any]:
    """One line of a list, ready for JSON."""
    return {
        "id": letter.id,
        "died": None if letter.died_ms is None else timestamp(letter.died_ms),
        "queue": letter.queue,
        "reason": letter.reason,
        "type": letter.delivery.type or None,
        "saga_id": letter.saga_id,
        "bytes": len(letter.delivery.body),
        "refusal": letter.refusal,
    }


def letter_detail(letter: Letter) -> dict[str, Any]:
    """Everything about one letter, ready for JSON; a body that is too long to read is cut, and says so."""
    delivery = letter.delivery
    return {
        **letter_line(letter),
        "properties": {
            name: value
            for name in ("content_type", "type", "correlation_id", "reply_to", "message_id", "app_id", "user_id")
            if (value := getattr(delivery, name))
        },
        "routing_key": delivery.routing_key,
        "redriven_by": _text(delivery.headers.get(REDRIVEN_BY)),
        "headers": {name: _shown(value) for name, value in delivery.headers.items()},
        "body": _body(delivery.body),
        "body_cut": len(delivery.body) > _SHOWN_MAX,
    }


def _letter(letter_id: str, delivery: Delivery, topology: Topology) -> Letter:
    headers = delivery.headers
    queue, died_ms, reason = _of_broker(headers) or _of_ours(headers)
    if UNREADABLE_HEADER in headers:
        reason = f"its headers can't be decoded: {headers[UNREADABLE_HEADER]}"
    return Letter(
        id=letter_id,
        died_ms=died_ms,
        queue=queue,
        reason=reason,
        saga_id=saga_id_of(incoming(delivery)),
        refusal=_refusal(headers, queue, topology),
        delivery=delivery,
    )


def _refusal(headers: Mapping[str, object], queue: str | None, topology: Topology) -> str | None:
    if UNREADABLE_HEADER in headers:
        return "its headers can't be decoded, so no copy of it can be made"
    if queue is None:
        return "it doesn't say which queue it came from"
    inboxes = [topology.inbox_queue(shard) for shard in range(INBOX_SHARDS)]
    # The origin is what a message says of itself: sent on anywhere, it would reach queues that its sender may not.
    if queue not in inboxes and not queue.startswith(topology.participant_queue("")):
        return f"it came from {queue}, which is no queue of ours"
    return None


def _of_broker(headers: Mapping[str, object]) -> tuple[str | None, int | None, str] | None:
    deaths = headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None  # The latest one comes first.
    if not isinstance(last, dict):
        return None
    moment = last.get("time")
    died_ms = int(moment.timestamp() * 1000) if isinstance(moment, datetime) else None
    word = str(last.get("reason"))
    return _text(last.get("queue")), died_ms, f"{word}: {_REASONS.get(word, 'the broker put it aside')}"


def _of_ours(headers: Mapping[str, object]) -> tuple[str | None, int | None, str]:
    died = headers.get(AT_HEADER)
    # Whoever wrote it may have written anything; what is no moment says nothing.
    died_ms = died if isinstance(died, int) and 0 < died <= MOMENT_MAX_MS and not isinstance(died, bool) else None
    reason = _text(headers.get(REASON_HEADER)) or "it doesn't say why"
    return _text(headers.get(QUEUE_HEADER)), died_ms, reason


def _digest(delivery: Delivery) -> str:
    digest = hashlib.blake2b(digest_size=_ID_BYTES)
    kept = sorted((name, repr(value)) for name, value in delivery.headers.items() if name not in _VOLATILE)
    for part in (delivery.message_id, delivery.exchange, delivery.routing_key, repr(kept)):
        digest.update(f"{part}\0".encode("utf-8", "surrogateescape"))
    digest.update(delivery.body)
    return digest.hexdigest()


def _portable(headers: Mapping[str, object]) -> dict[str, str | int]:
    return {
        name: value for name, value in headers.items() if isinstance(value, str | int) and not isinstance(value, bool)
    }


def _is_witness(name: str) -> bool:
    return name in DEAD_HEADERS or name in _VOLATILE or name.startswith(("x-death", "x-first-death", "x-last-death"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _shown(value: object) -> Any:
    if isinstance(value, dict):
        return {str(name): _shown(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shown(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _body(body: bytes) -> Any:
    if len(body) > _SHOWN_MAX:
        return body[:_SHOWN_MAX].decode(errors="replace")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return body.decode(errors="replace")
