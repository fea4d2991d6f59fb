"""What every store promises about the participants that announce themselves, whatever it is made of."""

import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from countermand.coordinator.store import memory_registry, registry
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage
from store.benches import Bench, RedisBench
from support import eventually

WEEK_MS = 7 * 24 * 60 * 60 * 1000
RESERVE = AnnouncedAction("reserve", compensation=True, schema={"command": {"type": "object"}})


def said(participant: str, instance: str, *actions: AnnouncedAction) -> AnnounceMessage:
    return AnnounceMessage(participant, instance, actions or (RESERVE,), library="countermand 1", started_ms=7)


async def test_every_process_has_one_place(bench: Bench) -> None:
    """What it says again takes the place of what it said before; others keep theirs. All come back, by name."""
    store = bench.store
    assert await store.participants() == []
    await store.announce(said("stock", "two"))
    await store.announce(said("stock", "one"))
    await store.announce(said("bank", "one"))
    newer = said("stock", "one", AnnouncedAction("count"))
    await store.announce(newer)
    kept = await store.participants()
    assert [each.announcement for each in kept] == [said("bank", "one"), newer, said("stock", "two")]


async def test_a_process_was_last_seen_when_it_announced_itself(bench: Bench) -> None:
    """By the store's clock, and newer with every announcement."""
    store = bench.store
    before_ms = await store.now_ms()
    await store.announce(said("stock", "one"))
    (first,) = await store.participants()
    assert before_ms <= first.seen_ms <= await store.now_ms()

    async def seen_later() -> bool:
        await store.announce(said("stock", "one"))
        (again,) = await store.participants()
        return again.seen_ms > first.seen_ms

    await eventually(seen_later)


async def test_who_says_goodbye_is_forgotten(bench: Bench) -> None:
    """At once, and nobody else; a goodbye of somebody unknown changes nothing."""
    for name in ("one", "two"):
        await bench.store.announce(said("stock", name))
    await bench.store.announce(msgspec.structs.replace(said("stock", "one"), stopping=True))
    await bench.store.announce(msgspec.structs.replace(said("bank", "two"), stopping=True))
    assert [each.announcement for each in await bench.store.participants()] == [said("stock", "two")]


async def test_who_is_gone_for_long_is_forgotten(bench: Bench) -> None:
    """Those not heard of for the time given, at most so many in one go; nobody else."""
    store = bench.store
    for name in ("one", "two", "three"):
        await store.announce(said("stock", name))
    assert await store.forget_participants(unseen_ms=WEEK_MS, limit=10) == 0
    assert len(await store.participants()) == 3
    # A negative time is in the future: everybody was last seen before it.
    assert await store.forget_participants(unseen_ms=-60_000, limit=2) == 2
    assert len(await store.participants()) == 1
    assert await store.forget_participants(unseen_ms=-60_000, limit=2) == 1
    assert await store.participants() == []


async def test_room_is_made_by_those_not_heard_of_for_longest(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A participant that crashes and starts again for ever pushes its own dead out, never those that live."""
    for module in (registry, memory_registry):
        monkeypatch.setattr(module, "ANNOUNCED_MAX", 3)
    for number in range(5):
        await _at_a_moment_of_its_own(bench.store.now_ms)
        await bench.store.announce(said("crashing", f"life-{number}"))
        await bench.store.announce(said("living", "one"))
    kept = [(each.announcement.participant, each.announcement.instance) for each in await bench.store.participants()]
    assert kept == [("crashing", "life-3"), ("crashing", "life-4"), ("living", "one")]


async def test_announcements_are_no_sagas(bench: Bench) -> None:
    """They stand in keys of their own: nothing that walks the sagas meets them."""
    await bench.store.announce(said("stock", "one"))
    assert await bench.traces("one") == set()
    assert await bench.due() == {}


async def test_both_keys_go_together(redis_bench: RedisBench) -> None:
    """No moment without an announcement stays behind, and no announcement without a moment."""
    await redis_bench.store.announce(said("stock", "one"))
    assert len(await redis_bench.keys()) == 2
    await redis_bench.store.forget_participants(unseen_ms=-60_000, limit=10)
    assert await redis_bench.keys() == []


async def _at_a_moment_of_its_own(now_ms: Callable[[], Awaitable[int]]) -> None:
    """Returns when the store's clock has moved on."""
    began_ms = await now_ms()
    deadline = time.monotonic() + 5
    while await now_ms() == began_ms:
        assert time.monotonic() < deadline, "the store's clock stands still"


async def test_a_participant_has_a_part_of_the_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever announces ever new processes pushes out its own past, and never another participant."""
    for module in (registry, memory_registry):
        monkeypatch.setattr(module, "ANNOUNCED_OF_ONE_MAX", 2)
    await bench.store.announce(said("living", "one"))
    for number in range(4):
        await _at_a_moment_of_its_own(bench.store.now_ms)
        await bench.store.announce(said("crashing", f"life-{number}"))
    kept = [(each.announcement.participant, each.announcement.instance) for each in await bench.store.participants()]
    assert kept == [("crashing", "life-2"), ("crashing", "life-3"), ("living", "one")]


async def test_one_that_nobody_can_read_hides_no_other(redis_bench: RedisBench) -> None:
    """An entry that is damaged, or that no calendar has a moment for, is left out."""
    await redis_bench.store.announce(said("stock", "one"), said("stock", "two"), said("bank", "one"))
    documents = next(key for key in await redis_bench.keys() if "announced" in key)
    await redis_bench.raw.hset(documents, "stock/two", b"{")
    await redis_bench.raw.hset(
        documents, "bank/one", b'{"participant":"bank","instance":"one","started_ms":9007199254740991}'
    )
    assert [each.announcement for each in await redis_bench.store.participants()] == [said("stock", "one")]
