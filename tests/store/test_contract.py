"""What every saga store promises, whatever it is made of."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from countermand.coordinator.core.state import Saga
from countermand.coordinator.ports import (
    Claimed,
    ClockJumped,
    Commit,
    Committed,
    Conflict,
    Loaded,
    Settlement,
)
from store.benches import Bench
from store.sagas import (
    NOW_MS,
    completed,
    refused,
    reserved,
    signalled,
    started,
    stuck,
    watched,
)
from store.steps import HOUR_MS, claim, commit, everything
from support import eventually

IN_MOTION = {"saga", "history", "due", "index:phase:running", "index:definition:order@1", "index:motion:order@1"}


# --- commit and load


async def test_a_commit_creates_a_saga(bench: Bench) -> None:
    """What was committed is what is loaded; the journal, the wake-up and the indexes came with it (I10)."""
    made = started("s1", tags=("vip", "eu"))
    await commit(bench.store, made)
    assert await bench.store.load(["s1"]) == [Loaded(made.saga)]
    assert await bench.store.history("s1") == list(made.records)
    assert await bench.due() == {"s1": made.wake_at_ms}
    assert await bench.traces("s1") == IN_MOTION | {"index:tag:vip", "index:tag:eu"}


async def test_a_commit_moves_a_saga_on(bench: Bench) -> None:
    """State, results, journal and wake-up move together."""
    saga = await commit(bench.store, started("s1"))
    made = reserved(saga)
    await commit(bench.store, made)
    assert await bench.store.load(["s1"]) == [Loaded(made.saga)]
    assert made.saga.results == {"reserve": msgspec.Raw(b'{"id":7}')}
    assert [record.version for record in await bench.store.history("s1")] == [1, 1, 2, 2]
    assert await bench.due() == {"s1": made.wake_at_ms}


async def test_a_completed_saga_keeps_its_outcome_and_leaves_the_due_index(bench: Bench) -> None:
    """An ended saga is never woken up; it stands where ended sagas stand, and waits for its retention's end."""
    saga = await commit(bench.store, started("s1"))
    made = completed(saga)
    assert made.saga.state.phase == "completed"
    await commit(bench.store, made)
    (loaded,) = await bench.store.load(["s1"])
    assert loaded is not None
    assert loaded.saga == made.saga
    assert loaded.saga.outcome == msgspec.Raw(b'{"stock":0}')
    assert await bench.due() == {}
    ended = {"saga", "history", "retire", "index:phase:completed", "index:definition:order@1"}
    assert await bench.traces("s1") == ended


async def test_sagas_are_loaded_in_the_order_asked_for(bench: Bench) -> None:
    """Unknown ids have their place too."""
    first, second = started("s1"), started("s2")
    assert await bench.store.commit([first, second]) == [Committed(), Committed()]
    assert await bench.store.load(["s2", "nobody", "s1"]) == [Loaded(second.saga), None, Loaded(first.saga)]
    assert await bench.store.load([]) == []


async def test_what_was_loaded_is_the_loaders_own(bench: Bench) -> None:
    """Spoiling a saga that was committed or loaded doesn't spoil the stored one."""
    made = started("s1")
    await commit(bench.store, made)
    (before,) = await bench.store.load(["s1"])
    assert before is not None
    kept = msgspec.msgpack.encode(before.saga.state)
    made.saga.state.steps.clear()
    made.saga.results["reserve"] = msgspec.Raw(b"1")
    before.saga.state.steps.clear()
    (after,) = await bench.store.load(["s1"])
    assert after is not None
    assert msgspec.msgpack.encode(after.saga.state) == kept
    assert after.saga.results == {}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda _: started("s1"), id="a second start"),
        pytest.param(lambda saga: reserved(saga), id="a step from an old version"),
    ],
)
async def test_who_comes_second_changes_nothing(bench: Bench, make: Callable[[Saga], Commit]) -> None:
    """A commit that expects another version is told the stored one, and leaves everything as it was (I10)."""
    first = await commit(bench.store, started("s1"))
    late = make(first)
    await commit(bench.store, watched(first))
    before = await everything(bench, "s1")
    assert await bench.store.commit([late]) == [Conflict(2)]
    assert await everything(bench, "s1") == before


async def test_a_saga_that_is_not_there_cannot_be_moved(bench: Bench) -> None:
    """A step of a saga that the store has lost is a conflict with nothing, not a resurrection."""
    moved = reserved(started("s1").saga)
    assert await bench.store.commit([moved]) == [Conflict(0)]
    assert await everything(bench, "s1") == ([None], [], {}, set())


