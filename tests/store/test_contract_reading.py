"""What every saga store promises about reading, definitions and housekeeping, whatever it is made of."""

from collections.abc import Awaitable, Callable

import pytest

from countermand.coordinator.core.journal import Record
from countermand.coordinator.ports import (
    DefinitionTaken,
    Loaded,
    SagaQuery,
    SavedDefinition,
)
from countermand.schemas.definition import definition_hash
from countermand.schemas.messages import Rejected, Succeeded
from store.benches import Bench
from store.sagas import (
    NOW_MS,
    PLAN,
    answered,
    completed,
    decided,
    definition,
    refused,
    signalled,
    started,
    stuck,
)
from store.steps import commit, everything
from support import eventually

IN_MOTION = {"saga", "history", "due", "index:phase:running", "index:definition:order@1", "index:motion:order@1"}


# --- reading


async def test_the_history_is_read_in_parts(bench: Bench) -> None:
    """From the beginning, from the middle and from the end; beyond both ends there is nothing."""
    saga = await commit(bench.store, started("s1"))
    for _ in range(8):
        saga = await commit(bench.store, signalled(saga))
    whole = await bench.store.history("s1")
    assert len(whole) == 10
    assert all(isinstance(record, Record) for record in whole)

    async def part(start: int, limit: int) -> list[Record]:
        return await bench.store.history("s1", start=start, limit=limit)

    assert await part(0, 3) == whole[:3]
    assert await part(4, 3) == whole[4:7]
    assert await part(8, 100) == whole[8:]
    assert await part(10, 5) == []
    assert await part(-3, 3) == whole[-3:]
    assert await part(-3, 100) == whole[-3:]
    assert await part(-5, 2) == whole[5:7]
    assert await part(-1_000, 1_000) == whole
    assert await part(0, 0) == []
    assert await bench.store.history("nobody") == []


# --- definitions


async def test_a_definition_is_stored_once_and_for_all(bench: Bench) -> None:
    """The same content again is the same; other content under the same name and version is refused and named."""
    store = bench.store
    first, other = definition(), definition(timeout_ms=11_000)
    identity = definition_hash(first)
    assert await store.save_definition(first) == SavedDefinition(identity)
    assert await store.save_definition(first) == SavedDefinition(identity)
    assert await store.save_definition(other) == DefinitionTaken(identity)
    assert await store.definition(identity) == first
    assert await store.definition(definition_hash(other)) is None
    assert await store.definition_hash("order", 1) == identity
    assert await store.definitions() == [first]


async def test_the_newest_definition_is_the_one_with_the_highest_version(bench: Bench) -> None:
    """By number, not by text and not by the order in which they came; an older one is still there."""
    store = bench.store
    versions = {number: definition(version=number) for number in (9, 10, 2)}
    for each in versions.values():
        await store.save_definition(each)
    await store.save_definition(definition("another", 11))
    assert await store.definition_hash("order", None) == definition_hash(versions[10])
    assert await store.definition_hash("order", 2) == definition_hash(versions[2])
    assert await store.definition_hash("order", 3) is None
    assert await store.definition_hash("nobody", None) is None
    assert await store.definitions() == [definition("another", 11), *(versions[number] for number in (2, 9, 10))]


# --- housekeeping


async def walked(ask: Callable[[], Awaitable[list[str]]]) -> set[str]:
    """Everything that a walk in parts finds: twice as many parts as there can be, so that it begins again too."""
    return {saga_id for _ in range(40) for saga_id in await ask()}


