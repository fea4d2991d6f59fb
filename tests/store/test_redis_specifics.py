"""What only a real server can do to a store: lose an answer, forget its scripts, be full, be set up badly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import pytest
from redis.asyncio import Redis

from countermand.coordinator.ports import Claimed, Committed, Conflict, Loaded, SagaQuery, Settlement
from countermand.coordinator.store.checks import agree_on_layout, dangers, require_safe, server_facts
from countermand.coordinator.store.keys import Keys
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.errors import SettingsError, StoreUnavailable, UnsafeServer
from store.benches import RedisBench
from store.conftest import RETENTION_MS
from store.sagas import completed, definition, refused, reserved, signalled, started, stuck, watched
from support import RedisServer, TcpProxy

pytestmark = pytest.mark.servers

Factory = Callable[..., RedisServer]


@pytest.fixture
async def proxy(own_redis: RedisServer) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(*own_redis.address) as proxy:
        yield proxy


@pytest.fixture
async def far(own_redis: RedisServer, proxy: TcpProxy, namespace: str) -> AsyncIterator[RedisSagaStore]:
    """A store whose connections go through the proxy."""
    url = proxy.url_for(own_redis.url)
    store = RedisSagaStore(url, namespace=namespace, partitions=4, retention_ms=RETENTION_MS, timeout_s=2)
    yield store
    await store.close()


async def scripts_run(server: RedisServer) -> int:
    """How many times the server has been asked to run a script."""
    async with Redis.from_url(server.url, decode_responses=True) as client:
        found = await client.info("commandstats")
    return sum(int(found.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "evalsha"))


# --- lost answers


async def test_an_answer_lost_after_the_commit_is_said_so_after_one_execution(
    own_redis: RedisServer, proxy: TcpProxy, far: RedisSagaStore
) -> None:
    """Nothing repeats a call behind our back; the same commit made again is recognised by its token (P10)."""
    first = started("s1")
    assert await far.commit([first]) == [Committed()]
    made = reserved(first.saga, guard_ms=60_000)
    before = await scripts_run(own_redis)
    proxy.drop_next_reply()
    with pytest.raises(StoreUnavailable):
        await far.commit([made])
    assert proxy.replies_dropped == 1
    assert await scripts_run(own_redis) == before + 1
    assert [record.version for record in await far.history("s1")] == [1, 1, 2, 2]
    assert await far.commit([made]) == [Committed()]
    assert [record.version for record in await far.history("s1")] == [1, 1, 2, 2]
    assert await far.load(["s1"]) == [Loaded(made.saga, guard=2)]


async def test_a_lost_answer_of_a_whole_batch_is_settled_by_making_it_again(
    proxy: TcpProxy, far: RedisSagaStore
) -> None:
    """Each commit of it is recognised; and one that somebody has moved on meanwhile is told so."""
    batch = [started(f"s{number}") for number in range(5)]
    await far.commit([started("another")])
    proxy.drop_next_reply()
    with pytest.raises(StoreUnavailable):
        await far.commit(batch)
    assert await far.commit([watched(batch[3].saga)]) == [Committed()]
    answers = await far.commit(batch)
    assert answers == [Committed(), Committed(), Committed(), Conflict(2), Committed()]
    assert [len(await far.history(f"s{number}")) for number in range(5)] == [2, 2, 2, 3, 2]


@pytest.mark.parametrize(
    "call",
    ["load", "history", "now_ms", "claim_due", "definitions", "sleepers", "retire", "sagas", "stuck_groups", "census"],
)
async def test_no_call_is_repeated_behind_our_back(
    own_redis: RedisServer, proxy: TcpProxy, far: RedisSagaStore, call: str
) -> None:
    """Reading and claiming fail once, as unavailability; the next call works."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "load": lambda: far.load(["s1"]),
        "history": lambda: far.history("s1"),
        "now_ms": far.now_ms,
        "claim_due": lambda: far.claim_due(limit=1, lease_ms=1, expected_ms=None, tolerance_ms=0),
        "definitions": far.definitions,
        "sleepers": lambda: far.sleepers(limit=1),
        "retire": lambda: far.retire(limit=1),
        "sagas": lambda: far.sagas(SagaQuery()),
        "stuck_groups": far.stuck_groups,
        "census": far.census,
    }
    await far.save_definition(definition())
    await far.commit([started("s1")])
    proxy.drop_next_reply()
    accepted = proxy.connections_accepted
    with pytest.raises(StoreUnavailable):
        await calls[call]()
    assert proxy.connections_accepted <= accepted + 1
    assert proxy.replies_dropped == 1
    await calls[call]()


