"""The private servers keep what they promise: data survive a kill, a pause answers nobody, nothing is left behind."""

import asyncio
from collections.abc import Callable

import aio_pika
import pytest
from pamqp.common import FieldTable
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from support import PostgresServer, RabbitServer, RedisServer

QUORUM: FieldTable = {"x-queue-type": "quorum"}


async def test_a_killed_rabbitmq_comes_back_with_its_messages(own_rabbitmq: RabbitServer, namespace: str) -> None:
    """A confirmed message in a quorum queue survives kill -9 of the node, at the same address."""
    async with await aio_pika.connect(own_rabbitmq.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(namespace, durable=True, arguments=QUORUM)
        await own_rabbitmq.settle_declarations_async()
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=namespace)
        await own_rabbitmq.kill_async()
    with pytest.raises(OSError, match=r".*"):
        await asyncio.to_thread(own_rabbitmq.handshake)

    await own_rabbitmq.start_async()

    async with await aio_pika.connect(own_rabbitmq.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(namespace, durable=True, arguments=QUORUM)
        # The queue's leader may be elected a moment after the node accepts channels.
        kept = await queue.get(timeout=30)
        assert kept.body == b"kept"
        await kept.ack()


async def test_a_paused_rabbitmq_answers_nobody_until_resumed(own_rabbitmq: RabbitServer) -> None:
    """Pausing freezes the node without closing its port."""
    async with await aio_pika.connect(own_rabbitmq.amqp_url) as connection:
        channel = await connection.channel()
        await own_rabbitmq.pause_async()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.declare_queue(exclusive=True), 0.5)
        await own_rabbitmq.resume_async()
        await asyncio.to_thread(own_rabbitmq.wait_ready)


async def test_rabbitmqctl_speaks_to_our_node(own_rabbitmq: RabbitServer) -> None:
    """Operators' commands reach the private node, and only that."""
    assert "guest" in await own_rabbitmq.ctl_async("list_users")


async def test_a_stopped_rabbitmq_is_healed(own_rabbitmq: RabbitServer) -> None:
    """Whatever a test leaves behind, the next one gets a healthy node."""
    await own_rabbitmq.stop_async()
    await asyncio.to_thread(own_rabbitmq.heal)
    async with await aio_pika.connect(own_rabbitmq.amqp_url) as connection:
        await connection.channel()


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_killed_redis_comes_back_with_every_confirmed_write(
    kind: str, redis_factory: Callable[..., RedisServer]
) -> None:
    """With the safe defaults a confirmed write survives kill -9."""
    server = redis_factory(kind)
    for number in range(20):
        await server.command_async("SET", f"key:{number}", number)
    await server.kill_async()
    with pytest.raises(OSError, match=r".*"):
        await asyncio.to_thread(server.handshake)

    await server.start_async()

    assert server.command("DBSIZE") == 20
    assert server.command("GET", "key:19") == "19"
    assert server.command("CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}


async def test_a_paused_redis_answers_nobody_until_resumed(own_redis: RedisServer) -> None:
    """Pausing freezes the server without closing its port."""
    reader, writer = await asyncio.open_connection(*own_redis.address)
    await own_redis.pause_async()
    writer.write(b"PING\r\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readline(), 0.3)
    await own_redis.resume_async()
    assert await asyncio.wait_for(reader.readline(), 5) == b"+PONG\r\n"
    writer.close()
    await own_redis.restart_async()


async def test_options_override_the_safe_defaults(redis_factory: Callable[..., RedisServer]) -> None:
    """A test of an unsafe or small server can have one."""
    server = redis_factory("redis", {"maxmemory": "8mb", "appendonly": "no"})
    assert server.command("CONFIG", "GET", "maxmemory") == {"maxmemory": str(8 * 1024 * 1024)}
    assert server.command("CONFIG", "GET", "appendonly") == {"appendonly": "no"}


async def test_a_killed_postgres_comes_back_with_every_commit(postgres: PostgresServer) -> None:
    """A committed row survives kill -9."""
    engine = create_async_engine(postgres.dsn)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE kept_rows (name TEXT)"))
        await connection.execute(text("INSERT INTO kept_rows VALUES ('kept')"))
    await engine.dispose()
    await postgres.kill_async()
    await postgres.start_async()
    engine = create_async_engine(postgres.dsn)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT name FROM kept_rows"))).scalar_one() == "kept"
    await engine.dispose()


def test_namespaces_are_names(namespace: str) -> None:
    """A namespace can stand in any name: a queue's, a key's, a table's, a participant's."""
    assert namespace.isascii()
    assert namespace.isalnum()
    assert namespace == namespace.lower()
    assert namespace[0].isalpha()
