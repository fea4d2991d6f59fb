"""What spans two sagas, on real servers: children, locks, limits, and events by business key."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from countermand.coordinator.core.journal import EventTaken, SagaEnded
from countermand.coordinator.runtime import Coordinator, running
from countermand.participants.client import Client
from countermand.participants.context import Context
from countermand.participants.errors import Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.participant import Participant
from countermand.participants.saga import Concurrency, child, lock, pivot, saga, step, wait_for
from countermand.schemas.contract import Command, Event
from countermand.schemas.topology import Topology
from support import RabbitServer, RedisServer, eventually

from .world import settings


class Job(msgspec.Struct, frozen=True):
    """`refuse` names the step that says no, `hold` the one that waits to be let go."""

    id: str
    account: str = "a-1"
    refuse: str = ""
    hold: str = ""


class Do(Command[str], participant="worker"):
    """Does something for a job; `what` names it."""

    what: str
    job: Job


class Decide(Command[None], participant="worker", compensatable=False, because="the pivot"):
    job: Job


class Paid(Event):
    amount: int


@saga("part", version=1, deadline="60s")
def part(job: Job) -> str:
    return step(Do(what="part", job=job), name="part")


@saga("part-for-good", version=1, deadline="60s")
def part_for_good(job: Job) -> None:
    step(Do(what="part", job=job), name="part")
    pivot(Decide(job=job))


@saga("whole", version=1, deadline="60s")
def whole(job: Job) -> str:
    made = child(part, job, name="made")
    step(Do(what="last", job=job), name="last")
    return made


@saga("locked", version=1, deadline="60s")
def locked(job: Job) -> None:
    lock("account", job.account)
    step(Do(what="work", job=job), name="work")


@saga("limited", version=1, deadline="60s", concurrency=Concurrency(2))
def limited(job: Job) -> None:
    step(Do(what="work", job=job), name="work")


@saga("paid", version=1, deadline="60s")
def paid(job: Job) -> int:
    payment = wait_for(Paid, key=job.account, deadline="50s")
    return payment.amount


class Worker:
    """A participant whose effects are counted, and who waits where it is told to."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.held: list[str] = []
        self.let_go = asyncio.Event()
        self.participant = Participant("worker", inbox=MemoryInbox())
        self.participant.handles(Do)(self.do)
        self.participant.compensates(Do)(self.undo)
        self.participant.handles(Decide)(self.decide)

    async def do(self, command: Do, context: Context) -> str:
        if command.what == command.job.refuse:
            raise Rejected("unwilling", "not today")
        if command.what == command.job.hold:
            self.held.append(command.job.id)
            await self.let_go.wait()
        self.effects.append(f"{command.job.id} {command.what}")
        return f"{command.what} of {command.job.id}"

    async def undo(self, command: Do, result: str | None, context: Context) -> None:
        self.effects.append(f"{command.job.id} {command.what} undone")

    async def decide(self, command: Decide, context: Context) -> None:
        self.effects.append(f"{command.job.id} decided")


@pytest.fixture
async def worker(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Worker]:
    worker = Worker()
    async with worker.participant.running(rabbitmq.amqp_url, topology=Topology(namespace), drain_s=1.0):
        yield worker
        worker.let_go.set()


async def ended(coordinator: Coordinator, saga_id: str) -> str:
    (loaded,) = await coordinator.store.load([saga_id])
    return "unknown" if loaded is None else loaded.saga.state.phase


async def test_a_child_completes(coordinator: Coordinator, client: Client, worker: Worker) -> None:
    """The parent goes on with what its child gave."""
    for each in (part, whole):
        await client.register(each)
    handle = await client.start(whole, Job("j"), saga_id="w-1")
    outcome = await handle.outcome(timeout_s=20)
    assert (outcome.phase, outcome.result) == ("completed", "part of j")
    assert worker.effects == ["j part", "j last"]
    assert await ended(coordinator, "w-1:made") == "completed"


async def test_a_completed_child_is_undone_with_its_parent(
    coordinator: Coordinator, client: Client, worker: Worker
) -> None:
    """A parent that turns back has its child undone, though that had completed."""
    for each in (part, whole):
        await client.register(each)
    handle = await client.start(whole, Job("j", refuse="last"), saga_id="w-1")
    assert (await handle.outcome(timeout_s=20)).phase == "compensated"
    assert worker.effects == ["j part", "j part undone"]
    assert await ended(coordinator, "w-1:made") == "compensated"
    undone = await client.handle("w-1:made").outcome(timeout_s=20)
    assert (undone.phase, undone.result) == ("compensated", None)


async def test_a_child_that_fails_fails_its_parent(coordinator: Coordinator, client: Client, worker: Worker) -> None:
    """The parent turns back, and says why in the child's words."""
    for each in (part, whole):
        await client.register(each)
    handle = await client.start(whole, Job("j", refuse="part"), saga_id="w-1")
    outcome = await handle.outcome(timeout_s=20)
    assert outcome.phase == "compensated"
    assert outcome.failure is not None
    assert (outcome.failure.step, outcome.failure.code) == ("made", "unwilling")
    assert worker.effects == []


