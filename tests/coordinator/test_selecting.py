"""Which sagas a filter means: for bulk actions, in groups, and page after page for people."""

import re

import pytest

from countermand.coordinator.core.state import StuckCause
from countermand.coordinator.operate import listing
from countermand.coordinator.operate.filters import Filter, FilterError, parse, to_text
from countermand.coordinator.operate.listing import page, why_nothing
from countermand.coordinator.operate.selecting import filter_of, select, stuck_groups
from countermand.coordinator.store.memory import MemorySagaStore
from store.sagas import NOW_MS, completed, definition, paused, refused, reserved, started, stuck
from store.seeding import seed_stuck
from store.steps import commit

HOUR_MS = 3_600_000
LATER_MS = NOW_MS + 3 * HOUR_MS


@pytest.fixture
def store() -> MemorySagaStore:
    """Empty, and three hours after the moment at which sagas are started if nothing else is said."""
    return MemorySagaStore(retention_ms=HOUR_MS, now_ms=lambda: LATER_MS)


@pytest.fixture
async def varied(store: MemorySagaStore) -> MemorySagaStore:
    """One saga of each kind, an hour apart from the next."""
    await store.save_definition(definition())
    await commit(store, started("young", at_ms=LATER_MS - 60_000, tags=("vip",)))
    await commit(store, reserved(await commit(store, started("charging")), at_ms=NOW_MS + HOUR_MS))
    await commit(store, completed(await commit(store, started("done", tags=("vip",)))))
    await commit(store, refused(await commit(store, started("sold-out"))))
    await commit(store, stuck(await commit(store, started("stuck")), at_ms=NOW_MS + 2 * HOUR_MS))
    await commit(store, paused(await commit(store, started("paused")), at_ms=NOW_MS + HOUR_MS))
    return store


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("phase:running", {"young", "charging", "paused"}),
        ("definition:order", {"young", "charging", "done", "sold-out", "stuck", "paused"}),
        ("definition:order@2", set()),
        ("tag:vip", {"young", "done"}),
        ("stuck:any", {"stuck"}),
        ("hold:paused", {"paused"}),
        ("step:charge", {"charging", "stuck"}),
        ("step:reserve", {"young", "paused"}),
        ("step:charge stuck:any", {"stuck"}),
        ("step:ship stuck:any", set()),
        ("error:bank_closed", {"stuck"}),
        ("error:sold_out", {"sold-out"}),
        ("error:no_carrier", set()),
        ('stuck:any error:""', set()),
        ('error:""', set()),
        ("age:>1h phase:running", {"charging", "paused"}),
        ("age:<1h", {"young"}),
        ("age:>1m", {"charging", "done", "sold-out", "stuck", "paused"}),
        ("age:<60001ms", {"young"}),
        ("age:<1m", set()),
        ("since:>30m", {"stuck", "paused"}),
        ("since:>1h", {"paused"}),
        ("since:<2h", {"stuck"}),
        ("updated:<90m", {"young", "stuck"}),
        ("updated:>2h phase:completed", {"done"}),
    ],
)
async def test_a_filter_means_what_it_says(varied: MemorySagaStore, text: str, expected: set[str]) -> None:
    """Each condition, by the indexes or by looking at the sagas; for acting and for listing the same."""
    selection = await select(varied, parse(text), limit=100, at_ms=LATER_MS)
    assert {each.saga_id for each in selection.sagas} == expected
    listed = await page(varied, parse(text), limit=100)
    assert {row["saga_id"] for row in listed.sagas} == expected


async def test_a_selection_is_frozen_and_says_whether_it_was_cut(store: MemorySagaStore) -> None:
    """Ids with their versions, oldest first, at most so many, and no word of what comes later."""
    made = [started(f"s{number}", at_ms=NOW_MS + number) for number in range(5)]
    await store.commit(made)
    moved = await commit(store, reserved(made[1].saga))
    everything = await select(store, parse("phase:running"), limit=5, at_ms=LATER_MS)
    assert everything.sagas == (("s0", 1), ("s1", moved.state.version), ("s2", 1), ("s3", 1), ("s4", 1))
    assert (everything.more, everything.cutoff_ms) == (False, LATER_MS)
    some = await select(store, parse("phase:running"), limit=3, at_ms=LATER_MS)
    assert ([each.saga_id for each in some.sagas], some.more) == (["s0", "s1", "s2"], True)
    assert not (await select(store, parse("phase:running"), limit=3, at_ms=NOW_MS + 2)).more