async def test_the_same_commit_made_again_is_recognised(bench: Bench) -> None:
    """After a lost answer, the token says that this was it: nothing is applied twice."""
    made = started("s1")
    await commit(bench.store, made)
    before = await everything(bench, "s1")
    assert await bench.store.commit([made]) == [Committed()]
    assert await everything(bench, "s1") == before
    second = reserved(made.saga, guard_ms=HOUR_MS)
    await commit(bench.store, second)
    before = await everything(bench, "s1")
    assert await bench.store.commit([second, second]) == [Committed(), Committed()]
    assert await everything(bench, "s1") == before


async def test_a_commit_made_again_after_others_is_a_conflict(bench: Bench) -> None:
    """Only the last commit is remembered: whoever repeats an older one has to load again."""
    made = started("s1")
    saga = await commit(bench.store, made)
    await commit(bench.store, watched(saga))
    assert await bench.store.commit([made]) == [Conflict(2)]


async def test_of_many_rivals_exactly_one_wins(bench: Bench) -> None:
    """Compare-and-set: all see the same version, one gets its step, and the journal holds no other."""
    saga = await commit(bench.store, started("s1"))
    rivals = [watched(saga) for _ in range(12)]
    answers = await asyncio.gather(*(bench.store.commit([rival]) for rival in rivals))
    winners = [rival for rival, (answer,) in zip(rivals, answers, strict=True) if isinstance(answer, Committed)]
    assert len(winners) == 1
    assert answers.count([Conflict(2)]) == 11
    assert await bench.store.load(["s1"]) == [Loaded(winners[0].saga)]
    assert (await bench.store.history("s1"))[-1:] == list(winners[0].records)


async def test_each_commit_of_a_batch_stands_alone(bench: Bench) -> None:
    """One saga's conflict is no other saga's business; even two steps of one saga in one batch come in order."""
    one, two = await commit(bench.store, started("s1")), await commit(bench.store, started("s2"))
    step = reserved(one)
    batch = [step, watched(one), completed(two), reserved(step.saga), started("s3")]
    assert await bench.store.commit(batch[:3]) == [Committed(), Conflict(2), Committed()]
    follow = watched(step.saga)
    assert await bench.store.commit([follow, signalled(follow.saga), batch[4]]) == [Committed()] * 3
    assert [len(await bench.store.history(saga_id)) for saga_id in ("s1", "s3")] == [6, 2]


# --- wake-ups and guards


async def test_a_wake_up_is_set_moved_and_removed(bench: Bench) -> None:
    """There is one entry for a saga in motion, at its latest moment, and none for one that is stuck or has ended."""
    saga = await commit(bench.store, started("s1"))
    assert await bench.due() == {"s1": NOW_MS + 10_000}
    saga = await commit(bench.store, reserved(saga, at_ms=NOW_MS + 500))
    assert await bench.due() == {"s1": NOW_MS + 500 + 30_000}
    await commit(bench.store, completed(saga))
    other = await commit(bench.store, started("s2"))
    held = stuck(other)
    assert held.wake_at_ms is None
    await commit(bench.store, held)
    assert await bench.due() == {}


async def test_a_guard_stands_in_for_the_wake_up_until_it_is_settled(bench: Bench) -> None:
    """The guard is counted from the commit by the store's clock; settling puts the real wake-up in its place."""
    before_ms = await bench.store.now_ms()
    made = started("s1", guard_ms=5_000)
    await commit(bench.store, made)
    after_ms = await bench.store.now_ms()
    assert before_ms + 5_000 <= (await bench.due())["s1"] <= after_ms + 5_000
    assert await bench.store.load(["s1"]) == [Loaded(made.saga, guard=1)]
    await bench.store.settle([Settlement("s1", 1)])
    assert await bench.due() == {"s1": made.wake_at_ms}
    assert await bench.store.load(["s1"]) == [Loaded(made.saga)]


async def test_an_ended_saga_is_in_the_due_index_for_its_guard_only(bench: Bench) -> None:
    """What it has to say at its end is guarded too; once it is settled there is no wake-up at all."""
    saga = await commit(bench.store, started("s1"))
    await commit(bench.store, refused(saga, guard_ms=HOUR_MS))
    assert list(await bench.due()) == ["s1"]
    await bench.store.settle([Settlement("s1", 2)])
    assert await bench.due() == {}


async def test_settling_an_older_version_does_nothing(bench: Bench) -> None:
    """Whoever moved the saga on has set its wake-up, and answers for its messages."""
    saga = await commit(bench.store, started("s1", guard_ms=HOUR_MS))
    assert await bench.store.commit([reserved(saga, guard_ms=HOUR_MS)]) == [Committed(taken_over=1)]
    before = await everything(bench, "s1")
    await bench.store.settle([Settlement("s1", 1), Settlement("s1", 3), Settlement("s1", 0)])
    assert await everything(bench, "s1") == before
    await bench.store.settle([])


