"""A queue: what waits in it, what is out with consumers, and who is served next.

The rules:
- A message keeps its place: what comes back goes before everything younger.
- Consumers take turns. One that is full, or whose client doesn't read, is passed over.
- Messages expire at the head only, as in RabbitMQ.
"""

import asyncio
import heapq
import time
from collections import deque
from typing import TYPE_CHECKING, Literal, Protocol

from countermand.coordinator.dev.amqp.arguments import Arguments
from countermand.coordinator.dev.amqp.content import Message

if TYPE_CHECKING:
    from countermand.coordinator.dev.amqp.consuming import Consumer

Reason = Literal["rejected", "expired", "maxlen", "delivery_limit"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Item:
    """One message in one queue."""

    __slots__ = ("deliveries", "durable", "expires_at_ms", "message", "number")

    def __init__(self, number: int, message: Message, *, durable: bool, expires_at_ms: int | None) -> None:
        self.number = number  # Its place: lower is older.
        self.message = message
        self.durable = durable
        self.expires_at_ms = expires_at_ms
        self.deliveries = 0


class Surroundings(Protocol):
    """What a queue needs of the host it lives in."""

    def queue_changed(self, queue: "Queue") -> None: ...

    def item_added(self, queue: "Queue", item: Item) -> None: ...

    def item_delivered(self, queue: "Queue", item: Item) -> None: ...

    def item_removed(self, queue: "Queue", item: Item) -> None: ...

    def dead_letter(self, queue: "Queue", item: Item, reason: Reason) -> None: ...

    def queue_unused(self, queue: "Queue") -> None: ...


class Queue:
    """Ordered by number: returned items first, then the ones that were never out."""

    def __init__(
        self,
        name: str,
        arguments: Arguments,
        surroundings: Surroundings,
        *,
        durable: bool,
        auto_delete: bool = False,
        owner: object = None,
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner  # The connection to which an exclusive queue belongs.
        self.deleted = False
        self.items: dict[int, Item] = {}  # All of them, waiting or out, oldest first.
        self.bytes = 0
        self.next_number = 1
        self.consumers: deque[Consumer] = deque()
        self.exclusively_consumed = False
        self._surroundings = surroundings
        self._fresh: deque[Item] = deque()
        self._returned: list[tuple[int, Item]] = []
        self._expiry: asyncio.TimerHandle | None = None
        self._disuse: asyncio.TimerHandle | None = None
        self.touch()

    @property
    def survives(self) -> bool:
        """Whether it outlives the process. An exclusive queue doesn't: its connection can't."""
        return self.durable and self.owner is None

    @property
    def ready(self) -> int:
        """How many wait."""
        return len(self._fresh) + len(self._returned)

    def refuses(self) -> bool:
        """Whether `x-overflow: reject-publish` says no to one more."""
        limit, overflow = self.arguments.max_length, self.arguments.overflow
        return limit is not None and overflow == "reject-publish" and self.ready >= limit

    def add(self, message: Message) -> None:
        """Take a message; the oldest gives way where the queue is full."""
        ttls = [ttl for ttl in (message.expiration_ms, self.arguments.message_ttl_ms) if ttl is not None]
        item = Item(
            self.next_number,
            message,
            durable=self.survives and (message.persistent or self.arguments.quorum),
            expires_at_ms=now_ms() + min(ttls) if ttls else None,
        )
        self.restore(item)
        self._surroundings.item_added(self, item)
        if self.arguments.max_length is not None:
            # At once, so that what a consumer could have does not count.
            self.dispatch()
            while self.ready > self.arguments.max_length:
                self._bury(self._pop(), "maxlen")
        elif item.expires_at_ms is not None:
            self.dispatch()
        else:
            self._surroundings.queue_changed(self)

    def restore(self, item: Item) -> None:
        """Put an item at the end."""
        self.next_number = item.number + 1
        self.items[item.number] = item
        self.bytes += item.message.size
        self._fresh.append(item)

    def dispatch(self) -> None:
        """Hand out whatever waits to whoever can take it."""
        while self.ready:
            self._expire()
            consumer = self._next_consumer() if self.ready else None
            if consumer is None:
                break
            consumer.take(self._pop())
        self._watch_expiry()

    def take(self) -> Item | None:
        """The head, for basic.get."""
        self.touch()
        self._expire()
        return self._pop() if self.ready else None

    def hand_out(self, item: Item, *, settled: bool) -> None:
        """Note that it is on its way to a client."""
        item.deliveries += 1
        if settled:
            self.settle(item)
        elif item.durable:
            self._surroundings.item_delivered(self, item)

    def settle(self, item: Item) -> None:
        """It is done with."""
        if self.items.pop(item.number, None) is not None:
            self.bytes -= item.message.size
            self._surroundings.item_removed(self, item)

    def give_back(self, item: Item) -> None:
        """It waits again in its old place, unless it was delivered too often."""
        if item.number not in self.items:
            return  # The queue was deleted meanwhile.
        limit = self.arguments.delivery_limit
        if limit is not None and item.deliveries > limit:
            self._bury(item, "delivery_limit")
            return
        heapq.heappush(self._returned, (item.number, item))
        self._surroundings.queue_changed(self)

    def reject(self, item: Item) -> None:
        """Nobody wants it."""
        if item.number in self.items:
            self._bury(item, "rejected")

    def purge(self) -> int:
        """Drop what waits; its number."""
        count = 0
        while self.ready:
            self.settle(self._pop())
            count += 1
        return count

    def drop(self) -> None:
        """The end of the queue and of all that is in it, also of what is out."""
        self.deleted = True
        self.stop_timers()
        self._fresh.clear()
        self._returned.clear()
        for item in list(self.items.values()):
            self.settle(item)

    def stop_timers(self) -> None:
        for timer in (self._expiry, self._disuse):
            if timer is not None:
                timer.cancel()

    def add_consumer(self, consumer: "Consumer") -> None:
        self.consumers.append(consumer)
        self.touch()
        self._surroundings.queue_changed(self)

    def remove_consumer(self, consumer: "Consumer") -> None:
        self.consumers.remove(consumer)
        self.exclusively_consumed = False
        self.touch()
        if self.auto_delete and not self.consumers:
            self._surroundings.queue_unused(self)

    def touch(self) -> None:
        """It is in use: `x-expires` counts from now."""
        if self._disuse is not None:
            self._disuse.cancel()
            self._disuse = None
        if self.arguments.expires_ms is not None and not self.consumers and not self.deleted:
            loop = asyncio.get_running_loop()
            seconds = self.arguments.expires_ms / 1_000
            self._disuse = loop.call_later(seconds, self._surroundings.queue_unused, self)

    def _head(self) -> Item:
        return self._returned[0][1] if self._returned else self._fresh[0]

    def _pop(self) -> Item:
        return heapq.heappop(self._returned)[1] if self._returned else self._fresh.popleft()

    def _next_consumer(self) -> "Consumer | None":
        for _ in range(len(self.consumers)):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if consumer.ready:
                return consumer
        return None

    def _bury(self, item: Item, reason: Reason) -> None:
        self._surroundings.dead_letter(self, item, reason)

    def _expire(self) -> None:
        now = now_ms()
        while self.ready:
            expires_at_ms = self._head().expires_at_ms
            if expires_at_ms is None or expires_at_ms >= now:
                return
            self._bury(self._pop(), "expired")

    def _watch_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self.ready and not self.deleted:
            expires_at_ms = self._head().expires_at_ms
            if expires_at_ms is not None:
                seconds = max(expires_at_ms + 1 - now_ms(), 0) / 1_000
                self._expiry = asyncio.get_running_loop().call_later(seconds, self._surroundings.queue_changed, self)
