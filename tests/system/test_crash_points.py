"""A coordinator that dies between any two of the five lines: load, decide, commit, publish, settle.

Each case runs one saga on real servers and lets the coordinator crash once, at one boundary, on the n-th time that it
comes by there. Another coordinator takes over. Outcome and effects must be those of a run without a crash.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Final

import pytest

from countermand.coordinator.core.evolve import evolve
from countermand.coordinator.core.journal import AttemptFailed
from countermand.coordinator.ports import Claimed, ClockJumped, Commit, CommitAnswer, Loaded, Settlement
from countermand.coordinator.runtime import Coordinator, running
from countermand.coordinator.settings import Settings
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.participants.client import Client
from countermand.wire import Consumer, Delivery, Message, Publisher, PublishOutcome
from support import RabbitServer, RedisServer, eventually

from .world import Order, Shop, settings, trade


class Crash(BaseException):
    """The process is gone. Nothing catches this."""


class Fuse:
    """Burns through the `nth` time that a boundary is passed."""

    def __init__(self, boundary: str, nth: int) -> None:
        self.boundary = boundary
        self.left = nth
        self.blown = asyncio.Event()

    async def at(self, boundary: str) -> None:
        if self.blown.is_set():
            # The process is dead: whatever else was under way in it never goes on.
            raise Crash
        if boundary == self.boundary:
            self.left -= 1
            if self.left <= 0:
                self.blown.set()
                raise Crash


class FusedStore(RedisSagaStore):
    """The Redis store, with a boundary before and after each of its calls."""

    fuse: Fuse

    async def load_parts(self, wanted: Sequence[tuple[str, frozenset[str] | None]]) -> list[Loaded | None]:
        await self.fuse.at("before load")
        found = await super().load_parts(wanted)
        await self.fuse.at("after load")
        return found

    async def commit(self, commits: Sequence[Commit]) -> list[CommitAnswer]:
        await self.fuse.at("before commit")
        if any(commit.guard_ms is not None for commit in commits):
            await self.fuse.at("before guarded commit")
        answers = await super().commit(commits)
        await self.fuse.at("after commit")
        if any(commit.guard_ms is not None for commit in commits):
            await self.fuse.at("after guarded commit")
        return answers

    async def claim_due(self, **arguments: Any) -> Claimed | ClockJumped:
        claim = await super().claim_due(**arguments)
        if isinstance(claim, Claimed) and claim.saga_ids:
            await self.fuse.at("after claim")
        return claim

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self.fuse.at("before guard settled")
        await super().settle(settlements)
        await self.fuse.at("after guard settled")


class FusedPublisher(Publisher):
    fuse: Fuse

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        await self.fuse.at("before publish")
        outcomes = await super().publish(messages)
        await self.fuse.at("after publish")
        return outcomes


class FusedConsumer(Consumer):
    fuse: Fuse

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        await self.fuse.at("before acknowledge")
        await super().acknowledge(deliveries)
        await self.fuse.at("after acknowledge")


def fused(chosen: Settings, fuse: Fuse) -> Coordinator:
    """A coordinator that crashes when the fuse blows."""

    def opener(settings: Settings, *, waitaof: bool) -> RedisSagaStore:
        store = FusedStore(
            settings.redis_url,
            namespace=settings.namespace,
            partitions=settings.partitions,
            retention_ms=settings.retention_ms,
        )
        store.fuse = fuse
        return store

    coordinator = Coordinator(chosen, opener=opener)
    topology = coordinator.topology
    publisher = FusedPublisher(chosen.amqp_url, name="fused-publisher", declarations=topology.common())
    consumer = FusedConsumer(
        chosen.amqp_url,
        name="fused-consumer",
        queues=[topology.inbox_queue(shard) for shard in range(4)],
        prefetch=100,
        declarations=topology.common(),
    )
    publisher.fuse = consumer.fuse = fuse
    coordinator.publisher, coordinator.consumer = publisher, consumer
    return coordinator


DELIVERY: Final = (
    "before load",
    "after load",
    "before commit",
    "after commit",
    "before publish",
    "after publish",
    "before acknowledge",
    "after acknowledge",
)
WAKE_UP: Final = (
    "after claim",
    "before guarded commit",
    "after guarded commit",
    "before guard settled",
    "after guard settled",
)
HAPPY: Final[dict[str, str]] = {}
REFUSED: Final = {"ship": "rejects"}
# Each failure of an action makes a retry, which is a wake-up.
RETRIED: Final = {"reserve": "fails once", "pay": "fails once", "ship": "fails once"}
CASES: Final = (
    *itertools.product(DELIVERY, (1, 2, 3, 4), ("happy", "refused")),
    *itertools.product(WAKE_UP, (1, 2, 3), ("retried",)),
)
MOODS: Final = {"happy": HAPPY, "refused": REFUSED, "retried": RETRIED}


@pytest.mark.parametrize(("boundary", "nth", "story"), CASES, ids=lambda value: str(value).replace(" ", "_"))
async def test_crash(
    boundary: str, nth: int, story: str, rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str
) -> None:
    """A crash at this point changes neither the outcome nor any effect."""
    chosen = settings(rabbitmq.amqp_url, redis_server.url, namespace, lease_ms=150, guard_ms=150)
    definition = trade()
    fuse = Fuse(boundary, nth)
    doomed = fused(chosen, fuse)
    await doomed.start()
    await doomed.wait_ready(20)
    async with (
        Shop(chosen.amqp_url, namespace).working() as shop,
        Client(chosen.amqp_url, topology=doomed.topology, answer_timeout_s=0.5, watch_interval_s=0.5) as client,
    ):
        registered = asyncio.create_task(client.register(definition))
        crashed = asyncio.create_task(fuse.blown.wait())
        await asyncio.wait((registered, crashed), return_when=asyncio.FIRST_COMPLETED)
        started = asyncio.create_task(_start(client, registered, definition, MOODS[story]))
        await eventually(lambda: fuse.blown.is_set() or (started.done() and started.exception()), timeout_s=20)
        await doomed.abandon()
        async with running(chosen) as heir:
            handle = await started
            outcome = await handle.outcome(timeout_s=30)
            expected = "compensated" if story == "refused" else "completed"
            assert outcome.phase == expected
            standing = 0 if story == "refused" else 1
            assert [shop.net("o-1", name) for name in ("reserve", "pay", "ship")] == [standing] * 3
            assert shop.most() == 1
            await assert_sound(heir, "o-1")


async def _start(client: Client, registered: asyncio.Task[Any], definition: Any, moods: dict[str, str]) -> Any:
    await registered
    return await client.start(definition, Order("o-1", moods), saga_id="o-1")


async def assert_sound(coordinator: Coordinator, saga_id: str) -> None:
    """The journal has no gap, replaying it gives the state that is stored, and nothing had to time out."""

    async def settled() -> bool:
        (loaded,) = await coordinator.store.load([saga_id])
        return loaded is not None and loaded.guard is None

    # The outcome is told before the guard of what told it is given up.
    await eventually(settled, timeout_s=10)
    (loaded,) = await coordinator.store.load([saga_id])
    assert loaded is not None
    stored = loaded.saga.state
    records = await coordinator.store.history(saga_id)
    versions = list(dict.fromkeys(record.version for record in records))
    assert versions == list(range(1, stored.version + 1))
    replayed = None
    for record in records:
        replayed = evolve(replayed, record.entry, record.at_ms)
    assert replayed is not None
    assert replayed.steps == stored.steps
    assert replayed.phase == stored.phase
    # A command that is lost in a crash is sent again at once; its step's timeout is not what repairs it.
    assert not [each for each in records if isinstance(each.entry, AttemptFailed) and each.entry.why == "timed_out"]
