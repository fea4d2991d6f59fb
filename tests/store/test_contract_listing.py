"""What every saga store promises about listing and counting, whatever it is made of."""

import random

import pytest
from msgspec.structs import replace

from countermand.coordinator.core import Plan
from countermand.coordinator.core.state import SagaState
from countermand.coordinator.ports import Census, Place, SagaQuery, SagaStore, StuckGroup
from countermand.schemas.operations import AbandonSaga, ResumeSaga, RetryStep
from store.benches import Bench
from store.sagas import NOW_MS, completed, definition, operated, paused, refused, reserved, started, stuck
from store.steps import commit
from support import eventually


async def ids(store: SagaStore, query: SagaQuery) -> list[str]:
    """The one page that a query has."""
    page = await store.sagas(query)
    assert page.next is None
    return [state.saga_id for state in page.states]


async def walked(store: SagaStore, query: SagaQuery) -> list[SagaState]:
    """Every page, one after another."""
    found: list[SagaState] = []
    while True:
        page = await store.sagas(query)
        assert len(page.states) <= query.limit
        found += page.states
        if page.next is None:
            return found
        query = replace(query, after=page.next)


def group(code: str, count: int, first_ms: int, last_ms: int, *samples: str) -> StuckGroup:
    return StuckGroup("order@1", "compensation_exhausted", "charge", code, count, first_ms, last_ms, samples)


# --- listing


async def test_sagas_are_listed_by_what_they_are(bench: Bench) -> None:
    """Each condition alone, conditions together, newest first, and at most so many."""
    store = bench.store
    running = await commit(store, started("running", at_ms=NOW_MS, tags=("vip",)))
    done = await commit(store, completed(await commit(store, started("done", at_ms=NOW_MS + 1))))
    await commit(store, refused(await commit(store, started("lost", at_ms=NOW_MS + 2, tags=("vip",)))))
    await commit(store, stuck(await commit(store, started("held", at_ms=NOW_MS + 3)), at_ms=NOW_MS + 9))
    await commit(store, started("quiet", at_ms=NOW_MS + 4, tags=("vip", "eu")))
    await commit(store, paused(await commit(store, started("asleep", at_ms=NOW_MS + 5, tags=("eu",)))))

    page = await store.sagas(SagaQuery(order="oldest", limit=2))
    assert page.states == (running.state, done.state)
    assert page.next == Place(NOW_MS + 1, "done")
    assert await ids(store, SagaQuery()) == ["asleep", "quiet", "held", "lost", "done", "running"]
    assert await ids(store, SagaQuery(order="oldest")) == ["running", "done", "lost", "held", "quiet", "asleep"]
    assert await ids(store, SagaQuery(phase="running")) == ["asleep", "quiet", "running"]
    assert await ids(store, SagaQuery(phase="abandoned")) == []
    assert await ids(store, SagaQuery(in_motion=True)) == ["asleep", "quiet", "held", "running"]
    assert await ids(store, SagaQuery(tags=("vip",))) == ["quiet", "lost", "running"]
    assert await ids(store, SagaQuery(tags=("vip", "eu"))) == ["quiet"]
    assert await ids(store, SagaQuery(paused=True)) == ["asleep"]
    assert await ids(store, SagaQuery(paused=True, tags=("vip",))) == []
    assert await ids(store, SagaQuery(stuck="any")) == ["held"]
    assert await ids(store, SagaQuery(stuck="compensation_exhausted")) == ["held"]
    assert await ids(store, SagaQuery(stuck="pivot_unknown")) == []
    assert await ids(store, SagaQuery(stuck="any", stuck_step="charge", stuck_error="bank_closed")) == ["held"]
    assert await ids(store, SagaQuery(stuck="any", stuck_step="ship")) == []
    assert await ids(store, SagaQuery(stuck="any", stuck_error="bank_open")) == []
    assert await ids(store, SagaQuery(phase="compensating", stuck="any")) == ["held"]
    assert await ids(store, SagaQuery(phase="running", tags=("vip",), definition="order@1")) == ["quiet", "running"]
    assert await ids(store, SagaQuery(phase="running", stuck="any")) == []