async def test_a_server_that_is_away_is_unavailable_and_comes_back(
    own_redis: RedisServer, proxy: TcpProxy, far: RedisSagaStore
) -> None:
    """Refused, silent and killed look the same to the caller; what was committed is there afterwards."""
    made = started("s1")
    await far.commit([made])
    proxy.refuse()
    with pytest.raises(StoreUnavailable):
        await far.load(["s1"])
    proxy.release()
    proxy.hold()
    with pytest.raises(StoreUnavailable):
        await far.load(["s1"])
    proxy.release()
    await asyncio.to_thread(own_redis.kill)
    with pytest.raises(StoreUnavailable):
        await far.load(["s1"])
    await asyncio.to_thread(own_redis.start)
    assert await far.load(["s1"]) == [Loaded(made.saga)]


async def test_a_cancelled_call_leaves_its_answer_to_nobody(
    own_redis: RedisServer, proxy: TcpProxy, far: RedisSagaStore
) -> None:
    """Whoever calls next gets the answer to its own question (P11)."""
    one, two = started("s1"), started("s2")
    await far.commit([one, two])
    calls: list[Callable[[], Coroutine[object, object, object]]] = [
        lambda: far.load(["s1"]),
        lambda: far.history("s1"),
        lambda: far.commit([signalled(one.saga)]),
        far.now_ms,
    ]
    for late in calls:
        proxy.hold()
        call = asyncio.ensure_future(late())
        done, _ = await asyncio.wait([call], timeout=0.1)
        assert not done
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        proxy.release()
        answers = await asyncio.gather(*(far.load(["s2"]) for _ in range(12)))
        assert answers == [[Loaded(two.saga)]] * 12


# --- scripts


async def test_a_forgotten_script_is_sent_again_with_one_effect(own_redis: RedisServer, namespace: str) -> None:
    """A restart or SCRIPT FLUSH between any two calls is not noticed."""
    bench = RedisBench(own_redis.url, namespace, retention_ms=1)
    made = started("s1", guard_ms=60_000)
    saga = made.saga
    await bench.raw.script_flush()
    assert await bench.store.commit([made]) == [Committed()]
    for length in range(3, 9):
        await bench.raw.script_flush()
        step = signalled(saga)
        assert await bench.store.commit([step]) == [Committed(taken_over=1)]
        saga = step.saga
        assert len(await bench.store.history("s1")) == length
    await bench.store.settle([Settlement("s1", saga.state.version)])
    await bench.raw.script_flush()
    claimed = await bench.store.claim_due(limit=4, lease_ms=60_000, expected_ms=None, tolerance_ms=0)
    assert isinstance(claimed, Claimed)
    assert claimed.saga_ids == ("s1",)
    await bench.raw.script_flush()
    await bench.store.save_definition(definition())
    await bench.raw.script_flush()
    assert not await bench.store.put_due("s1", 1, 1)
    await bench.raw.script_flush()
    assert await bench.store.retire(limit=10) == 0
    await bench.close()


