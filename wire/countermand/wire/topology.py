"""Declares on the broker what `countermand.schemas.topology` describes."""

from typing import Any, cast

from aiormq.abc import AbstractChannel

from countermand.schemas.topology import Declarations


async def declare(channel: AbstractChannel, declarations: Declarations) -> None:
    """Declare everything, in order. Raises the client library's errors; a conflict closes the channel."""
    for exchange in declarations.exchanges:
        await channel.exchange_declare(exchange.name, exchange_type=exchange.type, durable=True)
    for queue in declarations.queues:
        await channel.queue_declare(
            queue.name,
            durable=not queue.exclusive,
            exclusive=queue.exclusive,
            arguments=cast("dict[str, Any]", queue.arguments),
        )
    for binding in declarations.bindings:
        await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
