"""The proxy breaks connections exactly as it says."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from support import RedisServer, TcpProxy, eventually


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(*redis_server.address) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: TcpProxy, redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    """A client without retries, through the proxy."""
    client = redis.asyncio.Redis.from_url(proxy.url_for(redis_server.url), retry=Retry(NoBackoff(), 0))
    yield client
    await client.aclose()


async def test_bytes_pass_both_ways(client: redis.asyncio.Redis, namespace: str) -> None:
    """An untouched proxy is invisible, also for answers larger than its buffer."""
    large = b"x" * 1_000_000
    await client.set(namespace, large)
    assert await client.get(namespace) == large


async def test_a_cut_is_seen_at_once_and_a_new_connection_works(client: redis.asyncio.Redis, proxy: TcpProxy) -> None:
    """Open connections are reset; the next one is accepted."""
    await client.ping()
    assert proxy.cut() == 1
    with pytest.raises(redis.exceptions.ConnectionError):
        await client.ping()
    await client.ping()
    await eventually(lambda: proxy.connections == 1)


async def test_held_bytes_arrive_after_the_release(client: redis.asyncio.Redis, proxy: TcpProxy) -> None:
    """A half-open connection answers nothing, and everything when it is released."""
    await client.ping()
    proxy.hold()
    answer = asyncio.ensure_future(client.ping())
    done, _ = await asyncio.wait([answer], timeout=0.3)
    assert not done
    proxy.release()
    assert await asyncio.wait_for(answer, 5)


async def test_a_refusing_proxy_resets_new_connections(client: redis.asyncio.Redis, proxy: TcpProxy) -> None:
    """Nobody gets through until the release."""
    proxy.refuse()
    with pytest.raises(redis.exceptions.ConnectionError):
        await client.ping()
    proxy.release()
    await client.ping()


async def test_a_dropped_reply_was_carried_out(
    client: redis.asyncio.Redis, proxy: TcpProxy, redis_server: RedisServer, namespace: str
) -> None:
    """The server did what it was told, and the client can't know."""
    await client.ping()
    proxy.drop_next_reply()
    with pytest.raises(redis.exceptions.ConnectionError):
        await client.incr(namespace)
    assert proxy.replies_dropped == 1
    assert redis_server.command("GET", namespace) == "1"
    assert await client.incr(namespace) == 2


def test_a_url_keeps_everything_but_the_address() -> None:
    """Credentials, path and query go through unchanged."""

    async def through_proxy() -> tuple[str, int]:
        async with TcpProxy("127.0.0.1", 1) as proxy:
            return proxy.url_for("amqp://guest:secret@127.0.0.1:5672/host?heartbeat=5"), proxy.address[1]

    url, port = asyncio.run(through_proxy())
    assert url == f"amqp://guest:secret@127.0.0.1:{port}/host?heartbeat=5"


async def test_eventually_names_what_was_not_true() -> None:
    """A failure says which condition and what was seen last."""
    with pytest.raises(AssertionError, match=r"not true within 0.1 s: the queue is empty\nlast seen: 0"):
        await eventually(lambda: 0, timeout_s=0.1, message="the queue is empty")
