"""The AMQP driver: supervised connections, batched publishing with grouped confirms, batched consuming.

Shared by coordinator and participants. `publisher` and `consumer` are what others use; both stand on
`connection` (one supervised loop that keeps one `session` alive) and never share a connection, because an
alarm of the broker stops publishers and would stop acknowledgements with them.
"""

from countermand.wire.browsing import UNREADABLE_HEADER, Browser, QueueTaken
from countermand.wire.consumer import Consumer, ConsumerClosed
from countermand.wire.dead import AT_HEADER, DEAD_HEADERS, QUEUE_HEADER, REASON_HEADER, dead_copy
from countermand.wire.inspection import BrokerFacts, Denied, Inspection, NoConnection, QueueFacts, queue_facts
from countermand.wire.message import (
    Confirmed,
    Delivery,
    Message,
    PublishOutcome,
    Refused,
    Returned,
    Unknown,
)
from countermand.wire.publisher import Publisher
from countermand.wire.ready_file import keep_ready_file
from countermand.wire.tasks import end

__all__ = [
    "Publisher",
    "Consumer",
    "ConsumerClosed",
    "Message",
    "Delivery",
    "PublishOutcome",
    "Confirmed",
    "Returned",
    "Refused",
    "Unknown",
    "Inspection",
    "BrokerFacts",
    "QueueFacts",
    "Denied",
    "NoConnection",
    "queue_facts",
    "dead_copy",
    "REASON_HEADER",
    "QUEUE_HEADER",
    "AT_HEADER",
    "DEAD_HEADERS",
    "Browser",
    "QueueTaken",
    "UNREADABLE_HEADER",
    "end",
    "keep_ready_file",
]