async def test_scripts_forgotten_in_the_middle_of_batches_have_one_effect(
    own_redis: RedisServer, namespace: str
) -> None:
    """While somebody flushes without end, every commit stands exactly once."""
    bench = RedisBench(own_redis.url, namespace, retention_ms=RETENTION_MS)

    async def flush() -> None:
        while True:
            await bench.raw.script_flush()

    flushing = asyncio.create_task(flush())
    batch = [started(f"s{number}") for number in range(20)]
    sagas = [each.saga for each in batch]
    assert await bench.store.commit(batch) == [Committed()] * 20
    for _ in range(10):
        steps = [signalled(saga) for saga in sagas]
        assert await bench.store.commit(steps) == [Committed()] * 20
        sagas = [each.saga for each in steps]
    flushing.cancel()
    assert [len(await bench.store.history(f"s{number}")) for number in range(20)] == [12] * 20
    await bench.close()


# --- a full server


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_full_server_refuses_a_commit_as_a_whole(redis_factory: Factory, kind: str, namespace: str) -> None:
    """Nothing is half-written; what is there can be read; with room again, the same commit is made (P23)."""
    server = redis_factory(kind, {"maxmemory": "64mb"})
    bench = RedisBench(server.url, namespace, retention_ms=RETENTION_MS)
    made = started("s1")
    await bench.store.commit([made])
    moved, new, end = reserved(made.saga), started("s2"), refused(made.saga)
    before = await bench.traces("s1"), await bench.store.history("s1"), await bench.due()
    await bench.raw.config_set("maxmemory", "1mb")
    for commit in (moved, new, end):
        with pytest.raises(StoreUnavailable):
            await bench.store.commit([commit])
    with pytest.raises(StoreUnavailable):
        await bench.store.save_definition(definition())
    assert (await bench.traces("s1"), await bench.store.history("s1"), await bench.due()) == before
    assert await bench.traces("s2") == set()
    assert await bench.store.load(["s1", "s2"]) == [Loaded(made.saga), None]
    await bench.raw.config_set("maxmemory", "64mb")
    assert await bench.store.commit([moved, new]) == [Committed(), Committed()]
    await bench.close()


# --- what must never be on live data


async def test_nothing_of_a_saga_in_motion_ever_expires(redis_bench: RedisBench) -> None:
    """A clock that jumps would take it all away at once; ended sagas are retired by us, whole (P21)."""
    for saga_id in ("running", "done", "held"):
        made = started(saga_id, tags=("vip",), guard_ms=60_000)
        await redis_bench.store.commit([made])
        follow = {"done": completed, "held": stuck}.get(saga_id)
        if follow is not None:
            await redis_bench.store.commit([follow(made.saga)])
    await redis_bench.store.save_definition(definition())
    keys = await redis_bench.keys()
    assert len(keys) > 10
    assert {key: await redis_bench.raw.ttl(key) for key in keys} == dict.fromkeys(keys, -1)


async def test_a_partitions_keys_share_one_hash_tag(redis_bench: RedisBench) -> None:
    """One script touches one slot of a cluster, whatever the saga is called (D11)."""
    ids = ["a", "a{b}c", "x:y", "tag:1"]
    await redis_bench.store.commit([started(saga_id, tags=("{other}",)) for saga_id in ids])
    keys = redis_bench.store.keys
    tags = {f"{redis_bench.namespace}:{keys.partition(saga_id)}" for saga_id in ids}
    # The hash tag is what stands between the first brace and the first closing one after it.
    assert {key.partition("{")[2].partition("}")[0] for key in await redis_bench.keys()} == tags
    for saga_id in ids:
        assert await redis_bench.traces(saga_id) >= {"saga", "history", "due", "index:tag:{other}"}


# --- unsafe servers


async def found_in(server: RedisServer, *, durability: str = "fsync") -> set[str]:
    async with Redis.from_url(server.url) as client:
        return {danger.risk for danger in dangers(await server_facts(client), durability=durability)}


async def test_a_safe_server_has_no_dangers(redis_server: RedisServer, valkey_server: RedisServer) -> None:
    """The settings of production, on both."""
    assert await found_in(redis_server) == set()
    assert await found_in(valkey_server) == set()


