"""Looks at a Redis before sagas are trusted to it: settings that would lose data are refused unless named."""

from collections.abc import Collection
from typing import Any, Final

import msgspec
import redis.exceptions
from redis.asyncio import Redis

from countermand.coordinator.settings import Risk
from countermand.coordinator.store.connection import store_errors
from countermand.schemas.errors import SettingsError, UnsafeServer

VERSION_MIN: Final = (7, 0)
WAITAOF_SINCE: Final = (7, 2)


class Danger(msgspec.Struct, frozen=True):
    """What is wrong, and how to mend it. `risk` is the name by which it can be allowed."""

    risk: Risk
    problem: str
    mend: str


class ServerFacts(msgspec.Struct, frozen=True):
    """What a server says of itself. `appendfsync` is null where it may not be asked."""

    version: tuple[int, ...]
    waitaof: bool
    eviction: str
    aof: bool
    appendfsync: str | None
    cluster: bool


async def server_facts(client: Redis) -> ServerFacts:
    """Asks a server for what matters here."""
    async with store_errors():
        info: dict[str, Any] = await client.info()
        try:
            appendfsync = (await client.config_get("appendfsync")).get("appendfsync")
        except redis.exceptions.ResponseError:
            # Managed servers forbid CONFIG; then what is not known is said instead of guessed.
            appendfsync = None
    # Valkey reports the Redis version that it is compatible with beside its own.
    version = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2])
    return ServerFacts(
        version=version,
        waitaof=version >= WAITAOF_SINCE,
        eviction=str(info.get("maxmemory_policy", "unknown")),
        aof=bool(info.get("aof_enabled")),
        appendfsync=appendfsync,
        cluster=bool(info.get("cluster_enabled")),
    )


def dangers(facts: ServerFacts, *, durability: str) -> list[Danger]:
    """Everything about a server that could lose a saga."""
    found: list[Danger] = []
    if facts.version < VERSION_MIN:
        version = ".".join(map(str, facts.version))
        found.append(
            Danger("version", f"server version {version} is older than 7.0", "run Redis 7.0 or newer, or Valkey")
        )
    if facts.eviction != "noeviction":
        found.append(
            Danger(
                "eviction",
                f"maxmemory-policy is {facts.eviction}: a full server would throw sagas away",
                "`CONFIG SET maxmemory-policy noeviction`",
            )
        )
    if not facts.aof:
        found.append(
            Danger(
                "persistence",
                "the append-only file is off: a restart would lose every saga",
                "`CONFIG SET appendonly yes` (on the running server, not in the file alone: that would start empty)",
            )
        )
    if durability == "fsync" and not facts.waitaof and facts.appendfsync not in ("always", None):
        found.append(
            Danger(
                "durability",
                f"appendfsync is {facts.appendfsync}, and the server has no WAITAOF: a crash loses what was committed",
                "`CONFIG SET appendfsync always`, or run Redis 7.2 or newer",
            )
        )
    if facts.cluster:
        found.append(
            Danger("cluster", "the server is a Redis Cluster, which this release can't follow", "use a single primary")
        )
    return found


def require_safe(facts: ServerFacts, *, durability: str, allowed: Collection[Risk]) -> list[Danger]:
    """The dangers that were allowed by name.

    Raises:
        UnsafeServer: there is one that was not.
    """
    found = dangers(facts, durability=durability)
    refused = [danger for danger in found if danger.risk not in allowed]
    if refused:
        texts = [f"{each.problem}; mend it: {each.mend}" for each in refused]
        names = ",".join(sorted({each.risk for each in refused}))
        raise UnsafeServer("; ".join(texts) + f". To run all the same: COUNTERMAND_ALLOW_UNSAFE={names}")
    return found


async def agree_on_layout(client: Redis, key: str, partitions: int) -> None:
    """The first coordinator of a namespace fixes the number of partitions; every other one must have the same.

    Raises:
        SettingsError: they differ; going on would look for sagas in the wrong place.
    """
    async with store_errors():
        await client.set(key, partitions, nx=True)
        stored = await client.get(key)
    if stored is not None and int(stored) != partitions:
        raise SettingsError(
            f"COUNTERMAND_PARTITIONS: is {partitions}, but this namespace was made with {int(stored)}; it can't change"
        )
