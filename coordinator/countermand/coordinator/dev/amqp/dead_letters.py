"""What becomes of a message that its queue can't keep: the header that says so, and the end of circles.

The header's fields are those of RabbitMQ's `x-death` (its documentation of dead-letter exchanges).
"""

import msgspec

from countermand.coordinator.dev.amqp.content import Message, Properties
from countermand.coordinator.dev.amqp.faults import Fault
from countermand.coordinator.dev.amqp.limits import DEATHS_MAX
from countermand.coordinator.dev.amqp.tables import (
    Entries,
    decoded,
    encoded_long,
    encoded_string,
    encoded_strings,
    encoded_tables,
    encoded_timestamp,
)

DEATHS = b"x-death"
FIRST = {
    b"x-first-death-reason": "reason",
    b"x-first-death-queue": "queue",
    b"x-first-death-exchange": "exchange",
}


class Death(msgspec.Struct, rename="kebab"):
    """How often, and where from, a message went one way."""

    queue: str
    reason: str
    exchange: str
    routing_keys: list[str]
    count: int
    time: int
    original_expiration: str | None = None

    def entries(self) -> Entries:
        fields = [
            (b"count", encoded_long(self.count)),
            (b"reason", encoded_string(self.reason)),
            (b"queue", encoded_string(self.queue)),
            (b"time", encoded_timestamp(self.time)),
            (b"exchange", encoded_string(self.exchange)),
            (b"routing-keys", encoded_strings(self.routing_keys)),
        ]
        if self.original_expiration is not None:
            fields.append((b"original-expiration", encoded_string(self.original_expiration)))
        return fields


def buried(message: Message, *, queue: str, reason: str, exchange: str, routing_key: str, at_ms: int) -> Message:
    """The message on its way to the dead-letter exchange, with another line in its `x-death`."""
    properties = Properties(message.properties)
    expiration = properties.take_expiration()
    known = _deaths(properties)
    same = next((death for death in known if (death.queue, death.reason) == (queue, reason)), None)
    death = same or Death(
        queue=queue,
        reason=reason,
        exchange=message.exchange,
        routing_keys=[message.routing_key],
        count=0,
        time=at_ms // 1_000,
        original_expiration=expiration,
    )
    death.count = min(death.count + 1, 2**63 - 1)
    deaths = [death, *(other for other in known if other is not same)][:DEATHS_MAX]
    for name, field in FIRST.items():
        if properties.header(name) is None:
            properties.set(name, encoded_string(getattr(death, field)))
    properties.set(DEATHS, encoded_tables([each.entries() for each in deaths]), first=True)
    return Message(
        exchange,
        routing_key,
        properties.joined(),
        message.body,
        persistent=message.persistent,
        expiration_ms=None,
    )


def runs_in_circles(message: Message, queue: str) -> bool:
    """Whether a dead letter comes back to a queue on a way on which no consumer ever rejected it."""
    way: list[str] = []
    for death in _deaths(Properties(message.properties)):
        way.append(death.reason)
        if death.queue == queue:
            return "rejected" not in way
    return False


def _deaths(properties: Properties) -> list[Death]:
    """What a message says of its deaths, as far as it makes sense: a client may have written anything there."""
    value = properties.header(DEATHS)
    if value is None:
        return []
    try:
        array = decoded(value)
    except Fault:
        return []  # Nested or crowded beyond everything that we write.
    deaths = []
    for table in array if isinstance(array, list) else []:
        try:
            deaths.append(msgspec.convert(table, Death))
        except msgspec.ValidationError:
            continue
    return deaths[:DEATHS_MAX]