@pytest.mark.parametrize(
    ("options", "risk"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "eviction"),
        ({"maxmemory-policy": "volatile-ttl"}, "eviction"),
        ({"appendonly": "no"}, "persistence"),
    ],
)
async def test_settings_that_would_lose_a_saga_are_found(
    redis_factory: Factory, options: dict[str, str], risk: str
) -> None:
    """Each by the name under which it can be allowed; without that it is refused with its mend (P22)."""
    server = redis_factory("redis", options)
    assert await found_in(server) == {risk}
    async with Redis.from_url(server.url) as client:
        facts = await server_facts(client)
    with pytest.raises(UnsafeServer, match=f"CONFIG SET .*COUNTERMAND_ALLOW_UNSAFE={risk}"):
        require_safe(facts, durability="fsync", allowed=())
    (allowed,) = require_safe(facts, durability="fsync", allowed={"eviction", "persistence"})
    assert allowed.risk == risk


async def test_an_fsync_every_second_is_a_danger_only_without_waitaof(redis_factory: Factory) -> None:
    """A server that has WAITAOF is asked to write before a commit counts; an older one has to do so by itself."""
    for kind in ("redis", "valkey"):
        server = redis_factory(kind, {"appendfsync": "everysec"})
        async with Redis.from_url(server.url) as client:
            facts = await server_facts(client)
        expected = set() if facts.waitaof else {"durability"}
        assert {danger.risk for danger in dangers(facts, durability="fsync")} == expected
        assert dangers(facts, durability="memory") == []
        old = facts.__class__((7, 0), False, facts.eviction, facts.aof, facts.appendfsync, facts.cluster)
        assert [danger.risk for danger in dangers(old, durability="fsync")] == ["durability"]


async def test_coordinators_of_one_namespace_agree_on_its_partitions(redis_bench: RedisBench) -> None:
    """The first one chooses; another number would look for sagas in the wrong place, and is refused."""
    layout = Keys(redis_bench.namespace, 4).layout
    await agree_on_layout(redis_bench.raw, layout, 4)
    await agree_on_layout(redis_bench.raw, layout, 4)
    with pytest.raises(SettingsError, match=r"COUNTERMAND_PARTITIONS: is 8, but .* 4"):
        await agree_on_layout(redis_bench.raw, layout, 8)


# --- durability


async def test_a_commit_waits_for_the_disk_where_the_server_can_say_so(redis_factory: Factory, namespace: str) -> None:
    """With WAITAOF a commit on a server that syncs once a second is on disk when it is answered."""
    server = redis_factory("valkey", {"appendfsync": "everysec"})
    store = RedisSagaStore(
        server.url,
        namespace=namespace,
        partitions=4,
        retention_ms=RETENTION_MS,
        durability="fsync",
        waitaof=True,
    )
    made = started("s1")
    assert await store.commit([made]) == [Committed()]
    assert await store.commit([made]) == [Committed()]
    assert await store.commit([watched(made.saga), started("s2")]) == [Committed(), Committed()]
    asked = await server.command_async("INFO", "commandstats")
    # Once for each batch, and once more for the first one, whose script the server did not know yet.
    assert asked["cmdstat_waitaof"]["calls"] == 4
    await store.close()


async def test_a_commit_that_the_disk_does_not_take_is_uncertain(redis_factory: Factory, namespace: str) -> None:
    """Without an append-only file there is nothing to wait for: said so, not glossed over."""
    server = redis_factory("valkey", {"appendonly": "no"})
    store = RedisSagaStore(
        server.url, namespace=namespace, partitions=4, retention_ms=RETENTION_MS, durability="fsync", waitaof=True
    )
    with pytest.raises(StoreUnavailable):
        await store.commit([started("s1")])
    await store.close()


async def test_a_commit_that_no_replica_has_is_uncertain(
    redis_server: RedisServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`replicated` on a server without replicas never says that a commit stands."""
    monkeypatch.setattr("countermand.coordinator.store.saga_store.DURABLE_TIMEOUT_MS", 50)
    store = RedisSagaStore(
        redis_server.url, namespace=namespace, partitions=4, retention_ms=RETENTION_MS, durability="replicated"
    )
    with pytest.raises(StoreUnavailable, match="0 of 1"):
        await store.commit([started("s1")])
    await store.close()
