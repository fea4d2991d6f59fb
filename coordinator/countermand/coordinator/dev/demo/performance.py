"""The run itself: orders are placed, processes are killed, and it is told as it happens."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from countermand.coordinator.dev.demo.actors import Actor, Cast, DemoFailed
from countermand.coordinator.dev.demo.census import Census
from countermand.coordinator.dev.demo.frame import ActorLine, Frame
from countermand.coordinator.dev.demo.screen import Screen, Tone
from countermand.coordinator.ports import SagaStore
from countermand.schemas.errors import CountermandError

COORDINATOR: Final = "coordinator"
# Often enough to look alive; a look costs one round trip for the sagas in motion.
LOOK_S: Final = 0.1
# A run takes half a minute. After this something is stuck, and saying so is better than waiting.
PATIENCE_S: Final = 240.0


class Kill(msgspec.Struct, frozen=True, order=True):
    """Kill the process `name` once `after` orders have ended."""

    after: int
    name: str


class Performance:
    """One run: what the shop has said so far, where every order is, and who is dead at the moment."""

    def __init__(
        self,
        cast: Cast,
        store: SagaStore,
        order_ids: list[str],
        *,
        screen: Screen,
        kills: Sequence[Kill],
        down_s: float,
        begun_s: float,
    ) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self.killed: Counter[str] = Counter()
        # The sagas that were in motion when a coordinator was killed: they have the most to tell.
        self.interrupted: set[str] = set()
        self.census = Census(order_ids)
        self._cast = cast
        self._store = store
        self._screen = screen
        self._kills = sorted(kills)
        self._down_s = down_s
        self._begun_s = begun_s
        self._placed: set[str] = set()
        # When the coordinator was killed, and the steps there were then; until work goes on.
        self._silence: tuple[float, int] | None = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._begun_s

    def tell(self, text: str, tone: Tone = "plain") -> None:
        self._screen.tell(self.elapsed_s, text, tone)

    def hear(self, event: dict[str, Any]) -> None:
        """What the shop says."""
        if "placing" in event:
            self._placed.add(event["placing"])
        elif "ended" in event:
            self.told[event["ended"]["saga_id"]] = event["ended"]

    async def run(self) -> None:
        """Returns when every order has ended and every process that was killed is back.

        Raises:
            DemoFailed: a process ended by itself, or an order does not end.
            StoreUnavailable: the store doesn't answer.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._watch()
        except TimeoutError as error:
            missing = ", ".join(saga_id for saga_id in self.census.places if saga_id not in self.told)
            raise DemoFailed(f"after {PATIENCE_S:g} s these have not ended: {missing}") from error
        await self._look()
        self._screen.rest(self._frame())

    async def _watch(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._over():
                    await self._look()
                    while self._kills and len(self.told) >= self._kills[0].after:
                        kill = self._kills.pop(0)
                        tasks.create_task(self._kill_and_start_again(self._cast.actors[kill.name]))
                    await asyncio.sleep(LOOK_S)
        except ExceptionGroup as group:
            # As one of them says it, whichever is first. From an `except*`, Python 3.11.2 would raise it in a group.
            known = [error for error in group.exceptions if isinstance(error, CountermandError)]
            raise (known[0] if known else group) from None

    def _over(self) -> bool:
        return len(self.told) == len(self.census.places) and not self._kills

    async def _look(self) -> None:
        await self.census.look(self._store, self._placed, self.elapsed_s)
        for actor in self._cast.actors.values():
            if await actor.was_killed():
                await actor.start()
                self.tell(f"somebody killed {actor.name}; started it again as process {actor.pid}", "bad")
        if self._silence is not None and self.census.steps > self._silence[1]:
            seconds = self.elapsed_s - self._silence[0]
            self.tell(f"the sagas go on where they were, after {seconds:.1f} s without a coordinator", "good")
            self._silence = None
        self._screen.draw(self._frame())

    async def _kill_and_start_again(self, actor: Actor) -> None:
        if actor.condition != "up":
            return  # It is down already, from an earlier kill.
        pid = actor.pid
        await actor.kill()
        self.killed[actor.name] += 1
        # What it had committed up to its last moment is in the store, and counts as before.
        await self.census.look(self._store, self._placed, self.elapsed_s)
        in_motion = self.census.in_motion
        self.tell(f"kill -9 {pid}: {actor.name} is gone, with {len(in_motion)} sagas in motion", "bad")
        if actor.name == COORDINATOR:
            self.interrupted.update(in_motion)
            self._silence = (self.elapsed_s, self.census.steps)
        await asyncio.sleep(self._down_s)
        await actor.start()
        self.tell(f"started {actor.name} again as process {actor.pid}", "good")

    def _frame(self) -> Frame:
        return Frame(
            elapsed_s=self.elapsed_s,
            places=list(self.census.places.values()),
            rates=list(self.census.rates),
            actors=[ActorLine(each.name, each.condition, each.pid) for each in self._cast.actors.values()],
        )
