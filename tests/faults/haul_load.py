"""Hauls under way while something is done to the system, and everybody who takes part in them."""

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from countermand.participants.client import Client, RequestRefused
from faults.haul_judge import Haul, Told, ledger, story
from faults.haulage import DEFINITIONS, PARTICIPANTS, Item, Job, Paid, haul
from faults.stage import START_S, TESTS, Role, Stage
from support import RabbitServer, RedisServer, eventually

COORDINATORS: Final = ("coordinator-a", "coordinator-b")
COMPLETED: Final = frozenset({"completed"})
COMPENSATED: Final = frozenset({"compensated"})
EITHER: Final = COMPLETED | COMPENSATED


class HaulStage(Stage):
    """A stage whose participants are the hauls'."""

    def __init__(self, broker: RabbitServer, redis: RedisServer, namespace: str, folder: Path) -> None:
        super().__init__(broker, redis, namespace, folder)
        # How often each had been at work before its last restart.
        self._beginnings: dict[str, int] = {}

    async def hauler(self, name: str) -> Role:
        """Starts one participant, in a process of its own."""
        address = [str(self.folder), self.broker.amqp_url, self.redis.url, self.topology.prefix]
        arguments = [sys.executable, "-m", "faults.haulers", *address, name]
        return await self._start(name, arguments, {"PYTHONPATH": str(TESTS)}, ready=["participant_started"])

    async def everybody(self) -> None:
        for name in COORDINATORS:
            await self.coordinator(name)
        for name in PARTICIPANTS:
            await self.hauler(name)

    async def restart(self, *names: str) -> None:
        """Kills them, all at once, and starts them again."""
        await asyncio.gather(*(self.roles[name].kill() for name in names))
        for name in names:
            self._beginnings[name] = self._ready_count(name)
            await self.roles[name].start()

    async def back(self) -> None:
        """Returns when everybody who was restarted is at work: before that nobody can end politely."""
        for name, count in self._beginnings.items():
            await eventually(
                lambda name=name, count=count: self._ready_count(name) > count,  # type: ignore[misc]
                timeout_s=START_S,
                message=f"{name} is at work again",
            )

    def _ready_count(self, name: str) -> int:
        return len(self.roles[name].events("coordinator_ready", "participant_started"))

    @property
    def queues(self) -> list[str]:
        return [self.topology.participant_queue(name) for name in PARTICIPANTS] + self.inbox_queues


def hauls(count: int, *, items: int, accounts: int) -> list[Haul]:
    """So many sagas of every fate, always the same."""
    fates: list[tuple[dict[str, str], frozenset[str], str]] = [
        ({}, COMPLETED, ""),
        ({"answer": "lost"}, COMPLETED, ""),
        ({"refuse": f"picked[{items - 3}]"}, COMPENSATED, "sold_out"),
        ({"answer": "nothing done"}, COMPENSATED, "AnswerLost"),
        ({"refuse": "part"}, COMPENSATED, "part_refused"),
        ({"refuse": "decided"}, COMPENSATED, "decided_against"),
    ]
    found: list[Haul] = []
    for number in range(count):
        changes, ends, code = fates[number % len(fates)]
        listed = [Item(place, seals=(place + number) % 4 != 0) for place in range(items)]
        found.append(Haul(f"h-{number}", Job(f"a-{number % accounts}", listed, **changes), ends, code))
    return found


class HaulLoad:
    """Starts all of them at once, and keeps what became of each. `cancelled` are those that somebody wants undone."""

    def __init__(self, stage: HaulStage, hauls: Sequence[Haul], amounts: Mapping[str, int]) -> None:
        self.told: dict[str, Told] = {}
        self.amounts = amounts
        self._stage = stage
        self._hauls = hauls

    async def run(self, client: Client, cancelled: Mapping[str, int]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in self._hauls:
                tasks.create_task(self._haul(client, each))
            for account, amount in self.amounts.items():
                tasks.create_task(self._pay(client, account, amount))
            for saga_id, count in cancelled.items():
                tasks.create_task(self._cancel(client, saga_id, count))

    async def booked(self, count: int) -> None:
        """Returns when so many effects are booked and not every saga has ended: a fault now is a fault under load."""
        await self._until(lambda: len(ledger(self._stage.folder)) >= count, f"{count} effects")
        assert len(self.told) < len(self._hauls), "nothing is under way: the fault comes too late"

    async def _until(self, reached: Callable[[], bool], what: str) -> None:
        def done() -> bool:
            try:
                return reached() or len(self.told) == len(self._hauls)
            except sqlite3.OperationalError as error:
                # A ledger that a killed writer has left is being mended.
                raise AssertionError(str(error)) from error

        await eventually(done, timeout_s=120, interval_s=0.05, message=what)

    async def _haul(self, client: Client, each: Haul) -> None:
        handle = await client.start(haul, each.job, saga_id=each.saga_id)
        outcome = await handle.outcome()
        code = "" if outcome.failure is None else outcome.failure.code
        self.told[each.saga_id] = Told(outcome.phase, outcome.result, code)

    async def _pay(self, client: Client, account: str, amount: int) -> None:
        """Some events come before anybody waits for them, others while somebody does."""
        if amount % 2:
            place = [each.saga_id for each in self._hauls if each.job.account == account]
            await self._until(lambda: self._part_done(place), f"somebody waits for {account}")
        await client.publish_event(Paid(amount=amount), key=account, event_id=f"paid-{account}")

    def _part_done(self, saga_ids: Sequence[str]) -> bool:
        parents = {each.saga_id.partition(":")[0] for each in ledger(self._stage.folder) if each.step == "part"}
        return not parents.isdisjoint(saga_ids)

    async def _cancel(self, client: Client, saga_id: str, count: int) -> None:
        def far() -> bool:
            return sum(each.saga_id == saga_id for each in ledger(self._stage.folder)) >= count

        await self._until(far, f"{saga_id} has {count} effects")
        with contextlib.suppress(RequestRefused):
            await client.cancel(saga_id, "changed my mind")


@contextlib.asynccontextmanager
async def hauling(
    stage: HaulStage, hauls: Sequence[Haul], *, cancelled: Mapping[str, int], patience_s: float
) -> AsyncIterator[HaulLoad]:
    """A load that runs while the block does what it does; leaving the block waits for the end of every saga."""
    accounts = sorted({each.job.account for each in hauls})
    load = HaulLoad(stage, hauls, {account: number for number, account in enumerate(accounts)})
    async with stage.client() as client:
        await stage.ready()
        for definition in DEFINITIONS:
            await client.register(definition)
        await stage.broker.settle_declarations_async()
        running = asyncio.create_task(load.run(client, cancelled))
        try:
            yield load
            done, _ = await asyncio.wait({running}, timeout=patience_s)
            if not done:
                waiting = [each.saga_id for each in hauls if each.saga_id not in load.told]
                complaint = f"not ended after {patience_s:g} s: {', '.join(waiting)}"
                raise AssertionError(await story(stage, [complaint], waiting))
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
