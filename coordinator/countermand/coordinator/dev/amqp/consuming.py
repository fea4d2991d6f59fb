"""What one channel takes out of queues, and what it still has to answer for."""

from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from countermand.coordinator.dev.amqp.content import Message, Properties
from countermand.coordinator.dev.amqp.faults import not_allowed, not_implemented, precondition_failed, refused
from countermand.coordinator.dev.amqp.queues import Item, Queue
from countermand.coordinator.dev.amqp.tables import encoded_long
from countermand.coordinator.dev.amqp.writing import deliver

if TYPE_CHECKING:
    from countermand.coordinator.dev.amqp.channel import Channel

DELIVERY_COUNT = b"x-delivery-count"


class Consumer:
    """One subscription."""

    __slots__ = ("_consuming", "exclusive", "no_ack", "prefetch", "queue", "tag", "unsettled")

    def __init__(
        self, consuming: "Consuming", queue: Queue, tag: str, *, no_ack: bool, exclusive: bool, prefetch: int
    ) -> None:
        self._consuming = consuming
        self.queue = queue
        self.tag = tag
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.prefetch = 0 if no_ack else prefetch
        self.unsettled = 0

    @property
    def ready(self) -> bool:
        """Whether it can take one more."""
        return (not self.prefetch or self.unsettled < self.prefetch) and self._consuming.has_room(self)

    def take(self, item: Item) -> None:
        self._consuming.deliver(self, item)

    def cancelled_by_broker(self) -> None:
        self._consuming.cancelled_by_broker(self)


class Outstanding(NamedTuple):
    """A delivery that the client has to settle."""

    queue: Queue
    item: Item
    consumer: Consumer | None


class Consuming:
    """The consumers and the unsettled deliveries of one channel."""

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel
        self.consumers: dict[str, Consumer] = {}
        self.prefetch_each = 0
        self.prefetch_all = 0
        self._outstanding: dict[int, Outstanding] = {}
        self._last_tag = 0
        self._last_name = 0

    def has_room(self, consumer: Consumer) -> bool:
        if self.prefetch_all and not consumer.no_ack and len(self._outstanding) >= self.prefetch_all:
            return False
        return self._channel.connection.takes_deliveries()

    def consume(self, queue: Queue, tag: str, *, no_ack: bool, exclusive: bool) -> str:
        """Subscribe; the tag. Raises 403 for exclusive use, 406, 530 for a tag in use and 540."""
        if tag in self.consumers:
            raise not_allowed(f"attempt to reuse consumer tag '{tag}'")
        if queue.exclusively_consumed or (exclusive and queue.consumers):
            raise refused(f"queue '{queue.name}' in vhost '/' in exclusive use")
        if len(self.consumers) >= self._channel.limits.consumers_per_channel_max:
            raise precondition_failed(f"a channel has at most {len(self.consumers)} consumers")
        if self.prefetch_all and queue.arguments.quorum:
            raise not_implemented(f"a global prefetch on the quorum queue '{queue.name}', as in RabbitMQ,")
        tag = tag or self._new_tag()
        consumer = Consumer(self, queue, tag, no_ack=no_ack, exclusive=exclusive, prefetch=self.prefetch_each)
        self.consumers[tag] = consumer
        queue.exclusively_consumed = exclusive
        queue.add_consumer(consumer)
        return tag

    def _new_tag(self) -> str:
        while True:
            self._last_name += 1
            tag = f"amq.ctag-{self._channel.number}-{self._last_name}"
            if tag not in self.consumers:
                return tag

    def cancel(self, tag: str) -> None:
        """What was delivered stays with the channel."""
        consumer = self.consumers.pop(tag, None)
        if consumer is not None:
            consumer.queue.remove_consumer(consumer)

    def cancelled_by_broker(self, consumer: Consumer) -> None:
        del self.consumers[consumer.tag]
        self._channel.announce_cancel(consumer.tag)

    def limit_all(self, prefetch: int) -> None:
        """The prefetch of the whole channel; more room is used at once."""
        self.prefetch_all = prefetch
        self.wake()

    def wake(self) -> None:
        """There may be room again."""
        for consumer in self.consumers.values():
            if consumer.queue.ready:
                self._channel.host.queue_changed(consumer.queue)

    def deliver(self, consumer: Consumer, item: Item) -> None:
        message = item.message
        tag = self.hand_out(consumer.queue, item, consumer, no_ack=consumer.no_ack)
        method = deliver(consumer.tag, tag, item.deliveries > 1, message)
        self._channel.write_content(method, header_of(consumer.queue, item), message.body)

    def hand_out(self, queue: Queue, item: Item, consumer: Consumer | None, *, no_ack: bool) -> int:
        """The delivery tag under which it goes out."""
        self._last_tag += 1
        queue.hand_out(item, settled=no_ack)
        if not no_ack:
            self._outstanding[self._last_tag] = Outstanding(queue, item, consumer)
            if consumer is not None:
                consumer.unsettled += 1
        return self._last_tag

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        """Raises 406 for a tag that isn't out."""
        for each in self._take(tag, multiple=multiple):
            each.queue.settle(each.item)

    def reject(self, tag: int, *, multiple: bool, requeue: bool) -> None:
        """Raises 406 for a tag that isn't out."""
        for each in self._take(tag, multiple=multiple):
            if requeue:
                each.queue.give_back(each.item)
            else:
                each.queue.reject(each.item)

    def recover(self) -> None:
        """Everything unsettled waits again."""
        outstanding, self._outstanding = self._outstanding, {}
        for each in outstanding.values():
            self._release(each)
            each.queue.give_back(each.item)

    def close(self) -> None:
        """The end of the channel."""
        self.recover()
        for tag in list(self.consumers):
            self.cancel(tag)

    def _take(self, tag: int, *, multiple: bool) -> list[Outstanding]:
        if tag == 0 and multiple:
            tags = list(self._outstanding)
        elif tag not in self._outstanding:
            raise precondition_failed(f"unknown delivery tag {tag}")
        elif not multiple:
            tags = [tag]
        else:
            # Oldest first, for that is the order in which they went out.
            tags = list(takewhile(lambda each: each <= tag, self._outstanding))
        taken = [self._outstanding.pop(each) for each in tags]
        for outstanding in taken:
            self._release(outstanding)
        if self.prefetch_all:
            self.wake()
        return taken

    def _release(self, outstanding: Outstanding) -> None:
        consumer = outstanding.consumer
        if consumer is not None:
            consumer.unsettled -= 1
            if consumer.queue.ready:
                self._channel.host.queue_changed(consumer.queue)


def header_of(queue: Queue, item: Item) -> bytes:
    """The content header under which an item that was just handed out travels."""
    message = item.message
    if item.deliveries < 2 or not queue.arguments.quorum:
        return message.header()
    properties = Properties(message.properties)
    properties.set(DELIVERY_COUNT, encoded_long(item.deliveries - 1))
    return Message(
        message.exchange,
        message.routing_key,
        properties.joined(),
        message.body,
        persistent=message.persistent,
        expiration_ms=None,
    ).header()
