"""Where stories happen: a world, opened when it is needed, and the loop that it runs in."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from countermand.coordinator.testing.effects import Look
from countermand.coordinator.testing.stage import Participants, opened
from countermand.coordinator.testing.timeline import written
from countermand.coordinator.testing.world import World


class Home:
    """One world and what was opened for it. In a plain test it has a loop of its own; else the caller's is used."""

    def __init__(self, participants: Participants, effects: Look | None, seed: int) -> None:
        self.participants = participants
        self.effects = effects
        self.seed = seed
        self._world: World | None = None
        self._stack = AsyncExitStack()
        self._runner: asyncio.Runner | None = None

    @property
    def timeline(self) -> str:
        return "" if self._world is None or not self._world.happenings else written(self._world.happenings)

    async def world(self) -> World:
        """The world, opened at the first asking."""
        if self._world is None:
            participants = await self._stack.enter_async_context(opened(self.participants))
            self._world = World(participants, seed=self.seed, effects=self.effects)
        return self._world

    def run(self, telling: Coroutine[Any, Any, None]) -> None:
        """Runs it to its end in the loop of this home."""
        __tracebackhide__ = True
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(telling)

    async def aclose(self) -> None:
        """Closes what was opened."""
        await self._stack.aclose()

    def close(self) -> None:
        """The same, in a plain test, and ends the loop."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            with runner:
                runner.run(self.aclose())


def loop_runs() -> bool:
    """Whether the caller is in an asynchronous test."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
