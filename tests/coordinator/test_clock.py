"""The one clock: the store's, carried forward, and not believed at once when it jumps."""

from typing import Any

import pytest

from countermand.coordinator import clock as module
from countermand.coordinator.clock import StoreClock
from countermand.coordinator.ports import Claimed, ClockJumped
from countermand.coordinator.process import OnePath
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.coordinator.telemetry import Counters
from countermand.coordinator.wakeups import WakeUps

HOUR_MS = 3_600_000


class SteadyHand:
    """A steady clock that a test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def steady() -> SteadyHand:
    return SteadyHand()


def test_goes_on_between_two_looks(steady: SteadyHand) -> None:
    """Between two looks at the store, time passes as this machine's steady clock says."""
    clock = StoreClock(Counters(), tolerance_ms=5_000, hold_ms=60_000, steady_ms=steady)
    clock.set(50_000)
    steady.now_ms += 700
    assert clock.now_ms() == 50_700


def test_a_jump_is_held_and_then_believed(steady: SteadyHand) -> None:
    """A clock that jumps is ignored for the hold, with an alarm; if it stays where it is, it is the time."""
    counters = Counters()
    clock = StoreClock(counters, tolerance_ms=5_000, hold_ms=60_000, steady_ms=steady)
    clock.set(50_000)
    clock.jumped(50_000 + HOUR_MS)
    assert clock.now_ms() == 50_000
    assert counters["clock_jumps"] == 1
    steady.now_ms += 59_999
    clock.jumped(50_000 + HOUR_MS + 59_999)
    assert clock.now_ms() == 109_999
    steady.now_ms += 1
    clock.jumped(50_000 + HOUR_MS + 60_000)
    assert clock.now_ms() == 50_000 + HOUR_MS + 60_000
    assert counters["clock_jumps"] == 1


def test_a_jump_that_is_taken_back_leaves_no_trace(steady: SteadyHand) -> None:
    """A clock that comes back within the hold is believed again at once, and the next jump is held anew."""
    clock = StoreClock(Counters(), tolerance_ms=5_000, hold_ms=60_000, steady_ms=steady)
    clock.set(50_000)
    clock.jumped(50_000 + HOUR_MS)
    steady.now_ms += 30_000
    clock.set(80_000)
    steady.now_ms += 40_000
    clock.jumped(120_000 + HOUR_MS)
    assert clock.now_ms() == 120_000


def test_the_steady_clock_is_steady() -> None:
    first = module.steady_ms()
    assert module.steady_ms() >= first


async def test_an_answer_that_was_read_late_does_not_set_the_clock(steady: SteadyHand) -> None:
    """A process that stalls before it reads the store's answer learns nothing about the time, and holds nothing."""
    counters = Counters()
    clock = StoreClock(counters, tolerance_ms=5_000, hold_ms=60_000, steady_ms=steady)
    clock.set(50_000)
    store = MemorySagaStore(retention_ms=1, now_ms=lambda: 49_000 + steady.now_ms)
    path = OnePath(store, None, None, clock, None, counters, guard_ms=1)  # type: ignore[arg-type]
    wake_ups = WakeUps(SlowToAnswer(store, steady), path, clock, counters, batch_max=1, lease_ms=1, poll_ms=1)
    await wake_ups.fire_once()
    assert clock.now_ms() == 49_000 + steady.now_ms
    await wake_ups.fire_once()
    assert counters["clock_jumps"] == 0


class SlowToAnswer(MemorySagaStore):
    """A store whose answers lie unread for twenty seconds."""

    def __init__(self, store: MemorySagaStore, steady: SteadyHand) -> None:
        self._store = store
        self._steady = steady

    async def claim_due(self, **asked: Any) -> Claimed | ClockJumped:
        claim = await self._store.claim_due(**asked)
        self._steady.now_ms += 20_000
        return claim
