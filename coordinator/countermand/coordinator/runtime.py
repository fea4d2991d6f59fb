"""A coordinator as a whole: its connections, its lanes and its loops. Stateless: any number of them are equal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import structlog

from countermand.coordinator.announcements import Announcements
from countermand.coordinator.clock import StoreClock
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.gates.path import GatePath
from countermand.coordinator.inbox import Inbox
from countermand.coordinator.outbox import Outbox
from countermand.coordinator.process import OnePath
from countermand.coordinator.sending import Sender
from countermand.coordinator.settings import Settings, shown
from countermand.coordinator.store.checks import agree_on_layout, require_safe, server_facts
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.coordinator.supervision import supervise
from countermand.coordinator.sweeper import Sweeper
from countermand.coordinator.telemetry import Counters
from countermand.coordinator.wakeups import WakeUps
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.identifiers import INBOX_SHARDS
from countermand.schemas.topology import Topology
from countermand.wire import Consumer, ConsumerClosed, Publisher, end

log = structlog.get_logger(__name__)

STORE_PAUSE_S: Final = 1.0
DRAIN_S: Final = 10.0  # A batch takes well under a second; what has not ended by then comes again elsewhere.


class Coordinator:
    """One coordinator. `start` it, let it run, `stop` it; ending it in any other way is just as safe.

    `opener` opens the store that the settings name; `publisher` and `consumer` are its connections to the broker.
    """

    def __init__(self, settings: Settings, *, opener: "StoreOpener | None" = None) -> None:
        self.settings = settings
        self._opener = opener or open_store
        self.counters = Counters()
        self.topology = Topology(settings.prefix)
        self.clock = StoreClock(self.counters, tolerance_ms=settings.clock_tolerance_ms, hold_ms=settings.clock_hold_ms)
        self.publisher = Publisher(
            settings.amqp_url,
            name="coordinator-publisher",
            declarations=self.topology.common(),
            confirm_timeout_s=settings.confirm_timeout_ms / 1000,
            heartbeat_s=settings.heartbeat_s,
        )
        self.consumer = Consumer(
            settings.amqp_url,
            name="coordinator-consumer",
            queues=[self.topology.inbox_queue(shard) for shard in range(INBOX_SHARDS)],
            prefetch=settings.prefetch,
            declarations=self.topology.common(),
            heartbeat_s=settings.heartbeat_s,
        )
        self._store: RedisSagaStore | None = None
        self._lanes: list[asyncio.Task[None]] = []
        self._loops: list[asyncio.Task[None]] = []

    @property
    def store(self) -> RedisSagaStore:
        if self._store is None:
            raise RuntimeError("the coordinator has not been started")
        return self._store

    @property
    def ready(self) -> bool:
        """Whether it can take events now: both connections are up and every loop runs."""
        running = all(not task.done() for task in (*self._lanes, *self._loops))
        return bool(self._lanes) and running and self.publisher.ready and self.consumer.ready

    async def answers(self) -> bool:
        """Whether it is `ready` and the store answers as well: what a health check wants to know."""
        if not self.ready:
            return False
        try:
            await self.store.ping()
        except StoreUnavailable:
            return False
        return True

    async def start(self) -> None:
        """Checks the servers and starts everything; returns when it is on its way, with the broker up or not.

        Raises:
            UnsafeServer: the store would lose data.
            SettingsError: the settings don't fit what is in the store.
        """
        log.info("coordinator_starting", **shown(self.settings))
        self._store = await self._open_store()
        definitions = Definitions(self._store)
        await self._declare_known_participants()
        await self.publisher.start()
        sender = Sender(self.publisher, self.topology, self.counters, self._declare_participant)
        outbox = Outbox(self.topology)
        path = OnePath(
            self._store,
            sender,
            definitions,
            self.clock,
            outbox,
            self.counters,
            guard_ms=self.settings.guard_ms,
        )
        announcements = Announcements(self._store, self.counters)
        inbox = Inbox(
            self.consumer,
            path,
            definitions,
            sender,
            outbox,
            self.counters,
            announcements=announcements,
            gates=GatePath(self._store.gates, sender, self.clock, outbox, self.counters),
            batch_max=self.settings.batch_max,
        )
        wake_ups = WakeUps(
            self._store,
            path,
            self.clock,
            self.counters,
            batch_max=self.settings.batch_max,
            lease_ms=self.settings.lease_ms,
            poll_ms=self.settings.poll_ms,
        )
        sweeper = Sweeper(self._store, definitions, self.clock, self.counters, interval_ms=self.settings.sweep_ms)
        await self.consumer.start()
        self._lanes = [self._spawn(f"inbox-{n}", _until_closed(inbox.run)) for n in range(self.settings.lanes)]
        self._loops = [
            self._spawn("wake-ups", wake_ups.run),
            self._spawn("sweeper", sweeper.run),
            self._spawn("announcements", announcements.run),
        ]

    async def wait_ready(self, timeout_s: float) -> None:
        """Returns once both connections are up.

        Raises:
            BrokerUnavailable: they were not within the time.
        """
        await self.publisher.wait_ready(timeout_s)
        await self.consumer.wait_ready(timeout_s)
        log.info("coordinator_ready")

    async def stop(self) -> None:
        """Takes nothing new, lets what has been begun end, and gives up the connections."""
        log.info("coordinator_stopping")
        await end(self._loops)
        await self.consumer.pause()
        if self._lanes:
            await asyncio.wait(self._lanes, timeout=DRAIN_S)
        await self._let_go()
        log.info("coordinator_stopped", **self.counters.snapshot())

    async def abandon(self) -> None:
        """Drops everything where it is, without settling anything: what a crash does to the servers."""
        await self._let_go()

    async def _let_go(self) -> None:
        await end([*self._loops, *self._lanes])
        await self.consumer.close()
        await self.publisher.close()
        await self.store.close()

    async def _open_store(self) -> RedisSagaStore:
        settings = self.settings
        while True:
            store = self._opener(settings, waitaof=False)
            try:
                facts = await server_facts(store.client)
                for danger in require_safe(facts, durability=settings.durability, allowed=settings.allow_unsafe):
                    log.warning("server_unsafe", risk=danger.risk, problem=danger.problem, mend=danger.mend)
                await agree_on_layout(store.client, store.keys.layout, settings.partitions)
                self.clock.set(await store.now_ms())
            except StoreUnavailable as error:
                log.warning("store_unavailable", error=str(error))
                await store.close()
                await asyncio.sleep(STORE_PAUSE_S)
                continue
            except BaseException:  # As above for whatever else ends the start; it is passed on.
                await store.close()
                raise
            if settings.durability != "fsync" or not (facts.waitaof and facts.aof):
                return store
            await store.close()
            return self._opener(settings, waitaof=True)

    async def _declare_known_participants(self) -> None:
        for definition in await self.store.definitions():
            for step in definition.steps():
                await self._declare_participant(step.participant)

    async def _declare_participant(self, participant: str) -> None:
        await self.publisher.declare_leniently(self.topology.participant(participant))

    def _spawn(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(supervise(name, loop, self.counters), name=name)


class StoreOpener(Protocol):
    """Opens the store that the settings name."""

    def __call__(self, settings: Settings, *, waitaof: bool) -> RedisSagaStore: ...


def open_store(settings: Settings, *, waitaof: bool = False) -> RedisSagaStore:
    """The store that the settings name."""
    return RedisSagaStore(
        settings.redis_url,
        namespace=settings.namespace,
        partitions=settings.partitions,
        retention_ms=settings.retention_ms,
        timeout_s=settings.store_timeout_ms / 1000,
        durability=settings.durability,
        waitaof=waitaof,
        replicas=settings.replicas,
    )


@asynccontextmanager
async def running(settings: Settings, *, timeout_s: float = 30.0) -> AsyncIterator[Coordinator]:
    """A coordinator that is ready, for as long as the block lasts."""
    coordinator = Coordinator(settings)
    await coordinator.start()
    try:
        await coordinator.wait_ready(timeout_s)
        yield coordinator
    finally:
        await coordinator.stop()


def _until_closed(run: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def loop() -> None:
        try:
            await run()
        except ConsumerClosed:
            log.debug("lane_closed")

    return loop
