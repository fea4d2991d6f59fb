"""Both embedded servers together: where they are, and what they keep."""

import asyncio
from pathlib import Path

import aio_pika
import pytest

from countermand.coordinator.dev.ports import is_free
from countermand.coordinator.dev.processes import DevelopmentError
from countermand.coordinator.dev.servers import DevelopmentServers


async def test_messages_and_addresses_stay(tmp_path: Path) -> None:
    """A durable message is there after the next start, under the same address; afterwards both ports are free."""
    async with DevelopmentServers(tmp_path) as servers, await aio_pika.connect(servers.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(b"hello", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")
    amqp_port, redis_port = servers.broker.port, servers.store.port
    again = DevelopmentServers(tmp_path, amqp_port=amqp_port, redis_port=redis_port)
    async with again, await aio_pika.connect(again.amqp_url) as connection:
        assert (again.amqp_url, again.redis_url) == (servers.amqp_url, servers.redis_url)
        queue = await (await connection.channel()).get_queue("kept")
        got = await queue.get()
        assert got is not None
        assert got.body == b"hello"
    assert is_free(amqp_port)
    assert is_free(redis_port)


async def test_a_taken_port_is_no_start(tmp_path: Path) -> None:
    """Somebody else who answers there is not taken for our own server; and whichever had started is ended."""
    async with DevelopmentServers(tmp_path / "first") as first:
        for amqp_port, redis_port in ((first.broker.port, 0), (0, first.store.port)):
            second = DevelopmentServers(tmp_path / "second", amqp_port=amqp_port, redis_port=redis_port)
            with pytest.raises(DevelopmentError, match="has ended while starting"):
                async with second:
                    await asyncio.Event().wait()
            assert not second.store.process.running
            assert not second.broker.process.running
