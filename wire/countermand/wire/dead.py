"""The last word on a message that nobody can read: a copy for the dead-letter queue that says why."""

import time
from typing import Final

from countermand.wire.message import Delivery, Message

REASON_HEADER: Final = "countermand-dead-reason"
# Where it was read, and when it was given up (milliseconds since 1970): the broker notes that on its own letters only.
QUEUE_HEADER: Final = "countermand-dead-queue"
AT_HEADER: Final = "countermand-dead-at"
DEAD_HEADERS: Final = (REASON_HEADER, QUEUE_HEADER, AT_HEADER)
REASON_MAX: Final = 1_000  # It quotes what a sender wrote.


def dead_copy(delivery: Delivery, *, exchange: str, reason: str) -> Message:
    """A copy for the dead-letter exchange, with the reason in a header; publish it, then acknowledge the delivery.

    Headers that are neither text nor whole numbers are left behind: they may be what is wrong with it.
    """
    headers: dict[str, str | int] = {
        name: value
        for name, value in delivery.headers.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }
    headers[REASON_HEADER] = reason[:REASON_MAX]
    headers[QUEUE_HEADER] = delivery.queue
    headers[AT_HEADER] = time.time_ns() // 1_000_000
    return Message(
        exchange=exchange,
        routing_key=delivery.routing_key,
        body=delivery.body,
        headers=headers,
        content_type=delivery.content_type or "application/octet-stream",
        type=delivery.type or "",
        correlation_id=delivery.correlation_id,
        reply_to=delivery.reply_to,
    )
