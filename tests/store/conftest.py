"""One bench per store: whoever takes `bench` runs over all of them."""

from collections.abc import AsyncIterator

import pytest

from store.benches import Bench, MemoryBench, RedisBench
from support import RedisServer

RETENTION_MS = 60 * 60 * 1000


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers), "valkey"])
def store_url(request: pytest.FixtureRequest) -> str | None:
    """Where the store under test lives; nowhere for the memory."""
    if request.param == "memory":
        return None
    server: RedisServer = request.getfixturevalue(f"{request.param}_server")
    return server.url


@pytest.fixture
def retention_ms(request: pytest.FixtureRequest) -> int:
    """How long an ended saga is kept; a test that wants another time says so by `parametrize`."""
    return int(getattr(request, "param", RETENTION_MS))


@pytest.fixture
async def bench(store_url: str | None, namespace: str, retention_ms: int) -> AsyncIterator[Bench]:
    """A fresh store of each kind."""
    if store_url is None:
        yield MemoryBench(retention_ms=retention_ms)
        return
    redis = RedisBench(store_url, namespace, retention_ms=retention_ms)
    yield redis
    await redis.close()


@pytest.fixture
async def redis_bench(redis_server: RedisServer, namespace: str) -> AsyncIterator[RedisBench]:
    """A fresh store on the session's Redis."""
    bench = RedisBench(redis_server.url, namespace, retention_ms=RETENTION_MS)
    yield bench
    await bench.close()
