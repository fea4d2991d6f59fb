"""Sagas under way while something is done to the system."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from countermand.participants.client import Client
from faults.judge import story
from faults.orders import DEFINITIONS, Placed
from faults.stage import Stage
from support import eventually

# Far below the timeouts of patient sagas: whoever waits for one of those has lost a message.
PATIENCE_S: Final = 60.0
IN_FLIGHT: Final = 50


class Load:
    """Starts sagas, so many at a time, and keeps what became of each. Every start must be accepted in the end."""

    def __init__(self, stage: Stage, orders: Sequence[Placed], in_flight: int) -> None:
        self.orders = orders
        self.accepted: set[str] = set()
        self.told: dict[str, str] = {}
        self._stage = stage
        self._places = asyncio.Semaphore(in_flight)

    async def run(self, client: Client) -> None:
        async with asyncio.TaskGroup() as tasks:
            for placed in self.orders:
                tasks.create_task(self._place(client, placed))

    async def ended(self, count: int) -> None:
        """Returns when so many sagas have ended, and others are in flight: a fault now is a fault under load."""
        await eventually(lambda: len(self.told) >= count, timeout_s=PATIENCE_S, message=f"{count} sagas have ended")
        assert len(self.accepted) > len(self.told), "nothing is in flight: the fault comes too late"

    async def retries_awaited(self, count: int) -> None:
        """Returns when so many steps wait for their next attempt: wake-ups will ask for it, and nobody else."""

        async def waiting() -> bool:
            found = await self._stage.store.load([placed.saga_id for placed in self.orders])
            steps = [step for each in found if each is not None for step in each.saga.state.steps.values()]
            return sum(step.do.status == "waiting" for step in steps) >= count

        await eventually(waiting, timeout_s=PATIENCE_S)

    async def _place(self, client: Client, placed: Placed) -> None:
        async with self._places:
            handle = await client.start(placed.definition, placed.order, saga_id=placed.saga_id)
            self.accepted.add(placed.saga_id)
            self.told[placed.saga_id] = (await handle.outcome()).phase


@contextlib.asynccontextmanager
async def loaded(
    stage: Stage,
    orders: Sequence[Placed],
    *,
    in_flight: int = IN_FLIGHT,
    patience_s: float = PATIENCE_S,
    settle: bool = False,
    before: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Load]:
    """A load that runs while the block does what it does; leaving the block waits for the end of every saga.

    `before` is done when everything is declared and registered, and no saga has begun.

    `settle` is for who means to kill the broker: RabbitMQ 3.10 writes the names of new quorum queues to disk half a
    second later, and a queue that is younger when the node is killed never answers again. That is a fault of its own,
    which no client can mend, and not the one that is meant.
    """
    load = Load(stage, orders, in_flight)
    async with stage.client() as client:
        # Whoever comes up later declares things, and could mend unseen what a test is about to break.
        await stage.ready()
        for definition in DEFINITIONS:
            await client.register(definition)
        if settle:
            # Registering has declared the queues of the participants; everybody else's were declared before.
            await stage.broker.settle_declarations_async()
        if before is not None:
            await before()
        running = asyncio.create_task(load.run(client))
        try:
            yield load
            done, _ = await asyncio.wait({running}, timeout=patience_s)
            if not done:
                waiting = [placed.saga_id for placed in orders if placed.saga_id not in load.told]
                complaint = f"not ended after {patience_s:g} s: {', '.join(waiting)}"
                raise AssertionError(
                    await story(stage, [complaint], [each for each in waiting if each in load.accepted])
                )
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