async def test_a_later_commit_takes_the_guard_over_and_says_which(bench: Bench) -> None:
    """The messages that it guards are the committer's now. If it crashes too, the guard still fires."""
    saga = await commit(bench.store, started("s1", guard_ms=HOUR_MS))
    guarded_until = await bench.due()
    made = reserved(saga)
    assert await bench.store.commit([made]) == [Committed(taken_over=1)]
    assert await bench.due() == guarded_until
    assert await bench.store.load(["s1"]) == [Loaded(made.saga, guard=1)]
    await bench.store.settle([Settlement("s1", made.saga.state.version)])
    assert await bench.due() == {"s1": made.wake_at_ms}
    assert await bench.store.load(["s1"]) == [Loaded(made.saga)]
    assert await bench.store.commit([watched(made.saga)]) == [Committed(taken_over=None)]


async def test_a_guarded_commit_over_a_guard_keeps_the_older_one(bench: Bench) -> None:
    """Two crashes in a row: what the first left unsent is still known after the second."""
    saga = await commit(bench.store, started("s1", guard_ms=HOUR_MS))
    made = msgspec.structs.replace(reserved(saga), guard_ms=HOUR_MS)
    assert await bench.store.commit([made]) == [Committed(taken_over=1)]
    assert await bench.store.load(["s1"]) == [Loaded(made.saga, guard=1)]


async def test_settling_version_zero_clears_a_wake_up_without_a_saga(bench: Bench) -> None:
    """A due entry that stands for nothing is removed by whoever finds that out; for a real saga it does nothing."""
    saga = await commit(bench.store, started("s1"))
    before = await everything(bench, "s1")
    await bench.store.settle([Settlement("s1", 0), Settlement("nobody", 0)])
    assert await everything(bench, "s1") == before
    assert saga.state.version == 1


async def test_a_claim_leases_what_is_due(bench: Bench) -> None:
    """What is due is handed out once; nobody else gets it before the lease ends, and then it comes again."""
    await commit(bench.store, started("past"))
    await commit(bench.store, started("future", at_ms=await bench.store.now_ms() + HOUR_MS))
    assert await claim(bench.store, lease_ms=300) == ("past",)
    assert await claim(bench.store) == ()
    assert await eventually(lambda: claim(bench.store), timeout_s=5) == ("past",)
    now_ms = await bench.store.now_ms()
    assert now_ms < (await bench.due())["past"] <= now_ms + HOUR_MS


async def test_rivals_share_what_is_due(bench: Bench) -> None:
    """Each due saga goes to exactly one of those that claim at the same time."""
    ids = [f"s{number}" for number in range(40)]
    await bench.store.commit([started(saga_id) for saga_id in ids])
    claims = await asyncio.gather(*(claim(bench.store, limit=8) for _ in range(12)))
    claims.append(await claim(bench.store, limit=1_000))
    assert sorted(saga_id for each in claims for saga_id in each) == sorted(ids)


async def test_a_claim_ends_with_a_commit_or_a_settlement(bench: Bench) -> None:
    """A lease is nothing but a later wake-up: what the saga really needs takes its place."""
    saga = await commit(bench.store, started("s1"))
    other = await commit(bench.store, started("s2"))
    assert sorted(await claim(bench.store)) == ["s1", "s2"]
    moved = watched(saga)
    await commit(bench.store, moved)
    await bench.store.settle([Settlement("s2", other.state.version)])
    assert await bench.due() == {"s1": moved.wake_at_ms, "s2": NOW_MS + 10_000}


async def test_a_claim_says_the_time_and_believes_no_jump(bench: Bench) -> None:
    """A clock that is elsewhere than expected claims nothing; within the tolerance it does."""
    await commit(bench.store, started("s1"))
    for off_ms in (-HOUR_MS, HOUR_MS):
        expected_ms = await bench.store.now_ms() + off_ms
        jumped = await bench.store.claim_due(
            limit=10, lease_ms=HOUR_MS, expected_ms=expected_ms, tolerance_ms=HOUR_MS // 2
        )
        assert isinstance(jumped, ClockJumped)
        assert jumped.expected_ms == expected_ms
        assert abs(jumped.now_ms - expected_ms + off_ms) < 10_000
    assert await bench.due() == {"s1": NOW_MS + 10_000}
    now_ms = await bench.store.now_ms()
    claimed = await bench.store.claim_due(limit=10, lease_ms=HOUR_MS, expected_ms=now_ms + 100, tolerance_ms=60_000)
    assert isinstance(claimed, Claimed)
    assert claimed.saga_ids == ("s1",)
    assert now_ms <= claimed.now_ms <= await bench.store.now_ms()
