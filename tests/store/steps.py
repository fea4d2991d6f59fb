"""Steps that the contract's tests share."""

from countermand.coordinator.core.state import Saga
from countermand.coordinator.ports import Claimed, Commit, Committed, SagaStore
from store.benches import Bench

HOUR_MS = 60 * 60 * 1000


async def commit(store: SagaStore, made: Commit) -> Saga:
    """Commits what nobody else is after."""
    assert await store.commit([made]) == [Committed()]
    return made.saga


async def everything(bench: Bench, saga_id: str) -> tuple[object, ...]:
    """All that can be seen of a saga, to compare."""
    loaded = await bench.store.load([saga_id])
    return loaded, await bench.store.history(saga_id), await bench.due(), await bench.traces(saga_id)


async def claim(store: SagaStore, *, limit: int = 100, lease_ms: int = HOUR_MS) -> tuple[str, ...]:
    """What can be claimed, without a word about the clock."""
    claimed = await store.claim_due(limit=limit, lease_ms=lease_ms, expected_ms=None, tolerance_ms=0)
    assert isinstance(claimed, Claimed)
    return claimed.saga_ids
