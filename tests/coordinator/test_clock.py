"""The one clock: the store's, carried forward, and not believed at once when it jumps."""

import pytest

from countermand.coordinator import clock as module
from countermand.coordinator.clock import StoreClock
from countermand.coordinator.telemetry import Counters

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
