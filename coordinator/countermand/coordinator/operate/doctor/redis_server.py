"""Examines the Redis or Valkey that sagas are kept in."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import redis.exceptions
from redis.asyncio import Redis

from countermand.coordinator.operate.doctor.examination import Examination, Severity
from countermand.coordinator.operate.doctor.permissions import refused_commands
from countermand.coordinator.operate.reaching import STORE_FAILURES, place_of, store_failure
from countermand.coordinator.settings import Settings
from countermand.coordinator.store.checks import ServerFacts, dangers, server_facts
from countermand.coordinator.store.connection import connect, store_errors
from countermand.coordinator.store.keys import Keys
from countermand.schemas.errors import StoreUnavailable

LATENCY_SAMPLES: Final = 5
LATENCY_MS_MAX: Final = 20.0  # A step costs about three round trips; beyond this the store is what sagas wait for.
CLOCK_MS_MAX: Final = 2_000
LAG_S_MAX: Final = 10
MEMORY_WARNING: Final = 0.80
MEMORY_CRITICAL: Final = 0.95

_WHY: Final = {
    "version": "the scripts and the durability of this release are not proven on it",
    "eviction": "a saga that is thrown away is neither done nor undone, and nobody notices",
    "persistence": "payments would stand, and nobody would know what they were for",
    "durability": "a reply may be acknowledged that the store then forgets: the saga waits for it for ever",
    "cluster": "half of the keys would be answered by another node, and commits would fail",
}
_TITLES: Final = {
    "version": "server version",
    "eviction": "eviction policy",
    "persistence": "append-only file",
    "durability": "durability of a commit",
    "cluster": "cluster mode",
}


async def examine_redis(settings: Settings, *, local_ms: Callable[[], int] | None = None) -> list[Examination]:
    """Everything about the store's server, for these settings. `local_ms` is this machine's clock."""
    client = connect(settings.redis_url, timeout_s=settings.store_timeout_ms / 1000)
    try:
        try:
            facts = await server_facts(client)
        except (StoreUnavailable, redis.exceptions.ResponseError) as error:
            return [_unreachable(error, settings)]
        async with store_errors():
            info: dict[str, Any] = await client.info("everything")
            found = [await _latency(client), *_risks(facts, settings)]
            found += [_role(info), _writes(info), *_memory(info), await _clock(client, local_ms or _wall_ms)]
            found += [*_replicas(info, settings), await _layout(client, settings)]
            found.append(await _permissions(client, settings))
        return found
    except StoreUnavailable as error:
        return [_unreachable(error, settings)]
    finally:
        await client.aclose()


def _unreachable(error: Exception, settings: Settings) -> Examination:
    text = str(error)
    mend = "check COUNTERMAND_REDIS_URL, and that the server runs and can be reached from here"
    if any(word in text for word in ("WRONGPASS", "NOAUTH", "AuthenticationError", "AuthenticationRequired")):
        mend = "set user name and password in COUNTERMAND_REDIS_URL (redis://user:password@host:port/0)"
    elif "NOPERM" in text or "NoPermission" in text:
        mend = "allow the user INFO, PING and TIME: `ACL SETUSER <user> +info +ping +time`"
    if (kind := store_failure(error)) is not None:
        text = f"{place_of(settings.redis_url)}: {STORE_FAILURES[kind]}"
    return Examination(
        "redis.reachable", "Redis", "reachable", "critical", text, "without it no saga moves", mend, unreachable=True
    )


async def _latency(client: Redis) -> Examination:
    samples = []
    for _ in range(LATENCY_SAMPLES):
        began = time.perf_counter()
        await client.ping()
        samples.append((time.perf_counter() - began) * 1000)
    typical = sorted(samples)[LATENCY_SAMPLES // 2]
    if typical <= LATENCY_MS_MAX:
        return Examination("redis.reachable", "Redis", "reachable", "ok", f"answers in {typical:.1f} ms")
    return Examination(
        "redis.latency",
        "Redis",
        "latency",
        "warning",
        f"a round trip takes {typical:.0f} ms",
        f"a step costs about three round trips, so each saga is slow beyond {LATENCY_MS_MAX:.0f} ms",
        "run coordinators near the server; look for slow commands with `SLOWLOG GET 10`",
    )


def _risks(facts: ServerFacts, settings: Settings) -> Iterator[Examination]:
    found = {danger.risk: danger for danger in dangers(facts, durability=settings.durability)}
    version = ".".join(map(str, facts.version))
    fine = {
        "version": version + (", with WAITAOF" if facts.waitaof else ", without WAITAOF"),
        "eviction": facts.eviction,
        "persistence": f"on, appendfsync {facts.appendfsync or 'unknown (CONFIG may not be asked)'}",
        "durability": f"fits durability={settings.durability}",
        "cluster": "off",
    }
    for risk, title in _TITLES.items():
        danger = found.get(risk)  # type: ignore[call-overload]  # The table's keys are the risks.
        if danger is None:
            yield Examination(f"redis.{risk}", "Redis", title, "ok", fine[risk])
        else:
            allowed = " (allowed by COUNTERMAND_ALLOW_UNSAFE)" if risk in settings.allow_unsafe else ""
            severity: Severity = "warning" if allowed else "critical"
            found_text = danger.problem + allowed
            yield Examination(f"redis.{risk}", "Redis", title, severity, found_text, _WHY[risk], danger.mend)


def _role(info: dict[str, Any]) -> Examination:
    if info.get("role") == "master":
        return Examination("redis.role", "Redis", "role", "ok", "primary")
    primary = f"{info.get('master_host')}:{info.get('master_port')}"
    return Examination(
        "redis.role",
        "Redis",
        "role",
        "critical",
        f"this server is a replica of {primary}",
        "a replica refuses every commit, so no saga moves",
        f"point COUNTERMAND_REDIS_URL at the primary ({primary}), or promote this one: `REPLICAOF NO ONE`",
    )


def _writes(info: dict[str, Any]) -> Examination:
    broken = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        if info.get(name, "ok") != "ok"
    ]
    if not broken:
        return Examination("redis.disk", "Redis", "writing to disk", "ok", "the last writes succeeded")
    return Examination(
        "redis.disk",
        "Redis",
        "writing to disk",
        "critical" if "aof_last_write_status" in broken else "warning",
        f"failed lately: {', '.join(broken)}",
        "while it can't write, the server refuses commits or forgets them in a crash",
        "look at the disk (full? read-only?) and at the server's log; then `BGREWRITEAOF` and `BGSAVE`",
    )


def _memory(info: dict[str, Any]) -> Iterator[Examination]:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    bound = limit or int(info.get("total_system_memory", 0))
    what = "maxmemory" if limit else "the machine's memory"
    if not bound:
        return
    share = used / bound
    severity: Severity = "ok"
    if share >= MEMORY_WARNING:
        severity = "critical" if share >= MEMORY_CRITICAL else "warning"
    found = f"{used / 2**20:.0f} MiB used, {share:.0%} of {what} ({bound / 2**20:.0f} MiB)"
    if severity == "ok":
        yield Examination("redis.memory", "Redis", "memory", "ok", found)
        return
    yield Examination(
        "redis.memory",
        "Redis",
        "memory",
        severity,
        found,
        "a full server refuses every commit: sagas stand still until there is room",
        "give it more memory (`CONFIG SET maxmemory <bytes>`), or keep ended sagas for a shorter time "
        "(COUNTERMAND_RETENTION_MS)",
    )


async def _clock(client: Redis, local_ms: Callable[[], int]) -> Examination:
    before = local_ms()
    seconds, microseconds = await client.time()
    after = local_ms()
    ahead_ms = int(seconds) * 1000 + int(microseconds) // 1000 - (before + after) // 2
    if abs(ahead_ms) <= CLOCK_MS_MAX:
        return Examination("redis.clock", "Redis", "clock", "ok", f"{abs(ahead_ms)} ms from this machine's")
    direction = "ahead of" if ahead_ms > 0 else "behind"
    return Examination(
        "redis.clock",
        "Redis",
        "clock",
        "warning",
        f"the server's clock is {abs(ahead_ms) / 1000:.0f} s {direction} this machine's",
        "deadlines are kept by the server's clock, and participants tell by theirs whether a command is too late",
        "set both clocks by NTP; see which is wrong with `timedatectl`",
    )


def _replicas(info: dict[str, Any], settings: Settings) -> Iterator[Examination]:
    if settings.durability != "replicated":
        return
    lags = [
        int(value["lag"])
        for name, value in info.items()
        if name.startswith("slave") and isinstance(value, dict) and value.get("state") == "online"
    ]
    current = sum(lag <= LAG_S_MAX for lag in lags)
    found = f"{current} of {settings.replicas} wanted replicas keep up ({len(lags)} connected)"
    if current >= settings.replicas:
        yield Examination("redis.replicas", "Redis", "replicas", "ok", found)
        return
    yield Examination(
        "redis.replicas",
        "Redis",
        "replicas",
        "critical",
        found,
        "with durability=replicated a commit waits for them, and counts as failed without them",
        "bring the replicas back, or set COUNTERMAND_DURABILITY=fsync for the time being",
    )


async def _layout(client: Redis, settings: Settings) -> Examination:
    stored = await client.get(Keys(settings.namespace, settings.partitions).layout)
    if stored is None:
        found = f"the namespace {settings.namespace} has not been used yet"
        return Examination("redis.layout", "Redis", "namespace", "ok", found)
    made_with = int(stored)
    if made_with == settings.partitions:
        found = f"{settings.namespace}, {made_with} partitions"
        return Examination("redis.layout", "Redis", "namespace", "ok", found)
    return Examination(
        "redis.layout",
        "Redis",
        "namespace",
        "critical",
        f"COUNTERMAND_PARTITIONS is {settings.partitions}, but {settings.namespace} was made with {made_with}",
        "sagas would be looked for in the wrong place; coordinators refuse to start",
        f"set COUNTERMAND_PARTITIONS={made_with}, or choose another COUNTERMAND_NAMESPACE",
    )


async def _permissions(client: Redis, settings: Settings) -> Examination:
    refused = await refused_commands(client, f"{Keys(settings.namespace, 1).prefix(0)}doctor")
    if not refused:
        return Examination("redis.permissions", "Redis", "permissions", "ok", "every command that is needed is allowed")
    listed = ", ".join(refused)
    commands = " ".join(f"+{name.lower()}" for name in refused)
    return Examination(
        "redis.permissions",
        "Redis",
        "permissions",
        "critical",
        f"this user may not use: {listed}",
        "a commit is one script of these commands: with one of them missing, none is made",
        f"`ACL SETUSER <user> {commands} ~cm:*`",
    )


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
