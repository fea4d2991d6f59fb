"""What the journal says, and how it becomes queues again.

Each record is one change. Deliveries and removals of a round are gathered into one record per queue and written last:
a crash within the write costs duplicates, never a message.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

import msgspec

from countermand.coordinator.dev.amqp.arguments import Arguments
from countermand.coordinator.dev.amqp.content import Message
from countermand.coordinator.dev.amqp.exchanges import Exchange
from countermand.coordinator.dev.amqp.journal import Journal
from countermand.coordinator.dev.amqp.limits import Limits
from countermand.coordinator.dev.amqp.queues import Item, Queue


class ExchangeDeclared(msgspec.Struct, tag="exchange", array_like=True):
    name: str
    exchange_type: str
    auto_delete: bool
    internal: bool


class ExchangeDeleted(msgspec.Struct, tag="exchange deleted", array_like=True):
    name: str


class QueueDeclared(msgspec.Struct, tag="queue", array_like=True):
    name: str
    auto_delete: bool
    arguments: Arguments
    next_number: int


class QueueDeleted(msgspec.Struct, tag="queue deleted", array_like=True):
    name: str


class Bound(msgspec.Struct, tag="bound", array_like=True):
    exchange: str
    queue: str
    routing_key: str


class Unbound(msgspec.Struct, tag="unbound", array_like=True):
    exchange: str
    queue: str
    routing_key: str


class Added(msgspec.Struct, tag="added", array_like=True):
    queue: str
    number: int
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    persistent: bool
    expires_at_ms: int | None
    expiration_ms: int | None
    deliveries: int = 0


class Delivered(msgspec.Struct, tag="delivered", array_like=True):
    queue: str
    numbers: list[int]


class Removed(msgspec.Struct, tag="removed", array_like=True):
    queue: str
    numbers: list[int]


Record = (
    ExchangeDeclared | ExchangeDeleted | QueueDeclared | QueueDeleted | Bound | Unbound | Added | Delivered | Removed
)
_encoder = msgspec.msgpack.Encoder()
decode_record = msgspec.msgpack.Decoder(Record).decode
_Gathered = Literal["delivered", "removed"]


class Records:
    """Turns changes into records. Without a journal nothing is remembered, and that is all the difference."""

    def __init__(self, journal: Journal | None, limits: Limits) -> None:
        self._journal = journal
        self._limits = limits
        self._delivered: defaultdict[str, list[int]] = defaultdict(list)
        self._removed: defaultdict[str, list[int]] = defaultdict(list)

    def write(self, record: Record) -> None:
        if self._journal is not None:
            self._journal.append(_encoder.encode(record))

    def added(self, queue: Queue, item: Item) -> None:
        if item.durable and self._journal is not None:
            self.write(_added(queue, item))

    def delivered(self, queue: Queue, item: Item) -> None:
        if item.durable and self._journal is not None:
            self._delivered[queue.name].append(item.number)

    def removed(self, queue: Queue, item: Item) -> None:
        if item.durable and self._journal is not None and not queue.deleted:
            self._removed[queue.name].append(item.number)

    def queue_deleted(self, queue: Queue) -> None:
        """Its deletion covers what happened to its messages; a later queue of that name must not suffer it."""
        self._delivered.pop(queue.name, None)
        self._removed.pop(queue.name, None)
        self.write(QueueDeleted(queue.name))

    def flush(self) -> None:
        """Write everything to the file. Raises OSError."""
        if self._journal is None:
            return
        for name, numbers in self._delivered.items():
            self.write(Delivered(name, numbers))
        for name, numbers in self._removed.items():
            self.write(Removed(name, numbers))
        self._delivered.clear()
        self._removed.clear()
        self._journal.flush()

    def wants_compacting(self, alive_bytes: int) -> bool:
        """Whether most of the file is dead."""
        if self._journal is None or self._journal.bytes < self._limits.journal_compact_bytes_min:
            return False
        return self._journal.bytes > alive_bytes * self._limits.journal_garbage_factor

    def compact(self, exchanges: dict[str, Exchange], queues: dict[str, Queue]) -> None:
        """Replace the file by what is alive. Raises OSError."""
        if self._journal is not None:
            self._journal.rewrite(_encoder.encode(record) for record in everything(exchanges, queues))

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()


def everything(exchanges: dict[str, Exchange], queues: dict[str, Queue]) -> Iterator[Record]:
    """The records that make the durable part of this state."""
    for exchange in exchanges.values():
        if exchange.durable:
            yield ExchangeDeclared(exchange.name, exchange.type, exchange.auto_delete, exchange.internal)
    durable = [queue for queue in queues.values() if queue.survives]
    for queue in durable:
        yield QueueDeclared(queue.name, queue.auto_delete, queue.arguments, queue.next_number)
    for exchange in exchanges.values():
        if exchange.durable:
            yield from (Bound(exchange.name, queue.name, key) for key, queue in exchange.bindings() if queue.survives)
    for queue in durable:
        yield from (_added(queue, item) for item in queue.items.values() if item.durable)


def _added(queue: Queue, item: Item) -> Added:
    message = item.message
    return Added(
        queue=queue.name,
        number=item.number,
        exchange=message.exchange,
        routing_key=message.routing_key,
        properties=message.properties,
        body=message.body,
        persistent=message.persistent,
        expires_at_ms=item.expires_at_ms,
        expiration_ms=message.expiration_ms,
        deliveries=item.deliveries,
    )


def item_of(record: Added) -> Item:
    message = Message(
        record.exchange,
        record.routing_key,
        record.properties,
        record.body,
        persistent=record.persistent,
        expiration_ms=record.expiration_ms,
    )
    item = Item(record.number, message, durable=True, expires_at_ms=record.expires_at_ms)
    item.deliveries = record.deliveries
    return item