async def test_a_saga_without_a_wake_up_is_found_and_mended(bench: Bench) -> None:
    """What only a fault can do is seen; ended and stuck sagas sleep rightly (I3)."""
    store = bench.store
    await store.commit([started(f"s{number}") for number in range(5)])
    back = await commit(store, started("back"))
    replies = [answered(back.state, "reserve", Succeeded()), answered(back.state, "charge", Rejected("no_money"))]
    await commit(store, decided(back, replies))
    await commit(store, completed(await commit(store, started("done"))))
    await commit(store, stuck(await commit(store, started("held"))))
    assert await walked(lambda: store.sleepers(limit=2)) == set()

    for saga_id in ("s1", "s3", "back"):
        await bench.forget_due(saga_id)
    assert await walked(lambda: store.sleepers(limit=2)) == {"s1", "s3", "back"}

    assert not await store.put_due("s1", 2, NOW_MS)
    assert not await store.put_due("s2", 1, NOW_MS)
    assert not await store.put_due("nobody", 1, NOW_MS)
    assert await store.put_due("s1", 1, NOW_MS + 5)
    assert await store.put_due("back", 3, NOW_MS + 6)
    assert not await store.put_due("s1", 1, NOW_MS + 7)
    due = await bench.due()
    assert (due["s1"], due["back"], due["s2"]) == (NOW_MS + 5, NOW_MS + 6, NOW_MS + 10_000)
    assert await walked(lambda: store.sleepers(limit=2)) == {"s3"}


@pytest.mark.parametrize("retention_ms", [1], indirect=True)
async def test_retirement_removes_a_saga_whole(bench: Bench) -> None:
    """Saga, history and every index entry go together; sagas in motion stay whatever their age."""
    store = bench.store
    await commit(store, completed(await commit(store, started("done", tags=("vip",)))))
    await commit(store, refused(await commit(store, started("lost"))))
    await commit(store, started("running", tags=("vip",)))
    await commit(store, stuck(await commit(store, started("held"))))
    gone = 0

    async def all_retired() -> bool:
        nonlocal gone
        gone += await store.retire(limit=1)
        return gone == 2

    await eventually(all_retired)
    assert await store.retire(limit=100) == 0
    for saga_id in ("done", "lost"):
        assert await everything(bench, saga_id) == ([None], [], {"running": NOW_MS + 10_000}, set())
    assert [state.saga_id for state in (await store.sagas(SagaQuery(tags=("vip",)))).states] == ["running"]
    assert await bench.traces("held") >= {"saga", "history", "index:stuck:any"}


async def test_an_ended_saga_is_kept_for_its_retention(bench: Bench) -> None:
    """It can be read, and a repeated start recognised, until then."""
    await commit(bench.store, completed(await commit(bench.store, started("done"))))
    assert await bench.store.retire(limit=100) == 0
    assert await bench.store.load(["done"]) != [None]


@pytest.mark.parametrize("retention_ms", [1], indirect=True)
async def test_a_saga_that_ends_in_the_middle_of_a_batch_is_retired_too(bench: Bench) -> None:
    """A fact that comes after the end, a moment later but in the same commit, doesn't make the saga eternal."""
    saga = await commit(bench.store, started("s1"))
    reply = answered(saga.state, "reserve", Rejected("sold_out"), at_ms=NOW_MS + 1)
    again = answered(saga.state, "reserve", Rejected("sold_out"), at_ms=NOW_MS + 2)
    made = decided(saga, [reply, again])
    assert made.saga.state.ended_ms == NOW_MS + 1
    assert made.saga.state.updated_ms == NOW_MS + 2
    await commit(bench.store, made)
    await eventually(lambda: bench.store.retire(limit=100), timeout_s=3)
    assert await bench.traces("s1") == set()


@pytest.mark.parametrize("retention_ms", [1], indirect=True)
async def test_a_retired_id_can_be_used_again(bench: Bench) -> None:
    """Nothing of the former saga shows in the new one."""
    await commit(bench.store, completed(await commit(bench.store, started("s1"))))
    await eventually(lambda: bench.store.retire(limit=100))
    made = started("s1", at_ms=NOW_MS + 50)
    await commit(bench.store, made)
    assert await everything(bench, "s1") == (
        [Loaded(made.saga)],
        list(made.records),
        {"s1": made.wake_at_ms},
        IN_MOTION,
    )
    assert PLAN.hash == made.saga.state.definition_hash
