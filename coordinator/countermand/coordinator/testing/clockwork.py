"""Virtual time: the moments at which something happens, in whole milliseconds, and chance from a seed."""

import heapq
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

# The year 2100, later than any real clock: a participant that keeps its own clock finds no command late.
BEGIN_MS: Final = 4_102_444_800_000
# How long a message is on its way. Two that are sent together may arrive in either order.
LATENCY_MS_MAX: Final = 4

Action = Callable[[], Awaitable[None]]


class Clockwork:
    """The clock, and what is to happen when. What stands at the same moment happens in the order of asking."""

    def __init__(self, seed: int) -> None:
        self._now_ms = BEGIN_MS
        self._agenda: list[tuple[int, int, Action]] = []
        self._asked = 0
        self._random = Random(seed)  # noqa: S311  Chance that can be had again is the point.

    def now_ms(self) -> int:
        return self._now_ms

    def elapsed_ms(self) -> int:
        """How much time has gone by since the beginning."""
        return self._now_ms - BEGIN_MS

    def after(self, delay_ms: int, action: Action) -> None:
        """Has something happen so much later than now."""
        self._asked += 1
        heapq.heappush(self._agenda, (self._now_ms + delay_ms, self._asked, action))

    def latency_ms(self) -> int:
        """How long the next message is on its way."""
        return self._random.randint(1, LATENCY_MS_MAX)

    def next_ms(self) -> int | None:
        """The moment of what happens next; null if nothing will."""
        return self._agenda[0][0] if self._agenda else None

    def advance_to(self, at_ms: int) -> None:
        """Moves the clock; never back."""
        self._now_ms = max(self._now_ms, at_ms)

    def take(self) -> Action:
        """What happens next; the clock stands at its moment."""
        at_ms, _, action = heapq.heappop(self._agenda)
        self.advance_to(at_ms)
        return action