async def test_what_matches_only_later_is_not_selected(store: MemorySagaStore) -> None:
    """Sagas that were started, stuck, paused or ended after the moment are left alone."""
    await commit(store, stuck(await commit(store, started("stuck")), at_ms=NOW_MS + 10))
    await commit(store, paused(await commit(store, started("paused")), at_ms=NOW_MS + 10))
    await commit(store, completed(await commit(store, started("done")), at_ms=NOW_MS + 10))
    await commit(store, started("new", at_ms=NOW_MS + 10))
    for text, saga_id in (("stuck:any", "stuck"), ("hold:paused", "paused"), ("phase:completed", "done")):
        assert (await select(store, parse(text), limit=9, at_ms=NOW_MS + 9)).sagas == ()
        assert [each.saga_id for each in (await select(store, parse(text), limit=9, at_ms=NOW_MS + 10)).sagas] == [
            saga_id
        ]
    running = await select(store, parse("phase:running"), limit=9, at_ms=NOW_MS + 9)
    assert [each.saga_id for each in running.sagas] == ["paused"]


CAUSES: tuple[tuple[StuckCause, str, str, int], ...] = (
    ("compensation_exhausted", "charge", "bank_closed", 600),
    ("compensation_rejected", "reserve", "too late, sorry", 300),
    ("forward_exhausted", "ship", "", 100),
)


async def test_each_group_is_meant_by_its_own_filter(store: MemorySagaStore) -> None:
    """A thousand stuck sagas of three causes: the largest first, and acting on one group touches no other."""
    await seed_stuck(store, CAUSES)
    groups = await stuck_groups(store)
    assert [(each.cause, each.step, each.code, each.count) for each in groups] == list(CAUSES)
    for group in groups:
        selection = await select(store, parse(to_text(filter_of(group))), limit=1_000, at_ms=LATER_MS)
        assert len(selection.sagas) == group.count
        assert set(group.samples) <= {each.saga_id for each in selection.sagas}
    assert [each.count for each in await stuck_groups(store, parse("stuck:compensation_rejected"))] == [300]
    assert [each.count for each in await stuck_groups(store, parse('error:""'))] == [100]
    assert len(await stuck_groups(store, parse("definition:order stuck:any"))) == 3
    with pytest.raises(FilterError, match="definition, stuck, step or error"):
        await stuck_groups(store, parse("tag:vip"))


async def test_pages_follow_each_other(store: MemorySagaStore) -> None:
    """Also where only the sagas themselves know whether they match: a page is cut where it is full."""
    made = [started(f"s{number}") for number in range(9)]
    await store.commit(made)
    await store.commit([reserved(each.saga) for each in made[::2]])
    found: list[str] = []
    after: str | None = None
    while True:
        listed = await page(store, parse("step:charge"), newest_first=False, limit=2, after=after)
        found += [row["saga_id"] for row in listed.sagas]
        after = listed.next
        if after is None:
            break
        assert re.fullmatch(rf"{NOW_MS}\.s[0-9]", after)
    assert found == ["s0", "s2", "s4", "s6", "s8"]


async def test_a_page_that_looks_at_too_many_goes_on_later(
    store: MemorySagaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is short, and says where to go on."""
    monkeypatch.setattr(listing, "LOOKED_AT_MAX", 4)
    monkeypatch.setattr(listing, "PART", 2)
    made = [started(f"s{number}") for number in range(9)]
    await store.commit([*made, reserved(made[0].saga)])
    listed = await page(store, parse("step:charge"), limit=2)
    assert (listed.sagas, listed.looked_at, listed.next) == ((), 4, f"{NOW_MS}.s5")
    with pytest.raises(ValueError, match="'yesterday' is not a cursor"):
        await page(store, Filter(), limit=2, after="yesterday")


async def test_an_empty_listing_is_explained(varied: MemorySagaStore) -> None:
    """How many sagas there are, how many meet each condition, and how many failed by the rest."""
    filter_ = parse("phase:running tag:vip stuck:any")
    nothing = await why_nothing(varied, filter_, await page(varied, filter_, limit=5))
    assert (nothing.sagas, nothing.met) == (6, 0)
    assert nothing.alone == {"phase:running": 3, "tag:vip": 2, "stuck:any": 1}
    filter_ = parse("tag:vip error:nobody_home")
    nothing = await why_nothing(varied, filter_, await page(varied, filter_, limit=5))
    assert (nothing.alone, nothing.met) == ({"tag:vip": 2}, 2)


async def test_a_row_tells_where_a_saga_stands(varied: MemorySagaStore) -> None:
    """Phase, holds, what it is stuck on, how much of it is done, and its age."""
    listed = await page(varied, parse("stuck:any"), limit=5)
    (row,) = listed.sagas
    told = {name: row[name] for name in ("phase", "paused", "stuck", "stuck_step", "stuck_error", "age_ms")}
    assert told == {
        "phase": "compensating",
        "paused": False,
        "stuck": "compensation_exhausted",
        "stuck_step": "charge",
        "stuck_error": "bank_closed",
        "age_ms": 3 * HOUR_MS,
    }
    assert (row["steps_done"], row["steps_total"], row["started"][:4]) == (2, 3, "2023")
