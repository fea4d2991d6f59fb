"""The one virtual host: its exchanges and queues, and the way of a message through them."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Literal

import structlog

from countermand.coordinator.dev.amqp.content import Message
from countermand.coordinator.dev.amqp.dead_letters import buried, runs_in_circles
from countermand.coordinator.dev.amqp.exchanges import TYPES, Exchange
from countermand.coordinator.dev.amqp.faults import locked, not_found, printable, refused
from countermand.coordinator.dev.amqp.limits import Limits
from countermand.coordinator.dev.amqp.queues import Item, Queue, Reason, now_ms
from countermand.coordinator.dev.amqp.records import (
    Bound,
    ExchangeDeclared,
    ExchangeDeleted,
    QueueDeclared,
    Records,
    Unbound,
)

log = structlog.get_logger("countermand.dev.amqp")

Outcome = Literal["routed", "unroutable", "refused"]

DEAD_LETTER_DROPPED = "dead_letter_dropped"


class Host:
    """Holds everything that clients declared, within the limits."""

    def __init__(self, limits: Limits, records: Records, queue_changed: Callable[[Queue], None]) -> None:
        self.limits = limits
        self.records = records
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        self.bindings = 0
        self.messages = 0
        self.bytes = 0  # Of everything in queues, and of bodies that are still coming in.
        self._queue_changed = queue_changed
        self._dead: deque[tuple[Queue, Item, Reason]] = deque()
        self._burying = False
        for type_ in TYPES:
            name = f"amq.{type_}"
            self.exchanges[name] = Exchange(name, type_, durable=True, auto_delete=False, internal=False)

    # What publishers do.

    def publish(self, message: Message) -> Outcome:
        """Put a message into every queue that its exchange names. Raises 404 and 403."""
        queues = self.route(message)
        if not queues:
            return "unroutable"
        if not self._has_room(queues, message.size):
            return "refused"
        outcome: Outcome = "routed"
        for queue in queues:
            if queue.refuses():
                outcome = "refused"
            else:
                queue.add(message)
        return outcome

    def route(self, message: Message) -> Collection[Queue]:
        if message.exchange == "":
            queue = self.queues.get(message.routing_key)
            return () if queue is None else (queue,)
        exchange = self.exchange(message.exchange)
        if exchange.internal:
            raise refused(f"cannot publish to internal exchange '{exchange.name}' in vhost '/'")
        return tuple(exchange.route(message.routing_key))

    def _has_room(self, queues: Iterable[Queue], size: int) -> bool:
        limits = self.limits
        count = 0
        for queue in queues:
            count += 1
            if queue.bytes + size > limits.queue_bytes_max:
                return False
        return self.bytes + count * size <= limits.bytes_max

    # What queues tell (`queues.Surroundings`).

    def queue_changed(self, queue: Queue) -> None:
        self._queue_changed(queue)

    def item_added(self, queue: Queue, item: Item) -> None:
        self.messages += 1
        self.bytes += item.message.size
        self.records.added(queue, item)

    def item_delivered(self, queue: Queue, item: Item) -> None:
        self.records.delivered(queue, item)

    def item_removed(self, queue: Queue, item: Item) -> None:
        self.messages -= 1
        self.bytes -= item.message.size
        self.records.removed(queue, item)

    def queue_unused(self, queue: Queue) -> None:
        if not queue.deleted:
            self.delete_queue(queue)

    def dead_letter(self, queue: Queue, item: Item, reason: Reason) -> None:
        """Move an item on. One after another: a chain of full queues is longer than Python's stack."""
        self._dead.append((queue, item, reason))
        if self._burying:
            return
        self._burying = True
        try:
            while self._dead:
                self._bury(*self._dead.popleft())
        finally:
            self._burying = False

    def _bury(self, queue: Queue, item: Item, reason: Reason) -> None:
        arguments, message = queue.arguments, item.message
        name = arguments.dead_letter_exchange
        if name is not None and (name == "" or name in self.exchanges):
            key = arguments.dead_letter_routing_key
            dead = buried(
                message,
                queue=queue.name,
                reason=reason,
                exchange=name,
                routing_key=message.routing_key if key is None else key,
                at_ms=now_ms(),
            )
            self._publish_dead(dead)
        queue.settle(item)

    def _publish_dead(self, message: Message) -> None:
        for queue in self._dead_route(message):
            if runs_in_circles(message, queue.name):
                log.warning(DEAD_LETTER_DROPPED, queue=printable(queue.name), reason="it runs in circles")
            elif queue.refuses() or not self._has_room([queue], message.size):
                log.warning(DEAD_LETTER_DROPPED, queue=printable(queue.name), reason="the queue is full")
            else:
                queue.add(message)

    def _dead_route(self, message: Message) -> Collection[Queue]:
        exchange = self.exchanges.get(message.exchange)
        if exchange is not None:  # An internal one is good enough for the broker's own messages.
            return tuple(exchange.route(message.routing_key))
        queue = self.queues.get(message.routing_key)
        return () if queue is None else (queue,)

    # What exists.

    def exchange(self, name: str) -> Exchange:
        """Raises 404."""
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise not_found("exchange", name)
        return exchange

    def queue(self, name: str, owner: object) -> Queue:
        """Raises 404, and 405 for the exclusive queue of another connection."""
        queue = self.queues.get(name)
        if queue is None:
            raise not_found("queue", name)
        if queue.owner is not None and queue.owner is not owner:
            raise locked(name)
        return queue

    def add_exchange(self, exchange: Exchange) -> None:
        self.exchanges[exchange.name] = exchange
        if exchange.durable:
            record = ExchangeDeclared(exchange.name, exchange.type, exchange.auto_delete, exchange.internal)
            self.records.write(record)

    def delete_exchange(self, exchange: Exchange) -> None:
        del self.exchanges[exchange.name]
        self.bindings -= len(list(exchange.bindings()))
        if exchange.durable:
            self.records.write(ExchangeDeleted(exchange.name))

    def add_queue(self, queue: Queue) -> None:
        self.queues[queue.name] = queue
        if queue.survives:
            self.records.write(QueueDeclared(queue.name, queue.auto_delete, queue.arguments, queue.next_number))

    def delete_queue(self, queue: Queue) -> int:
        """Delete it with its bindings; its consumers are told. The number of messages that waited."""
        waiting = queue.ready
        del self.queues[queue.name]
        queue.drop()
        if queue.survives:
            self.records.queue_deleted(queue)
        for exchange in list(self.exchanges.values()):
            self.bindings -= exchange.forget(queue)
            self._after_unbinding(exchange)
        for consumer in list(queue.consumers):
            consumer.cancelled_by_broker()
        queue.consumers.clear()
        return waiting

    def bind(self, exchange: Exchange, queue: Queue, routing_key: str) -> None:
        if exchange.bind(queue, routing_key):
            self.bindings += 1
            if exchange.durable and queue.survives:
                self.records.write(Bound(exchange.name, queue.name, routing_key))

    def unbind(self, exchange: Exchange, queue: Queue, routing_key: str) -> None:
        if exchange.unbind(queue, routing_key):
            self.bindings -= 1
            if exchange.durable and queue.survives:
                self.records.write(Unbound(exchange.name, queue.name, routing_key))
            self._after_unbinding(exchange)

    def _after_unbinding(self, exchange: Exchange) -> None:
        if exchange.auto_delete and exchange.was_bound and not exchange.bound:
            self.delete_exchange(exchange)
