"""A store on the bench: the port, and a look behind it that the port doesn't give."""

import time
from collections.abc import Container
from typing import Protocol, cast

from redis.asyncio import Redis

from countermand.coordinator.gates.ports import AggregateStore
from countermand.coordinator.ports import SagaStore
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.coordinator.store.saga_store import RedisSagaStore


class Bench(Protocol):
    """`store` is under test; the rest looks at what it keeps, or damages it."""

    @property
    def store(self) -> SagaStore: ...

    @property
    def gates(self) -> AggregateStore: ...

    async def due(self) -> dict[str, int]:
        """The due-index: moments by saga."""

    async def forget_due(self, saga_id: str) -> None:
        """Takes a saga out of the due-index, as only a fault could."""

    async def traces(self, saga_id: str) -> set[str]:
        """The names of everything that has an entry for this saga."""


class MemoryBench:
    """The memory store, by this machine's clock."""

    def __init__(self, *, retention_ms: int) -> None:
        self.store = MemorySagaStore(retention_ms=retention_ms, now_ms=lambda: time.time_ns() // 1_000_000)

    @property
    def gates(self) -> AggregateStore:
        return self.store.gates

    async def due(self) -> dict[str, int]:
        return dict(self.store._due)

    async def forget_due(self, saga_id: str) -> None:
        del self.store._due[saga_id]

    async def traces(self, saga_id: str) -> set[str]:
        store = self.store
        indexes = {f"index:{name}": index for name, index in store._indexes.items()}
        kept: dict[str, Container[str]] = {
            "saga": store._rows,
            "history": store._histories,
            "due": store._due,
            "retire": store._retire,
        }
        return {name for name, entries in {**kept, **indexes}.items() if saga_id in entries}


class RedisBench:
    """The real store, and a second client that looks at its keys."""

    def __init__(self, url: str, namespace: str, *, retention_ms: int, partitions: int = 4) -> None:
        self.namespace = namespace
        self.store = RedisSagaStore(url, namespace=namespace, partitions=partitions, retention_ms=retention_ms)
        self.raw = Redis.from_url(url)

    @property
    def gates(self) -> AggregateStore:
        return self.store.gates

    async def close(self) -> None:
        await self.store.close()
        await self.raw.aclose()

    async def keys(self) -> list[str]:
        """Every key of this namespace."""
        return [key.decode() async for key in self.raw.scan_iter(match=f"cm:{{{self.namespace}:*", count=1_000)]

    async def due(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for partition in range(self.store.keys.partitions):
            entries = cast(
                "list[tuple[bytes, float]]",
                await self.raw.zrange(self.store.keys.due(partition), 0, -1, withscores=True),
            )
            found.update({member.decode(): int(score) for member, score in entries})
        return found

    async def forget_due(self, saga_id: str) -> None:
        keys = self.store.keys
        assert await self.raw.zrem(keys.due(keys.partition(saga_id)), saga_id) == 1

    async def traces(self, saga_id: str) -> set[str]:
        found: set[str] = set()
        for key in await self.keys():
            name = key.partition("}:")[2]
            if name.endswith(f":{saga_id}"):
                found.add(name.removesuffix(f":{saga_id}"))
            elif await self.raw.type(key) == b"zset" and await self.raw.zscore(key, saga_id) is not None:
                found.add(name)
        return found
