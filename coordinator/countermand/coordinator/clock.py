"""The one clock of all coordinators: the store's, carried forward by this machine's steady clock."""

import time
from collections.abc import Callable

import structlog

from countermand.coordinator.telemetry import Counters

log = structlog.get_logger(__name__)


def steady_ms() -> int:
    """A clock that never jumps, in milliseconds since nobody knows when."""
    return time.monotonic_ns() // 1_000_000


# An answer that was so long on its way, or waited so long to be read, says little about what time it is now.
SAMPLE_MS_MAX = 1_000


class StoreClock:
    """Knows the store's time without asking for it at every event.

    A store's clock that jumps is not believed at once: for `hold_ms` nothing is fired, and time goes on as before. If
    the new time still stands then, it is the time.
    """

    def __init__(
        self, counters: Counters, *, tolerance_ms: int, hold_ms: int, steady_ms: Callable[[], int] = steady_ms
    ) -> None:
        self.tolerance_ms = tolerance_ms
        self._hold_ms = hold_ms
        self.steady_ms = steady_ms
        self._counters = counters
        self._offset_ms: int | None = None
        self._jumped_at_ms: int | None = None

    def now_ms(self) -> int:
        """The store's time, as far as it is known."""
        if self._offset_ms is None:
            raise RuntimeError("the clock has not been set yet")
        return self.steady_ms() + self._offset_ms

    def expected_ms(self) -> int | None:
        """What the store should say if asked now; null while it has not been asked yet."""
        return None if self._offset_ms is None else self.now_ms()

    def set(self, store_ms: int, *, took_ms: int = 0) -> None:
        """Takes the store's word, which took so long to come. A word that is old when it comes is left aside."""
        if took_ms > SAMPLE_MS_MAX:
            return
        self._offset_ms = store_ms - self.steady_ms()
        self._jumped_at_ms = None

    def jumped(self, store_ms: int) -> None:
        """The store's clock is elsewhere; it is believed if it still is after the hold."""
        steady = self.steady_ms()
        if self._jumped_at_ms is None:
            self._jumped_at_ms = steady
            self._counters.count("clock_jumps")
            log.error("store_clock_jumped", by_ms=store_ms - self.now_ms(), held_ms=self._hold_ms)
        elif steady - self._jumped_at_ms >= self._hold_ms:
            log.warning("store_clock_believed", by_ms=store_ms - self.now_ms())
            self.set(store_ms)
