"""One channel: contents are put together, publishes confirmed, methods carried out.

Two tables say which methods exist here. What is in neither is refused: 540 where the protocol has it and we don't,
503 where it isn't a client's to say.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pamqp.base import Frame
from pamqp.commands import Basic, Confirm, Tx
from pamqp.commands import Channel as ChannelMethods
from pamqp.commands import Exchange as ExchangeMethods
from pamqp.commands import Queue as QueueMethods

from countermand.coordinator.dev.amqp import declaring
from countermand.coordinator.dev.amqp.confirming import Confirming
from countermand.coordinator.dev.amqp.consuming import Consuming, header_of
from countermand.coordinator.dev.amqp.content import Header, Message, read_header
from countermand.coordinator.dev.amqp.faults import (
    Code,
    ConnectionFault,
    not_found,
    not_implemented,
    precondition_failed,
    refused,
)
from countermand.coordinator.dev.amqp.host import Host
from countermand.coordinator.dev.amqp.limits import Limits
from countermand.coordinator.dev.amqp.queues import Queue
from countermand.coordinator.dev.amqp.reading import PUBLISH_INDEX, Publish, method_index, read_method, read_publish
from countermand.coordinator.dev.amqp.writing import Said, content_frames, method_frame, method_payload, say

if TYPE_CHECKING:
    from countermand.coordinator.dev.amqp.connection import Connection


class Channel:
    """Lives from channel.open to its close; a fault within it is the connection's to answer."""

    def __init__(self, connection: "Connection", number: int, host: Host, limits: Limits) -> None:
        self.connection = connection
        self.number = number
        self.host = host
        self.limits = limits
        self.consuming = Consuming(self)
        self.confirming: Confirming | None = None
        self._last_queue: str | None = None
        self._publish: Publish | None = None  # One whose content is still coming in.
        self._header: Header | None = None
        self._body = bytearray()
        self._held_bytes = 0

    # Frames that come in.

    def take_method(self, payload: bytes) -> None:
        if self._publish is not None:
            raise ConnectionFault(Code.UNEXPECTED_FRAME, "a method where the content of basic.publish was expected")
        if method_index(payload) == PUBLISH_INDEX:
            publish = read_publish(payload)
            if publish.immediate:
                raise not_implemented("basic.publish with immediate=true")
            self._publish = publish
            return
        method = read_method(payload)
        handler = HANDLERS.get(type(method))
        if handler is None:
            if isinstance(method, UNIMPLEMENTED):
                raise not_implemented(method.name)
            raise ConnectionFault(Code.COMMAND_INVALID, f"{method.name} is not for a client to send here")
        answer = handler(self, method)
        if answer is not None and not getattr(method, "nowait", False):
            self.write(answer)

    def take_header(self, payload: bytes) -> None:
        if self._publish is None or self._header is not None:
            raise ConnectionFault(Code.UNEXPECTED_FRAME, "a content header without a method that announces it")
        header = read_header(payload)
        if header.body_size > self.limits.message_bytes_max:
            size, limit = header.body_size, self.limits.message_bytes_max
            raise precondition_failed(f"message size {size} is larger than configured max size {limit}")
        if len(payload) > self.limits.header_bytes_max:
            size, limit = len(payload), self.limits.header_bytes_max
            raise precondition_failed(f"message header of {size} bytes is larger than {limit}")
        if header.user_id is not None and header.user_id != self.connection.user:
            raise precondition_failed(
                f"user_id property set to '{header.user_id}' but authenticated user was '{self.connection.user}'"
            )
        self._hold(len(payload))
        self._header = header
        if header.body_size == 0:
            self._content_complete(b"")

    def take_body(self, payload: bytes) -> None:
        if self._header is None or len(self._body) + len(payload) > self._header.body_size:
            raise ConnectionFault(Code.UNEXPECTED_FRAME, "a content body that was not announced")
        if len(payload) == self._header.body_size:
            self._content_complete(payload)
            return
        self._hold(len(payload))
        self._body += payload  # One piece of memory: frames of one byte each would cost fifty times their size.
        if len(self._body) == self._header.body_size:
            self._content_complete(bytes(self._body))

    def close(self) -> None:
        """The end, for whatever reason: what was delivered and not settled goes back."""
        self._drop_content()
        self.consuming.close()

    # Frames that go out.

    def write(self, method: Said) -> None:
        self.connection.write(method_frame(method, self.number))

    def write_content(self, method: bytes, header: bytes, body: bytes) -> None:
        frames = content_frames(method, header, body, self.number, self.connection.frame_bytes_max)
        self.connection.write(frames)

    def confirms(self) -> bytes:
        """The frames that say what was confirmed since the last time."""
        return b"" if self.confirming is None else self.confirming.frames(self.number)

    def announce_cancel(self, consumer_tag: str) -> None:
        """The broker's own basic.cancel, for clients that know it."""
        if self.connection.can("consumer_cancel_notify"):
            self.write(say(Basic.Cancel, consumer_tag, True))

    # Publishing.

    def _hold(self, size: int) -> None:
        """Count what is here of a message that isn't complete. Raises 506."""
        if self.host.bytes + size > self.limits.bytes_max:
            raise ConnectionFault(Code.RESOURCE_ERROR, "the development broker's memory for messages is full")
        self.host.bytes += size
        self._held_bytes += size

    def _drop_content(self) -> None:
        self.host.bytes -= self._held_bytes
        self._held_bytes = 0
        self._publish, self._header = None, None
        self._body = bytearray()

    def _content_complete(self, body: bytes) -> None:
        publish, header = self._publish, self._header
        self._drop_content()
        if publish is None or header is None:
            raise ConnectionFault(Code.UNEXPECTED_FRAME, "content without a method that announces it")
        message = Message(
            publish.exchange,
            publish.routing_key,
            header.properties,
            body,
            persistent=header.persistent,
            expiration_ms=header.expiration_ms,
        )
        outcome = self.host.publish(message)
        if outcome == "unroutable" and publish.mandatory:
            returned = say(Basic.Return, Code.NO_ROUTE, Code.NO_ROUTE.name, message.exchange, message.routing_key)
            self.write_content(method_payload(returned), message.header(), message.body)
        if self.confirming is not None:
            self.confirming.add(positive=outcome != "refused")
            self.connection.has_confirms(self)
        elif outcome == "refused" and not any(queue.refuses() for queue in self.host.route(message)):
            # Where x-overflow says no to a publisher without confirms, silence is the protocol; our limits speak.
            raise precondition_failed("the development broker is full, and nobody would tell without confirms")

    # Methods.

    def _queue(self, name: str) -> Queue:
        """A queue by its name, or the last one that this channel declared. Raises 404 and 405."""
        if name == "":
            if self._last_queue is None:
                raise not_found("previously declared queue", "")
            name = self._last_queue
        return self.host.queue(name, self.connection)

    def _exchange_declare(self, method: ExchangeMethods.Declare) -> Said:
        declaring.declare_exchange(self.host, method)
        return say(ExchangeMethods.DeclareOk)

    def _exchange_delete(self, method: ExchangeMethods.Delete) -> Said:
        declaring.delete_exchange(self.host, method)
        return say(ExchangeMethods.DeleteOk)

    def _queue_declare(self, method: QueueMethods.Declare) -> Said:
        if method.passive and method.queue == "":
            method.queue = self._queue("").name
        queue = declaring.declare_queue(self.host, method, self.connection)
        self._last_queue = queue.name
        return say(QueueMethods.DeclareOk, queue.name, queue.ready, len(queue.consumers))

    def _queue_bind(self, method: QueueMethods.Bind) -> Said:
        declaring.bind_queue(self.host, self._queue(method.queue), method)
        return say(QueueMethods.BindOk)

    def _queue_unbind(self, method: QueueMethods.Unbind) -> Said:
        declaring.unbind_queue(self.host, self._queue(method.queue), method)
        return say(QueueMethods.UnbindOk)

    def _queue_purge(self, method: QueueMethods.Purge) -> Said:
        return say(QueueMethods.PurgeOk, self._queue(method.queue).purge())

    def _queue_delete(self, method: QueueMethods.Delete) -> Said:
        if method.queue == "":
            method.queue = self._queue("").name
        return say(QueueMethods.DeleteOk, declaring.delete_queue(self.host, method, self.connection))

    def _qos(self, method: Basic.Qos) -> Said:
        if method.prefetch_size:
            raise not_implemented("basic.qos with a prefetch_size")
        if method.global_:
            self.consuming.limit_all(method.prefetch_count)
        else:
            self.consuming.prefetch_each = method.prefetch_count
        return say(Basic.QosOk)

    def _consume(self, method: Basic.Consume) -> Said:
        if method.arguments and any(name.startswith("x-") for name in method.arguments):
            raise not_implemented(f"basic.consume with {', '.join(method.arguments)[:64]}")
        queue = self._queue(method.queue)
        tag = self.consuming.consume(queue, method.consumer_tag, no_ack=method.no_ack, exclusive=method.exclusive)
        return say(Basic.ConsumeOk, tag)

    def _cancel(self, method: Basic.Cancel) -> Said:
        self.consuming.cancel(method.consumer_tag or "")
        return say(Basic.CancelOk, method.consumer_tag)

    def _get(self, method: Basic.Get) -> Said | None:
        queue = self._queue(method.queue)
        if queue.exclusively_consumed:
            raise refused(f"queue '{queue.name}' in vhost '/' in exclusive use")
        item = queue.take()
        if item is None:
            return say(Basic.GetEmpty, "")
        tag = self.consuming.hand_out(queue, item, None, no_ack=method.no_ack)
        message = item.message
        answer = say(Basic.GetOk, tag, item.deliveries > 1, message.exchange, message.routing_key, queue.ready)
        self.write_content(method_payload(answer), header_of(queue, item), message.body)
        return None

    def _ack(self, method: Basic.Ack) -> None:
        self.consuming.acknowledge(method.delivery_tag, multiple=method.multiple)

    def _nack(self, method: Basic.Nack) -> None:
        self.consuming.reject(method.delivery_tag, multiple=method.multiple, requeue=method.requeue)

    def _reject(self, method: Basic.Reject) -> None:
        self.consuming.reject(method.delivery_tag or 0, multiple=False, requeue=method.requeue)

    def _recover(self, method: Basic.Recover) -> Said:
        if not method.requeue:
            raise not_implemented("basic.recover with requeue=false")
        self.consuming.recover()
        return say(Basic.RecoverOk)

    def _select(self, method: Confirm.Select) -> Said:
        if self.confirming is None:
            self.confirming = Confirming()
        return say(Confirm.SelectOk)

    def _flow(self, method: ChannelMethods.Flow) -> Said:
        if not method.active:
            raise not_implemented("channel.flow with active=false")
        return say(ChannelMethods.FlowOk, True)


HANDLERS: dict[type[Frame], Callable[[Channel, Any], Said | None]] = {
    ExchangeMethods.Declare: Channel._exchange_declare,
    ExchangeMethods.Delete: Channel._exchange_delete,
    QueueMethods.Declare: Channel._queue_declare,
    QueueMethods.Bind: Channel._queue_bind,
    QueueMethods.Unbind: Channel._queue_unbind,
    QueueMethods.Purge: Channel._queue_purge,
    QueueMethods.Delete: Channel._queue_delete,
    Basic.Qos: Channel._qos,
    Basic.Consume: Channel._consume,
    Basic.Cancel: Channel._cancel,
    Basic.Get: Channel._get,
    Basic.Ack: Channel._ack,
    Basic.Nack: Channel._nack,
    Basic.Reject: Channel._reject,
    Basic.Recover: Channel._recover,
    Confirm.Select: Channel._select,
    ChannelMethods.Flow: Channel._flow,
}
UNIMPLEMENTED = (ExchangeMethods.Bind, ExchangeMethods.Unbind, Basic.RecoverAsync, Tx.Select, Tx.Commit, Tx.Rollback)
