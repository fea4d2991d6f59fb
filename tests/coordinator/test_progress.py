"""How far a saga has come, as a list tells it; and what a look at one brings along."""

import pytest

from coordinator import node_tales
from coordinator.node_tales import SAGA_ID, Tale, step
from countermand.coordinator.operate.acting import effect_of
from countermand.coordinator.operate.filters import parse
from countermand.coordinator.operate.listing import page
from countermand.coordinator.operate.looking import look, over
from countermand.coordinator.operate.matching import matches
from countermand.coordinator.operate.progress import Progress, progress
from countermand.coordinator.operate.step_stories import ChildLook
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.schemas.definition import ForEachNode, ScopeNode
from countermand.schemas.messages import Failed
from countermand.schemas.operations import DecideApproval, RetryStep


@pytest.fixture
def store() -> MemorySagaStore:
    return MemorySagaStore(retention_ms=1_000, now_ms=lambda: node_tales.START_MS + 1_000)


def test_steps_of_loops_count_for_each_item() -> None:
    """And those of both branches; the limit is no step of the definition."""
    tale = node_tales.half_a_loop()
    assert progress(tale.plan.definition, tale.whole.whole().state) == Progress(117, 117, 202)
    tale = node_tales.everything()
    assert progress(tale.plan.definition, tale.state) == Progress(4, 3, 10)
    assert progress(None, tale.state) == Progress(5, 4, None)


async def test_a_list_counts_what_was_put_away_or_says_that_it_is_much(store: MemorySagaStore) -> None:
    """The numbers of a small loop are exact; of a large saga nobody would wait for them."""
    await node_tales.half_a_loop().put(store)
    small = Tale(ForEachNode("all", [1, 2], step("charge"), 1), saga_id="small", name="small")
    small.succeeds("charge[0]")
    await small.put(store)
    await Tale(step("charge"), saga_id="plain", name="plain").put(store)
    rows = {row["saga_id"]: row for row in (await page(store, parse(""), limit=10)).sagas}
    steps = {saga_id: (row["steps_done"], row["steps_standing"], row["steps_total"]) for saga_id, row in rows.items()}
    assert steps == {SAGA_ID: (None, None, None), "small": (1, 1, 2), "plain": (0, 0, 1)}


async def test_a_look_brings_the_children_along(store: MemorySagaStore) -> None:
    """As far as the store knows them; and a saga that waits for somebody is not over."""
    tale = node_tales.everything()
    await tale.put(store)
    first = await look(store, SAGA_ID)
    assert first is not None
    car = next(each for each in first.story.steps if each.sort == "child")
    assert car.child == ChildLook(f"{SAGA_ID}:book_car")
    await Tale(step("rent"), saga_id=f"{SAGA_ID}:book_car", name="car-rental").put(store)
    again = await look(store, SAGA_ID)
    assert again is not None
    car = next(each for each in again.story.steps if each.sort == "child")
    assert car.child == ChildLook(f"{SAGA_ID}:book_car", "running")
    assert not over(again)


def test_steps_at_work_go_by_the_definitions_names() -> None:
    """A filter asks for `ask_quote`, and finds whichever item of it is out or stuck."""
    assert matches(parse("step:ask_quote"), node_tales.loop(5).state, 0)
    assert matches(parse("step:ask_quote"), node_tales.stuck_loop().state, 0)
    assert not matches(parse("step:reserve"), node_tales.loop(5).state, 0)


def test_a_retry_in_a_scope_on_its_way_back_is_of_its_undo() -> None:
    """Although the saga as a whole goes forward."""
    tale = Tale(ScopeNode("hotel", node_tales.sequence(step("book"), step("pay"))), step("last"))
    tale.succeeds("book")
    tale.rejects("pay")
    tale.rejects("book", "not_ours")
    assert tale.state.stuck is not None
    before = tale.whole
    tale.operates(RetryStep("book"))
    pending = effect_of(before, tale.whole, RetryStep())
    assert (pending.standing, pending.text) == (
        "pending",
        "attempt 2 of the compensation of step book is out; not answered yet",
    )
    tale.answers("book", Failed("broken"))
    assert effect_of(before, tale.whole, RetryStep()).standing == "failed_again"


def test_a_decision_takes_effect_at_once() -> None:
    """Whatever the saga then does."""
    tale = node_tales.everything()
    before = tale.whole
    (asked,) = tale.story().approvals
    tale.decides("fraud_review", "denied", "fraud")
    effect = effect_of(before, tale.whole, DecideApproval("fraud_review", "denied", asked.digest))
    assert (effect.standing, effect.text) == ("took_effect", "fraud_review is denied; the saga is running")
