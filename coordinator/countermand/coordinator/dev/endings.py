"""How often a process has ended lately: what is said of it, and how long its next start waits."""

import time
from collections.abc import Callable
from typing import Final

from countermand.coordinator.dev.processes import ending

FIRST_PAUSE_S: Final = 0.5
# Long enough to read what it said; whoever mends it saves a file, and a change of a file doesn't wait.
PAUSE_MAX_S: Final = 8.0
# Whoever has run for this long has recovered, and its next end is its first again.
STEADY_S: Final = 10.0
# After so many, ending is what it does: numbers instead of news.
NEWS_MAX: Final = 2


class Endings:
    """The ends of one process in a row, without a steady time between them."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._count = 0
        self._first_s = self._started_s = now_s()
        self.pause_s = FIRST_PAUSE_S

    def started(self) -> None:
        """It runs from now on."""
        self._started_s = self._now_s()

    def ended(self, code: int) -> str:
        """Notes one more end; says it in words. `pause_s` is how long the next start waits."""
        now_s = self._now_s()
        if not self._count or now_s - self._started_s > STEADY_S:
            self._count, self._first_s = 0, now_s
        self._count += 1
        # Before the power grows out of every float.
        self.pause_s = min(PAUSE_MAX_S, FIRST_PAUSE_S * 2 ** min(self._count - 1, 10))
        if self._count <= NEWS_MAX:
            return f"has ended ({ending(code)}); starting it again"
        span_s = now_s - self._first_s
        return f"ended {self._count} times in {span_s:.0f} s ({ending(code)}); next start in {self.pause_s:g} s"
