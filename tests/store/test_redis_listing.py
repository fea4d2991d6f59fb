"""What only a real server can do to a listing: hold indexes of another release, be full, be large."""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import cast

import pytest
from msgspec.structs import replace

from countermand.coordinator.core.state import Saga, SagaState
from countermand.coordinator.ports import Commit, Committed, Conflict, SagaQuery
from countermand.coordinator.store import listing, saga_store
from countermand.coordinator.store.indexes import Entry, index_entries
from countermand.coordinator.store.scripts import _read
from countermand.schemas.identifiers import new_secret
from countermand.schemas.operations import AbandonSaga, ResumeSaga, RetryStep
from store.benches import RedisBench
from store.conftest import RETENTION_MS
from store.sagas import NOW_MS, completed, operated, paused, reserved, signalled, started, stuck
from store.steps import commit
from support import RedisServer, eventually

pytestmark = pytest.mark.servers


async def kept(bench: RedisBench) -> tuple[dict[str, dict[str, int]], set[str]]:
    """Every index with its members and scores, and the names that the catalogues hold."""
    indexes: dict[str, dict[str, int]] = defaultdict(dict)
    catalogue: set[str] = set()
    for key in await bench.keys():
        name = key.partition("}:")[2]
        if name == "catalogue":
            catalogue |= {member.decode() for member in cast("set[bytes]", await bench.raw.smembers(key))}
        elif name.startswith("index:"):
            members = cast("list[tuple[bytes, float]]", await bench.raw.zrange(key, 0, -1, withscores=True))
            indexes[name.removeprefix("index:")] |= {member.decode(): int(score) for member, score in members}
    return indexes, catalogue


def due_indexes(sagas: list[Saga]) -> tuple[dict[str, dict[str, int]], set[str]]:
    """What `kept` must find for these sagas."""
    indexes: dict[str, dict[str, int]] = defaultdict(dict)
    for saga in sagas:
        for entry in index_entries(saga.state):
            indexes[entry.name][saga.state.saga_id] = entry.score
    return indexes, {entry.name for saga in sagas for entry in index_entries(saga.state) if entry.counted}


def entries_of_v1(state: SagaState) -> list[Entry]:
    """The indexes of the first release: what is stuck has its place by the moment since which it is."""
    names = [f"phase:{state.phase}", f"definition:{state.definition}", *(f"tag:{tag}" for tag in state.tags)]
    entries = [Entry(name, state.started_ms) for name in names]
    if state.stuck is not None:
        since_ms = state.stuck.since_ms
        entries += [Entry("stuck:any", since_ms), Entry(f"stuck:{state.stuck.cause}", since_ms)]
    return entries


