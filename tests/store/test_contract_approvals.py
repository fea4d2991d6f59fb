"""What every saga store promises about finding approvals and items of loops, whatever it is made of."""

from typing import Any

from coordinator import node_tales
from coordinator.node_tales import HOUR_MS, START_MS, Tale, step
from countermand.coordinator.operate.approvals import waiting_approvals
from countermand.coordinator.ports import SagaQuery, SagaStore
from countermand.coordinator.store.indexes import index_entries
from countermand.schemas.definition import ApprovalNode
from store.benches import Bench


def asking(saga_id: str, hours: int = 24, **more: Any) -> Tale:
    """A saga that waits for a decision for so many hours."""
    review = ApprovalNode("review", deadline_ms=hours * HOUR_MS, shows={"trip": node_tales.path("input.trip")}, **more)
    return Tale(review, step("book"), saga_id=saga_id)


async def found(store: SagaStore, role: str | None = None, assignee: str | None = None) -> list[str]:
    page = await waiting_approvals(store, role=role, assignee=assignee, limit=10)
    assert not page.more
    return [each.saga_id for each in page.approvals]


async def test_approvals_are_found_by_who_may_decide(bench: Bench) -> None:
    """By role, by person, by either; the one with the least time left first; and no longer once they are decided."""
    store = bench.store
    decided = asking("s-3", role="fraud")
    decided.decides("review", "approved", "fraud")
    assert not [entry for entry in index_entries(decided.state) if entry.name.startswith("approval")]
    for tale in (
        asking("s-1", hours=30, role="fraud", assignees=("alice",)),
        asking("s-2", hours=20, assignees=("bob, the |boss", "alice")),
        decided,
        asking("s-4", role="a role: with signs"),
        Tale(step("book"), saga_id="s-5"),
    ):
        await tale.put(store)
    assert await found(store) == ["s-2", "s-4", "s-1"]
    assert await found(store, role="fraud") == ["s-1"]
    assert await found(store, assignee="alice") == ["s-2", "s-1"]
    assert await found(store, assignee="bob, the |boss") == ["s-2"]
    assert await found(store, role="a role: with signs", assignee="bob, the |boss") == ["s-2", "s-4"]
    assert await found(store, role="alice") == []
    assert (await store.sagas(SagaQuery(approval="alice"))).states == ()
    page = await waiting_approvals(store, role=None, assignee=None, limit=2)
    assert (len(page.approvals), page.more) == (2, True)
    assert await store.counts(SagaQuery(approval="any", assignee="alice")) == {"approval:any": 3, "assignee:alice": 2}


async def test_a_role_that_joins_finds_the_approval(bench: Bench) -> None:
    """From the moment of its escalation on, and not before."""
    tale = asking("s-1", role="fraud", escalate_after_ms=HOUR_MS, escalate_to="managers")
    await tale.put(bench.store)
    assert await found(bench.store, role="managers") == []
    tale = asking("s-2", role="fraud", escalate_after_ms=HOUR_MS, escalate_to="managers")
    tale.goes_by(HOUR_MS)
    await tale.put(bench.store)
    assert await found(bench.store, role="managers") == ["s-2"]
    assert tale.now_ms == START_MS + HOUR_MS


async def test_the_items_of_a_loop_are_one_group(bench: Bench) -> None:
    """Sagas that are stuck on the same step, on whichever of its items, and they are found by the step's name."""
    for number, item in enumerate((1, 3, 3)):
        await node_tales.stuck_loop(f"s-{number}", item).put(bench.store)
    (group,) = await bench.store.stuck_groups()
    assert (group.step, group.code, group.count) == ("ask_quote", "not_ours", 3)
    page = await bench.store.sagas(SagaQuery(stuck="any", stuck_step="ask_quote"))
    assert len(page.states) == 3
