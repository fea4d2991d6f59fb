"""From the journal's records back to exchanges, queues and messages."""

from collections.abc import Iterable

from countermand.coordinator.dev.amqp.exchanges import Exchange
from countermand.coordinator.dev.amqp.host import Host
from countermand.coordinator.dev.amqp.queues import Item, Queue
from countermand.coordinator.dev.amqp.records import (
    Added,
    Bound,
    Delivered,
    ExchangeDeclared,
    ExchangeDeleted,
    QueueDeclared,
    QueueDeleted,
    Record,
    Removed,
    Unbound,
    item_of,
)


class Recovery:
    """What is left when all records are applied, one after another."""

    def __init__(self) -> None:
        self._exchanges: dict[str, ExchangeDeclared] = {}
        self._queues: dict[str, QueueDeclared] = {}
        self._items: dict[str, dict[int, Item]] = {}
        self._bindings: dict[tuple[str, str, str], None] = {}

    def apply(self, record: Record) -> None:
        match record:
            case ExchangeDeclared():
                self._exchanges[record.name] = record
            case ExchangeDeleted():
                self._exchanges.pop(record.name, None)
                self._unbind(exchange=record.name)
            case QueueDeclared():
                self._queues[record.name] = record
                self._items[record.name] = {}
            case QueueDeleted():
                self._queues.pop(record.name, None)
                self._items.pop(record.name, None)
                self._unbind(queue=record.name)
            case Bound():
                self._bindings[record.exchange, record.queue, record.routing_key] = None
            case Unbound():
                self._bindings.pop((record.exchange, record.queue, record.routing_key), None)
            case Added() | Delivered() | Removed():
                self._apply_to(self._items.get(record.queue, {}), record)

    def _apply_to(self, items: dict[int, Item], record: Added | Delivered | Removed) -> None:
        match record:
            case Added():
                items[record.number] = item_of(record)
            case Delivered():
                # Whoever had it is gone. So it counts as returned, and comes again as redelivered.
                for number in record.numbers:
                    if number in items:
                        items[number].deliveries += 1
            case Removed():
                for number in record.numbers:
                    items.pop(number, None)

    def _unbind(self, *, exchange: str | None = None, queue: str | None = None) -> None:
        gone = [each for each in self._bindings if each[0] == exchange or each[1] == queue]
        for each in gone:
            del self._bindings[each]

    def fill(self, host: Host) -> int:
        """Put everything into an empty host; the number of messages."""
        for declared in self._exchanges.values():
            exchange = Exchange(
                declared.name,
                declared.exchange_type,
                durable=True,
                auto_delete=declared.auto_delete,
                internal=declared.internal,
            )
            host.exchanges.setdefault(declared.name, exchange)
        for name, record in self._queues.items():
            host.queues[name] = _filled(record, self._items[name].values(), host)
        for exchange_name, queue_name, routing_key in self._bindings:
            if exchange_name in host.exchanges and queue_name in host.queues:
                host.bindings += host.exchanges[exchange_name].bind(host.queues[queue_name], routing_key)
        return host.messages


def _filled(declared: QueueDeclared, items: Iterable[Item], host: Host) -> Queue:
    queue = Queue(declared.name, declared.arguments, host, durable=True, auto_delete=declared.auto_delete)
    for item in items:
        queue.restore(item)
        host.messages += 1
        host.bytes += item.message.size
    queue.next_number = max(queue.next_number, declared.next_number)
    host.queue_changed(queue)
    return queue
