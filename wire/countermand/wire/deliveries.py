"""From the library's frames to a `Delivery`, at as little cost per message as is sound.

The library starts a task for every delivery and registers it with three stores of futures. What we do with a
delivery is one append, so it is called directly instead, in the library's own reading task and in the order
of the socket. Where the library looks different inside, its own way is left alone.
"""

from collections.abc import Callable, Mapping
from typing import cast

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from countermand.wire.message import Delivery

Receive = Callable[[DeliveredMessage], None]

# What the direct way relies on inside the library.
METHODS_RELIED_ON = ("_on_deliver_frame", "_get_frame", "_read_content")


def deliver_directly(channel: Channel, receivers: Mapping[str, Receive]) -> bool:
    """Hand deliveries straight to the receiver of their consumer tag; says whether the library allows it."""
    if type(channel) is not Channel or not all(callable(getattr(channel, name, None)) for name in METHODS_RELIED_ON):
        return False

    async def on_deliver(frame: Basic.Deliver) -> None:
        header = await channel._get_frame()
        if not isinstance(header, ContentHeader):
            raise ValueError(f"a {type(header).__name__} came in place of a content header")
        message = await channel._read_content(frame, header)
        receive = receivers.get(frame.consumer_tag or "")
        if receive is not None:
            receive(message)

    channel._on_deliver_frame = on_deliver  # type: ignore[method-assign]
    return True


def delivery_of(message: DeliveredMessage, queue: str, generation: int) -> Delivery:
    frame, properties = cast("Basic.Deliver", message.delivery), message.header.properties
    return Delivery(
        body=message.body,
        headers=properties.headers or {},
        content_type=properties.content_type or "",
        type=properties.message_type or "",
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        message_id=properties.message_id,
        app_id=properties.app_id,
        user_id=properties.user_id,
        exchange=frame.exchange or "",
        routing_key=frame.routing_key or "",
        queue=queue,
        redelivered=bool(frame.redelivered),
        delivery_tag=frame.delivery_tag or 0,
        generation=generation,
    )
