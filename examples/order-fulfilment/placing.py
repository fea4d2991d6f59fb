"""Places the orders, and kills processes while they are on their way."""

import asyncio
from typing import NamedTuple

from contracts import Order, Receipt
from saga import fulfil
from stage import Stage, say

from countermand.participants.client import Client, SagaOutcome

POLL_S = 0.25


class Kill(NamedTuple):
    """Kill the process `name` once `after` orders have ended."""

    after: int
    name: str


class Placing:
    """All orders of one run, at most `in_flight` of them at a time, and what became of each."""

    def __init__(self, stage: Stage, orders: list[Order], *, in_flight: int, kills: list[Kill], down_s: float) -> None:
        self.outcomes: dict[str, SagaOutcome[Receipt]] = {}
        self._stage = stage
        self._orders = orders
        self._places = asyncio.Semaphore(in_flight)
        self._kills = sorted(kills)
        self._down_s = down_s

    async def run(self, client: Client) -> None:
        """Returns when every order has ended and every process that was killed is back."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch_processes())
            async with asyncio.TaskGroup() as work:
                for order in self._orders:
                    work.create_task(self._place(client, order, work))
            watching.cancel()

    async def _place(self, client: Client, order: Order, work: asyncio.TaskGroup) -> None:
        async with self._places:
            # An impatient customer clicks twice. It is the same order, so it is the same saga.
            clicks = 2 if order.id.endswith("0") else 1
            handle, *_ = await asyncio.gather(*(client.start(fulfil, order, saga_id=order.id) for _ in range(clicks)))
            self.outcomes[order.id] = await handle.outcome()
        if len(self.outcomes) % max(1, len(self._orders) // 10) == 0:
            completed = sum(outcome.completed for outcome in self.outcomes.values())
            self._tell(f"{completed} completed, {len(self.outcomes) - completed} compensated")
        while self._kills and len(self.outcomes) >= self._kills[0].after:
            work.create_task(self._kill_and_start_again(self._kills.pop(0).name))

    async def _kill_and_start_again(self, name: str) -> None:
        process = self._stage.processes[name]
        if not process.running:
            return  # It is down already, from an earlier kill.
        process.kill()
        self._tell(f"KILLED {name} (kill -9 {process.pid})")
        await asyncio.sleep(self._down_s)
        process.start()
        self._tell(f"started {name} again as {process.pid}")

    async def _watch_processes(self) -> None:
        while True:
            for process in self._stage.processes.values():
                if process.was_killed():
                    process.start()
                    self._tell(f"somebody killed {process.name}; started it again as {process.pid}")
            await asyncio.sleep(POLL_S)

    def _tell(self, text: str) -> None:
        total = str(len(self._orders))
        say(f"{len(self.outcomes):>{len(total)}}/{total} orders ended: {text}")