async def test_sagas_are_listed_by_the_moment_of_their_start(bench: Bench) -> None:
    """From a moment on, before a moment, and both."""
    await bench.store.commit([started(f"s{number}", at_ms=NOW_MS + number) for number in range(5)])
    assert await ids(bench.store, SagaQuery(started_from_ms=NOW_MS + 3)) == ["s4", "s3"]
    assert await ids(bench.store, SagaQuery(started_before_ms=NOW_MS + 2)) == ["s1", "s0"]
    both = SagaQuery(started_from_ms=NOW_MS + 1, started_before_ms=NOW_MS + 3, order="oldest", phase="running")
    assert await ids(bench.store, both) == ["s1", "s2"]
    assert await ids(bench.store, SagaQuery(started_from_ms=NOW_MS + 9)) == []
    assert await ids(bench.store, SagaQuery(started_before_ms=NOW_MS)) == []


async def test_a_name_means_all_versions_of_a_definition(bench: Bench) -> None:
    """A name and version mean that one; another definition whose name only begins alike is another one."""
    store = bench.store
    for number, known in enumerate([definition(), definition(version=2), definition("order-2")]):
        await store.save_definition(known)
        await commit(store, started(f"s{number}", at_ms=NOW_MS + number, plan=Plan(known)))
    assert await ids(store, SagaQuery(definition="order")) == ["s1", "s0"]
    assert await ids(store, SagaQuery(definition="order@2")) == ["s1"]
    assert await ids(store, SagaQuery(definition="order-2")) == ["s2"]
    assert await ids(store, SagaQuery(definition="order@3")) == []
    assert await ids(store, SagaQuery(definition="nothing")) == []


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [1, 3, 7, 1_000])
async def test_no_saga_of_one_moment_is_skipped_and_none_comes_twice(bench: Bench, order: str, limit: int) -> None:
    """Pages of any size, over all partitions and phases, while most sagas share one moment."""
    chosen = random.Random(limit)
    names = [f"s-{chosen.choice('aAzZ.:-_')}{number}" for number in range(40)]
    made = [started(name, at_ms=NOW_MS + (0 if number < 30 else number % 3)) for number, name in enumerate(names)]
    await bench.store.commit(made)
    await bench.store.commit([completed(each.saga) for each in made[::4]] + [refused(each.saga) for each in made[1::4]])
    expected = sorted((each.saga.state.started_ms, each.saga.state.saga_id) for each in made)
    found = await walked(bench.store, SagaQuery(order=order, limit=limit))  # type: ignore[arg-type]
    places = [(state.started_ms, state.saga_id) for state in found]
    assert places == (expected if order == "oldest" else expected[::-1])


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_conditions_are_checked_on_every_page(bench: Bench, order: str) -> None:
    """Whatever index is walked: the pages together are what matches, in order."""
    chosen = random.Random(7)
    made = [
        started(f"s{number:02}", at_ms=NOW_MS + number // 10, tags=tuple(chosen.sample(["a", "b", "c"], 2)))
        for number in range(40)
    ]
    await bench.store.commit(made)
    await bench.store.commit([completed(each.saga) for each in made[::3]])
    expected = [
        each.saga.state.saga_id for number, each in enumerate(made) if number % 3 and "b" in each.saga.state.tags
    ]
    query = SagaQuery(phase="running", tags=("b",), definition="order@1", limit=4)
    found = await walked(bench.store, replace(query, order=order))
    assert [state.saga_id for state in found] == (expected if order == "oldest" else expected[::-1])


async def test_a_saga_that_is_listed_from_is_not_needed_for_going_on(bench: Bench) -> None:
    """Between two pages sagas move, end and begin; those that match all the while come exactly once."""
    store = bench.store
    made = [started(f"s{number}") for number in range(8)]
    await store.commit(made)
    query = SagaQuery(phase="running", limit=3)
    first = await store.sagas(query)
    assert [state.saga_id for state in first.states] == ["s7", "s6", "s5"]
    await store.commit([completed(made[number].saga) for number in (5, 3)] + [started("s9"), started("s31")])
    rest = await walked(store, replace(query, after=first.next))
    assert [state.saga_id for state in rest] == ["s4", "s31", "s2", "s1", "s0"]


async def test_the_end_of_a_listing_is_told(bench: Bench) -> None:
    """A page that ends with the last saga has no next one."""
    await bench.store.commit([started(f"s{number}") for number in range(4)])
    page = await bench.store.sagas(SagaQuery(limit=4))
    assert (len(page.states), page.next) == (4, None)
    page = await bench.store.sagas(SagaQuery(limit=3))
    assert page.next == Place(NOW_MS, "s1")
    assert await ids(bench.store, SagaQuery(limit=3, after=page.next)) == ["s0"]
    assert await ids(bench.store, SagaQuery(limit=3, after=Place(NOW_MS, "s0"))) == []
    assert await ids(bench.store, SagaQuery(after=Place(1, "s0"), tags=("nobody",))) == []


# --- counting


async def test_conditions_are_counted_each_on_its_own(bench: Bench) -> None:
    """What a listing that is empty can be explained with."""
    store = bench.store
    await store.save_definition(definition())
    await store.commit([started(f"s{number}", tags=("vip",) if number else ()) for number in range(4)])
    asked = SagaQuery(phase="running", definition="order", stuck="any", tags=("vip", "eu"), paused=True)
    assert await store.counts(asked) == {
        "phase:running": 4,
        "definition:order": 4,
        "stuck:any": 0,
        "hold:paused": 0,
        "tag:vip": 3,
        "tag:eu": 0,
    }
    assert await store.counts(SagaQuery()) == {}


async def test_stuck_sagas_are_grouped_and_counted(bench: Bench) -> None:
    """By definition, cause, step and error; a group has its ends in time and the ids of those stuck for longest."""
    store = bench.store
    assert await store.stuck_groups() == []
    strange = 'bank|of {"x"}: 100% "λ"\n'
    for number, code in enumerate(["closed"] * 5 + [strange] * 2):
        await commit(store, stuck(await commit(store, started(f"s{number}")), at_ms=NOW_MS + 10 - number, code=code))
    await commit(store, started("running"))
    found = sorted(await store.stuck_groups(), key=lambda each: each.count)
    assert found == [
        group(strange, 2, NOW_MS + 4, NOW_MS + 5, "s6", "s5"),
        group("closed", 5, NOW_MS + 6, NOW_MS + 10, "s4", "s3", "s2"),
    ]
    asked = SagaQuery(definition="order@1", stuck="compensation_exhausted", stuck_step="charge", stuck_error=strange)
    assert await ids(store, asked) == ["s6", "s5"]


async def test_a_group_that_is_empty_is_gone(bench: Bench) -> None:
    """Sagas that are freed, end or are stuck on something else leave their group; a later one makes it anew."""
    store = bench.store
    one = await commit(store, stuck(await commit(store, started("s1"))))
    two = await commit(store, stuck(await commit(store, started("s2"))))
    await commit(store, operated(one, RetryStep(), at_ms=NOW_MS + 20))
    assert await store.stuck_groups() == [group("bank_closed", 1, NOW_MS + 2, NOW_MS + 2, "s2")]
    await commit(store, operated(two, AbandonSaga(), at_ms=NOW_MS + 21))
    assert await store.stuck_groups() == []
    await commit(store, stuck(await commit(store, started("s3")), at_ms=NOW_MS + 30))
    assert await store.stuck_groups() == [group("bank_closed", 1, NOW_MS + 30, NOW_MS + 30, "s3")]


async def test_the_census_counts_every_saga(bench: Bench) -> None:
    """By phase, hold and cause, and those in motion by definition: what has ended or moved on is not counted there."""
    store = bench.store
    other = Plan(definition(version=2))
    assert sum((await store.census()).phases.values()) == 0
    one = await commit(store, started("s1"))
    await commit(store, completed(await commit(store, started("s2"))))
    await commit(store, stuck(await commit(store, started("s3"))))
    held = await commit(store, paused(await commit(store, started("s4"))))
    last = await commit(store, started("s5", plan=other))
    census = await store.census()
    assert {phase: count for phase, count in census.phases.items() if count} == {
        "running": 3,
        "compensating": 1,
        "completed": 1,
    }
    assert (census.paused, census.stuck["compensation_exhausted"], sum(census.stuck.values())) == (1, 1, 1)
    assert census.in_motion == {"order@1": 3, "order@2": 1}
    await commit(store, operated(held, ResumeSaga(), at_ms=NOW_MS + 9))
    await commit(store, operated(last, AbandonSaga(), at_ms=NOW_MS + 9))
    await commit(store, reserved(one))
    census = await store.census()
    assert isinstance(census, Census)
    assert (census.paused, census.in_motion, census.phases["abandoned"]) == (0, {"order@1": 3}, 1)


@pytest.mark.parametrize("retention_ms", [1], indirect=True)
async def test_what_is_retired_is_not_listed_and_not_counted(bench: Bench) -> None:
    """Retirement leaves nothing in any index, counted or not."""
    store = bench.store
    await commit(store, started("running"))
    await commit(store, operated(await commit(store, stuck(await commit(store, started("s1")))), AbandonSaga()))
    await eventually(lambda: store.retire(limit=10))
    assert await ids(store, SagaQuery()) == ["running"]
    assert await store.stuck_groups() == []
    census = await store.census()
    assert (census.in_motion, census.phases["abandoned"]) == ({"order@1": 1}, 0)
