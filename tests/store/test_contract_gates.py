"""What every store promises about gates and mailboxes, whatever it is made of."""

import time

import pytest

from countermand.coordinator.gates import gate as gates
from countermand.coordinator.gates import mailbox as mailboxes
from countermand.coordinator.gates.gate import Gate
from countermand.coordinator.gates.mailbox import Mailbox
from countermand.coordinator.gates.ports import Aggregate, Change, Stored
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.coordination import LockBody, gate_id, mailbox_id
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.identifiers import new_secret
from gates.asking import command, event, release, subscription
from store.benches import Bench, RedisBench
from support import RedisServer, TcpProxy, eventually

ORDER = gate_id("order", "1001")
PAYMENT = mailbox_id("payment_received", "1001")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def held(*sagas: str, key: str = "1001", at_ms: int | None = None) -> Gate:
    """A lock that the first of these holds and the others wait for."""
    state: Gate | None = None
    for saga_id in sagas:
        state = gates.ask(state, command(saga_id), LockBody("order", key), at_ms or now_ms()).state
    assert state is not None
    return state


def freed(saga_id: str, *, at_ms: int | None = None) -> Gate:
    """A lock that was given back."""
    state = gates.release(held(saga_id), release(saga_id), at_ms or now_ms()).state
    assert state is not None
    return state


def waited(saga_id: str, until_ms: int) -> Mailbox:
    state = mailboxes.subscribe(None, subscription(saga_id, until_ms=until_ms), now_ms()).state
    assert state is not None
    return state


def change(target: str, state: Aggregate, *, expected: int = 0, version: int | None = None) -> Change:
    return Change(target, expected, expected + 1 if version is None else version, new_secret(), state)


async def test_what_was_committed_is_loaded(bench: Bench) -> None:
    """Whole and equal, in the order asked for; what isn't there is null."""
    gate, mailbox = held("a", "b"), mailboxes.happened(None, event("e1", payload={"amount": 7}), now_ms()).state
    assert mailbox is not None
    assert await bench.gates.commit([change(ORDER, gate, version=7), change(PAYMENT, mailbox)]) == [True, True]
    found = await bench.gates.load([PAYMENT, "lock:order:other", ORDER])
    assert found == [Stored(1, mailbox), None, Stored(7, gate)]


async def test_of_two_writers_one_wins(bench: Bench) -> None:
    """The other one is told so, and nothing of it stands; each change of a batch is on its own."""
    first = change(ORDER, held("a"))
    assert await bench.gates.commit([first]) == [True]
    late = [
        change(ORDER, held("b")),
        change(ORDER, held("c"), expected=5),
        change(PAYMENT, waited("a", now_ms() + 60_000)),
    ]
    assert await bench.gates.commit(late) == [False, False, True]
    (stored,) = await bench.gates.load([ORDER])
    assert stored == Stored(first.version, first.state)
    assert await bench.gates.commit([change(ORDER, held("a", "b"), expected=1)]) == [True]


async def test_a_commit_that_is_repeated_is_recognised(bench: Bench) -> None:
    """After a lost answer it is made again: it stands, once."""
    first = change(ORDER, held("a"))
    assert await bench.gates.commit([first]) == [True]
    assert await bench.gates.commit([first]) == [True]
    second = change(ORDER, held("a", "b"), expected=1)
    assert await bench.gates.commit([second]) == [True]
    assert await bench.gates.commit([first]) == [False]


async def test_locks_are_listed_while_somebody_holds_or_waits(bench: Bench) -> None:
    """Those that are held for longest first, as many as asked for; mailboxes are no locks."""
    began_ms = now_ms() - 10_000
    for number in (2, 0, 1):
        state = held("a", key=str(number), at_ms=began_ms + number)
        await bench.gates.commit([change(gate_id("order", str(number)), state)])
    await bench.gates.commit([change(PAYMENT, waited("a", now_ms() + 60_000))])
    assert [each.key for each in await bench.gates.locks(limit=10)] == ["0", "1", "2"]
    assert [each.key for each in await bench.gates.locks(limit=2)] == ["0", "1"]
    await bench.gates.commit([change(gate_id("order", "0"), freed("a"), expected=1)])
    assert [each.key for each in await bench.gates.locks(limit=10)] == ["1", "2"]


async def test_what_is_over_is_forgotten_by_itself(bench: Bench) -> None:
    """At the moment that the state names, and not while anybody holds it."""
    soon_ms = now_ms() + 300
    await bench.gates.commit(
        [
            change(ORDER, held("a", at_ms=soon_ms - gates.RELEASED_KEPT_MS)),
            change(gate_id("order", "freed"), freed("a", at_ms=soon_ms - gates.RELEASED_KEPT_MS)),
            change(PAYMENT, waited("a", soon_ms)),
        ]
    )

    async def only_the_lock_that_is_held() -> bool:
        found = await bench.gates.load([ORDER, gate_id("order", "freed"), PAYMENT])
        return [each is not None for each in found] == [True, False, False]

    await eventually(only_the_lock_that_is_held)
    assert now_ms() >= soon_ms


async def test_what_is_taken_again_is_not_forgotten(bench: Bench) -> None:
    """A lock that somebody holds again has no end any more."""
    soon_ms = now_ms() + 200
    await bench.gates.commit([change(ORDER, freed("a", at_ms=soon_ms - gates.RELEASED_KEPT_MS))])
    assert await bench.gates.commit([change(ORDER, held("b"), expected=1)]) == [True]
    await bench.gates.commit([change(PAYMENT, waited("a", soon_ms + 100))])

    async def later() -> bool:
        return await bench.gates.load([PAYMENT]) == [None]

    await eventually(later)
    (stored,) = await bench.gates.load([ORDER])
    assert stored is not None


@pytest.mark.servers
async def test_nothing_stays_behind(redis_bench: RedisBench) -> None:
    """When all is over there is no key left."""
    await redis_bench.gates.commit([change(ORDER, held("a"))])
    assert len(await redis_bench.keys()) == 2
    await redis_bench.gates.commit([change(ORDER, freed("a", at_ms=now_ms() - gates.RELEASED_KEPT_MS), expected=1)])
    assert await redis_bench.keys() == []


@pytest.mark.servers
async def test_an_answer_that_is_lost(own_redis: RedisServer, namespace: str) -> None:
    """It is said so, nothing repeats the call behind our back, and the same change made again is recognised."""
    async with TcpProxy(*own_redis.address) as proxy:
        url = proxy.url_for(own_redis.url)
        store = RedisSagaStore(url, namespace=namespace, partitions=4, retention_ms=1, timeout_s=2)
        await store.gates.commit([change(ORDER, held("a"))])
        made = change(ORDER, held("a", "b"), expected=1)
        proxy.drop_next_reply()
        with pytest.raises(StoreUnavailable):
            await store.gates.commit([made])
        assert await store.gates.commit([made]) == [True]
        await store.close()


@pytest.mark.servers
async def test_a_commit_is_as_durable_as_a_saga_s(redis_server: RedisServer, namespace: str) -> None:
    """Where replicas are asked for and there is none, it is not said to stand."""
    store = RedisSagaStore(
        redis_server.url, namespace=namespace, partitions=4, retention_ms=1, durability="replicated", replicas=1
    )
    store._durable = [("WAIT", 1, 50)]
    with pytest.raises(StoreUnavailable, match="0 of 1 durable copies"):
        await store.gates.commit([change(ORDER, held("a"))])
    await store.close()
