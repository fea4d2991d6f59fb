"""What an operator wrote in place of a definition's input is kept beside the state, by every store."""

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.draft import Parts
from countermand.coordinator.core.state import Saga
from countermand.coordinator.ports import Commit, Committed, Conflict, Loaded, SagaStore, Settlement
from countermand.schemas.identifiers import new_secret
from store.benches import Bench
from store.sagas import completed, reserved, signalled, started
from store.steps import HOUR_MS, claim, commit

# Text, numbers and order as a person wrote them: nothing of it may be read and written anew.
WRITTEN = msgspec.Raw('{"b": 1.0, "a": "é\\u0000", "c": [1e3, null]}'.encode())
OTHER = msgspec.Raw(b'{"sku":"B-2"}')


def edited(made: Commit, **edits: msgspec.Raw) -> Commit:
    """The same commit, with what an operator wrote for these steps."""
    saga = replace(made.saga, edits={**made.saga.edits, **edits})
    return replace(made, parts=made.parts | Parts(edits=edits), saga=saga)


async def load(store: SagaStore, saga_id: str = "s1") -> Saga:
    (loaded,) = await store.load([saga_id])
    assert isinstance(loaded, Loaded)
    return loaded.saga


async def test_an_edit_is_kept_byte_for_byte(bench: Bench) -> None:
    """It is loaded with the saga, in this commit and after every later one, to the end."""
    saga = await commit(bench.store, started("s1"))
    assert (await load(bench.store)).edits == {}
    saga = await commit(bench.store, edited(signalled(saga), ship=WRITTEN))
    found = await load(bench.store)
    assert found == saga
    assert bytes(found.edits["ship"]) == bytes(WRITTEN)
    saga = await commit(bench.store, reserved(found))
    assert (await load(bench.store)).edits == {"ship": WRITTEN}
    await commit(bench.store, completed(await load(bench.store)))
    assert (await load(bench.store)).edits == {"ship": WRITTEN}


async def test_a_later_edit_takes_the_place_of_an_earlier_one(bench: Bench) -> None:
    """Of the same step only."""
    saga = await commit(bench.store, started("s1"))
    saga = await commit(bench.store, edited(signalled(saga), ship=WRITTEN, charge=WRITTEN))
    saga = await commit(bench.store, edited(signalled(saga), ship=OTHER))
    assert (await load(bench.store)).edits == {"ship": OTHER, "charge": WRITTEN}


async def test_an_edit_is_not_taken_for_a_result(bench: Bench) -> None:
    """A step can have both."""
    saga = await commit(bench.store, started("s1"))
    await commit(bench.store, edited(reserved(saga), reserve=OTHER))
    found = await load(bench.store)
    assert found.edits == {"reserve": OTHER}
    assert found.results == {"reserve": msgspec.Raw(b'{"id":7}')}


async def test_an_edit_that_came_too_late_is_not_kept(bench: Bench) -> None:
    """Whoever loses the race changes nothing; the same commit made again changes nothing more."""
    saga = await commit(bench.store, started("s1"))
    late = edited(signalled(saga), ship=WRITTEN)
    won = edited(signalled(saga), charge=OTHER)
    await commit(bench.store, won)
    assert await bench.store.commit([late]) == [Conflict(2)]
    assert await bench.store.commit([won]) == [Committed()]
    assert (await load(bench.store)).edits == {"charge": OTHER}


async def test_a_version_may_leap(bench: Bench) -> None:
    """A saga that goes on after a loss goes on beyond every version that was lost: what is between was never there."""
    saga = await commit(bench.store, started("s1"))
    made = signalled(saga)
    leapt = replace(made.saga, state=replace(made.saga.state, version=1_000))
    records = tuple(replace(record, version=1_000) for record in made.records)
    await commit(bench.store, replace(made, saga=leapt, records=records, guard_ms=HOUR_MS))
    assert (await load(bench.store)).state.version == 1_000
    assert await bench.store.commit([replace(signalled(saga), token=new_secret())]) == [Conflict(1_000)]
    assert [record.version for record in await bench.store.history("s1")][-1] == 1_000
    # What was owed for a lost version is not settled for the new one's guard, and the new one's own is.
    await bench.store.settle([Settlement("s1", 2)])
    guarded = (await bench.due())["s1"]
    await bench.store.settle([Settlement("s1", 1_000)])
    assert (await bench.due())["s1"] != guarded
    assert await claim(bench.store) == ("s1",)
    await commit(bench.store, signalled(leapt))
    assert (await load(bench.store)).state.version == 1_001
