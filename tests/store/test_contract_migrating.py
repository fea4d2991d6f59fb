"""A saga that goes over to another version, in every store: it is found under it, and what did its steps is kept."""

from msgspec.structs import replace

from countermand.coordinator.core import Plan
from countermand.coordinator.core.events import OperationRequested
from countermand.coordinator.ports import SagaQuery
from countermand.schemas.definition import SequenceNode
from countermand.schemas.operations import AbandonSaga, MigrateSaga
from store.benches import Bench
from store.sagas import NOW_MS, PLAN, decided, definition, operated, paused, reserved, started
from store.steps import commit


async def test_a_migrated_saga_is_listed_and_counted_where_it_is_now(bench: Bench) -> None:
    """The indexes of both versions follow; the compensation that the former one asks for is counted to the end."""
    store = bench.store
    reserve = replace(PLAN.steps["reserve"], participant="warehouse", input={"new": True})
    root = SequenceNode((reserve, PLAN.steps["charge"], PLAN.steps["ship"]))
    target = Plan(replace(definition(version=2), root=root))
    held = await commit(store, paused(await commit(store, started("s1"))))
    done = await commit(store, reserved(held))
    request = OperationRequested("r", NOW_MS + 9, "r", MigrateSaga(2), "ada", "because", "content", target=target)
    moved = await commit(store, decided(done, [request]))
    (loaded,) = await store.load(["s1"])
    assert loaded is not None
    assert loaded.saga == moved
    assert bytes(moved.edits["reserve"]) == b'{"sku":"A-1"}'
    assert [state.saga_id for state in (await store.sagas(SagaQuery(definition="order@2"))).states] == ["s1"]
    assert (await store.sagas(SagaQuery(definition="order@1"))).states == ()
    census = await store.census()
    assert (census.in_motion, census.undo_routes) == ({"order@2": 1}, {"inventory/reserve": 1})
    await commit(store, operated(moved, AbandonSaga(), at_ms=NOW_MS + 10))
    census = await store.census()
    assert (census.in_motion, census.undo_routes) == ({}, {})