async def test_a_child_that_nobody_defined(coordinator: Coordinator, client: Client, worker: Worker) -> None:
    """The parent is told, and turns back."""
    await client.register(whole)
    handle = await client.start(whole, Job("j"), saga_id="w-1")
    outcome = await handle.outcome(timeout_s=20)
    assert outcome.phase == "compensated"
    assert outcome.failure is not None
    assert outcome.failure.code == "unknown_definition"


async def test_a_running_child_is_undone_with_its_parent(
    coordinator: Coordinator, client: Client, worker: Worker
) -> None:
    """A parent that is cancelled while its child is at work has it undone, and waits for that."""
    for each in (part, whole):
        await client.register(each)
    handle = await client.start(whole, Job("j", hold="part"), saga_id="w-1")
    await eventually(lambda: worker.held == ["j"])
    await client.cancel("w-1", "changed my mind")
    worker.let_go.set()
    assert (await handle.outcome(timeout_s=20)).phase == "compensated"
    assert await ended(coordinator, "w-1:made") == "compensated"
    assert worker.effects in ([], ["j part", "j part undone"])


async def test_one_at_a_time(coordinator: Coordinator, client: Client, worker: Worker) -> None:
    """Of sagas of one account one works at a time, in the order of asking; another account's need not wait."""
    await client.register(locked)
    first = await client.start(locked, Job("1", hold="work"), saga_id="l-1")
    await eventually(lambda: worker.held == ["1"])
    others = [await client.start(locked, Job(str(number)), saga_id=f"l-{number}") for number in range(2, 6)]
    elsewhere = await client.start(locked, Job("e", account="a-2"), saga_id="l-e")
    assert (await elsewhere.outcome(timeout_s=20)).phase == "completed"
    assert worker.effects == ["e work"]
    worker.let_go.set()
    for handle in (first, *others):
        assert (await handle.outcome(timeout_s=20)).phase == "completed"
    assert worker.effects == ["e work", *(f"{number} work" for number in range(1, 6))]


async def test_a_saga_that_was_undone_releases_its_lock(
    coordinator: Coordinator, client: Client, worker: Worker
) -> None:
    """The lock is free for the next one, whatever the end."""
    await client.register(locked)
    refused = await client.start(locked, Job("1", refuse="work"), saga_id="l-1")
    assert (await refused.outcome(timeout_s=20)).phase == "compensated"
    second = await client.start(locked, Job("2"), saga_id="l-2")
    assert (await second.outcome(timeout_s=20)).phase == "completed"


async def test_two_at_once(coordinator: Coordinator, client: Client, worker: Worker) -> None:
    """Of a limited definition two sagas run; the third begins when one of them has ended."""
    await client.register(limited)
    handles = [await client.start(limited, Job(str(number), hold="work"), saga_id=f"c-{number}") for number in range(4)]
    await eventually(lambda: len(worker.held) == 2)
    worker.let_go.set()
    for handle in handles:
        assert (await handle.outcome(timeout_s=20)).phase == "completed"
    assert sorted(worker.effects) == [f"{number} work" for number in range(4)]


async def test_an_event_by_its_key(coordinator: Coordinator, client: Client) -> None:
    """Every saga that waits for the account's event gets it, also one that begins to wait later."""
    await client.register(paid)
    early = await client.start(paid, Job("1"), saga_id="p-1")
    other = await client.start(paid, Job("2", account="a-2"), saga_id="p-2")
    await client.publish_event(Paid(amount=7), key="a-1")
    assert (await early.outcome(timeout_s=20)).result == 7
    late = await client.start(paid, Job("3"), saga_id="p-3")
    assert (await late.outcome(timeout_s=20)).result == 7
    await client.publish_event(Paid(amount=8), key="a-2")
    assert (await other.outcome(timeout_s=20)).result == 8
    taken = [record.entry for record in await coordinator.store.history("p-2")]
    assert [type(each) for each in taken if isinstance(each, EventTaken | SagaEnded)] == [EventTaken, SagaEnded]


async def test_another_coordinator_goes_on(
    rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str, client: Client, worker: Worker
) -> None:
    """Who holds a lock and who waits for it outlives the coordinator that granted it."""
    configured = settings(rabbitmq.amqp_url, redis_server.url, namespace)
    async with running(configured):
        await client.register(locked)
        first = await client.start(locked, Job("1", hold="work"), saga_id="l-1")
        await eventually(lambda: worker.held == ["1"])
        second = await client.start(locked, Job("2"), saga_id="l-2")
    worker.let_go.set()
    async with running(configured):
        assert (await first.outcome(timeout_s=20)).phase == "completed"
        assert (await second.outcome(timeout_s=20)).phase == "completed"
    assert worker.effects == ["1 work", "2 work"]