@pytest.fixture
def first_release(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Commits are those of the first release, or no longer."""

    def switch(on: bool) -> None:
        monkeypatch.undo()
        if on:
            monkeypatch.setattr(saga_store, "COMMIT", _read("commit_v1"))
            monkeypatch.setattr(saga_store, "index_entries", entries_of_v1)

    return switch


# --- I10


async def test_the_indexes_and_the_catalogue_follow_every_commit(redis_bench: RedisBench) -> None:
    """However sagas move, by commits made once, twice or too late, every index is what their states say (I10)."""
    chosen = random.Random(11)
    sagas: dict[str, Saga] = {}
    seen: set[str] = set()
    moves: list[Callable[[Saga], Commit]] = [
        lambda saga: stuck(saga, code=chosen.choice(["a", "b|c"])),
        reserved,
        completed,
        paused,
        signalled,
        *(lambda saga, each=each: operated(saga, each()) for each in (ResumeSaga, RetryStep, AbandonSaga)),
    ]
    for turn in range(150):
        saga_id = f"s{chosen.randrange(12)}"
        old = sagas.get(saga_id)
        made = started(saga_id, at_ms=NOW_MS + turn, tags=("vip",)) if old is None else chosen.choice(moves)(old)
        if made.saga.state.version == made.expected_version:
            continue  # Nothing came of it, so the one path would commit nothing.
        late = replace(made, token=new_secret())
        twice = [made] * chosen.choice([1, 2])
        assert (await redis_bench.store.commit([*twice, late]))[-1] == Conflict(made.saga.state.version)
        sagas[saga_id] = made.saga
        if turn % 10 == 9:
            assert await kept(redis_bench) == due_indexes(list(sagas.values()))
            seen |= {name.partition("|")[0] for name in (await kept(redis_bench))[0]}
    assert {"phase:compensating", "phase:abandoned", "hold:paused", "stuck:any", "group:order@1"} <= seen


# --- other releases


async def test_a_saga_of_the_first_release_is_listed_and_moved(
    redis_bench: RedisBench, first_release: Callable[[bool], None]
) -> None:
    """It can be read and found as it was; its next commit puts it where sagas stand now, and nothing stays behind."""
    store = redis_bench.store
    first_release(True)
    held = await commit(store, stuck(await commit(store, started("held", tags=("vip",)))))
    running = await commit(store, started("running"))
    done = await commit(store, completed(await commit(store, started("done"))))
    first_release(False)
    (loaded,) = await store.load(["held"])
    assert loaded is not None
    assert loaded.saga == held
    assert [state.saga_id for state in (await store.sagas(SagaQuery(order="oldest"))).states] == [
        "done",
        "held",
        "running",
    ]
    assert [state.saga_id for state in (await store.sagas(SagaQuery(stuck="any", tags=("vip",)))).states] == ["held"]
    held = await commit(store, signalled(held))
    running = await commit(store, signalled(running))
    indexes, catalogue = await kept(redis_bench)
    expected, counted = due_indexes([held, running, done])
    assert (indexes, catalogue) == (expected, counted)
    assert [each.samples for each in await store.stuck_groups()] == [("held",)]


async def test_a_coordinator_of_the_first_release_may_move_what_is_counted(
    redis_bench: RedisBench, first_release: Callable[[bool], None]
) -> None:
    """While both run, a group that the old one empties is not shown; the next commit that empties it clears it away."""
    store = redis_bench.store
    held = await commit(store, stuck(await commit(store, started("held"))))
    first_release(True)
    held = await commit(store, operated(held, AbandonSaga()))
    first_release(False)
    assert await store.stuck_groups() == []
    assert (await store.census()).in_motion == {}
    other = await commit(store, stuck(await commit(store, started("other"))))
    other = await commit(store, operated(other, AbandonSaga()))
    # Only partitions that the other saga shares are cleared; what stays is a name without members.
    indexes, _ = await kept(redis_bench)
    assert indexes == due_indexes([held, other])[0]
    assert await store.stuck_groups() == []


async def test_retirement_takes_what_the_first_release_stored(
    redis_server: RedisServer, namespace: str, first_release: Callable[[bool], None]
) -> None:
    """A saga that ended before the upgrade leaves nothing behind after it."""
    bench = RedisBench(redis_server.url, namespace, retention_ms=1)
    first_release(True)
    await commit(bench.store, completed(await commit(bench.store, started("done", tags=("vip",)))))
    first_release(False)
    await eventually(lambda: bench.store.retire(limit=10))
    assert await bench.keys() == []
    await bench.close()


# --- bounds


async def test_a_page_looks_at_a_limited_number_of_sagas(
    redis_bench: RedisBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be short, and empty; its next place goes on behind what was looked at."""
    monkeypatch.setattr(listing, "LOOKED_AT_MAX", 40)
    monkeypatch.setattr(listing, "PART", 20)
    store = redis_bench.store
    await store.commit(
        [started(f"s{number:03}", tags=("a", "b") if number % 97 == 3 else ("a",)) for number in range(200)]
    )
    await store.commit([started(f"t{number:03}", tags=("b",)) for number in range(300)])
    query = SagaQuery(tags=("a", "b"), limit=5)
    pages = [await store.sagas(query)]
    while pages[-1].next is not None:
        pages.append(await store.sagas(replace(query, after=pages[-1].next)))
    assert [state.saga_id for page in pages for state in page.states] == ["s197", "s100", "s003"]
    assert max(page.looked_at for page in pages) < 40 + 20 + 4 * 8
    assert any(not page.states and page.next for page in pages)
    # The smaller of the two indexes was walked.
    assert sum(page.looked_at for page in pages) == 200


async def test_a_damaged_saga_hides_no_other(redis_bench: RedisBench) -> None:
    """It is left out of the list, and the listing goes on behind it."""
    store = redis_bench.store
    assert await store.commit([started(f"s{number}") for number in range(4)]) == [Committed()] * 4
    await redis_bench.raw.hset(store.keys.saga("s2"), "s", b"\xc1")
    await redis_bench.raw.delete(store.keys.saga("s1"))
    page = await store.sagas(SagaQuery(limit=2))
    assert [state.saga_id for state in page.states] == ["s3", "s0"]
    assert page.next is None


async def test_a_saga_that_has_moved_on_meanwhile_is_left_out(redis_bench: RedisBench) -> None:
    """Between the index and the load anything can happen: what is listed matches as it was loaded."""
    store = redis_bench.store
    await store.commit([started("s1"), started("s2")])
    for saga_id in ("s1", "s2"):
        index = store.keys.index(store.keys.partition(saga_id), "phase:compensating")
        await redis_bench.raw.zadd(index, {saga_id: NOW_MS})
    assert (await store.sagas(SagaQuery(phase="compensating"))).states == ()


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_a_full_server_can_be_read(redis_factory: Callable[..., RedisServer], kind: str, namespace: str) -> None:
    """Just then an operator looks: listing and counting write nothing, and are not refused."""
    server = redis_factory(kind, {"maxmemory": "64mb"})
    bench = RedisBench(server.url, namespace, retention_ms=RETENTION_MS)
    await commit(bench.store, stuck(await commit(bench.store, started("s1"))))
    await bench.raw.config_set("maxmemory", "1mb")
    assert [state.saga_id for state in (await bench.store.sagas(SagaQuery(stuck="any"))).states] == ["s1"]
    assert [each.count for each in await bench.store.stuck_groups()] == [1]
    await bench.close()
