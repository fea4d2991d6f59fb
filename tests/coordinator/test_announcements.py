"""Announcements wait beside the sagas: they delay none, and no participant takes the room of the others."""

import asyncio
import time
from typing import Any

import msgspec

from countermand.coordinator import announcements
from countermand.coordinator.announcements import WAITING_MAX, Announcements
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.runtime import Coordinator
from countermand.coordinator.settings import Settings
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.coordinator.store.memory_registry import ANNOUNCED_OF_ONE_MAX
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.coordinator.telemetry import Counters
from countermand.schemas.announcing import write_announce
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage, WatchMessage
from countermand.schemas.topology import Topology
from countermand.wire import Message, queue_facts
from support import RabbitServer, RedisServer, eventually
from system import world

MANY = 100


class StalledStore(RedisSagaStore):
    """A store that never comes back from taking an announcement."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stalled = asyncio.Event()

    async def announce(self, *messages: AnnounceMessage) -> None:
        self.stalled.set()
        await asyncio.Event().wait()


class CountingStore(MemorySagaStore):
    """A store that notes how many announcements came in each call, and that can be out of reach."""

    def __init__(self) -> None:
        super().__init__(retention_ms=1_000, now_ms=lambda: 1_700_000_000_000)
        self.calls: list[int] = []
        self.reachable = True

    async def announce(self, *messages: AnnounceMessage) -> None:
        if not self.reachable:
            raise StoreUnavailable("it is away")
        self.calls.append(len(messages))
        await super().announce(*messages)

    async def names(self) -> set[str]:
        return {f"{each.announcement.participant}/{each.announcement.instance}" for each in await self.participants()}


def said(participant: str, instance: str, *actions: str) -> AnnounceMessage:
    return AnnounceMessage(participant, instance, tuple(map(AnnouncedAction, actions)), library="countermand 1")


async def test_what_waits_is_written_together() -> None:
    """The newest word of each process, many in one call, a goodbye among them; nothing is written twice."""
    store = CountingStore()
    waiting = Announcements(store, Counters())
    for message in (said("stock", "one"), said("stock", "two"), said("stock", "one", "reserve"), said("bank", "one")):
        waiting.put(message)
    waiting.put(msgspec.structs.replace(said("stock", "two"), stopping=True))
    await waiting.write()
    await waiting.write()
    assert store.calls == [3]
    assert [each.announcement for each in await store.participants()] == [
        said("bank", "one"),
        said("stock", "one", "reserve"),
    ]


async def test_the_loudest_makes_room() -> None:
    """Where more wait than there is room for, those who say most lose their oldest words; whoever says one keeps it."""
    store, counters = CountingStore(), Counters()
    waiting = Announcements(store, counters)
    waiting.put(said("quiet", "one"))
    for number in range(WAITING_MAX + 50):
        waiting.put(said("loud", f"life-{number}"))
    waiting.put(said("late", "one"))
    await waiting.write()
    assert sum(store.calls) == WAITING_MAX
    assert counters["announcements_crowded_out"] == 52
    names = await store.names()
    assert {"quiet/one", "late/one", f"loud/life-{WAITING_MAX + 49}"} <= names
    assert len(names) == ANNOUNCED_OF_ONE_MAX + 2


async def test_a_store_that_is_away_costs_freshness_only() -> None:
    """What it doesn't take is dropped and counted; what is said afterwards is written."""
    store, counters = CountingStore(), Counters()
    waiting = Announcements(store, counters)
    store.reachable = False
    waiting.put(said("stock", "one"))
    await waiting.write()
    assert counters["announcements_not_kept"] == 1
    store.reachable = True
    waiting.put(said("stock", "two"))
    await waiting.write()
    assert await store.names() == {"stock/two"}


async def test_it_writes_no_more_often_than_it_may() -> None:
    """However many come, one round of writing a second; the next one comes by itself."""
    store = CountingStore()
    waiting = Announcements(store, Counters())
    task = asyncio.create_task(waiting.run())
    try:
        began = time.monotonic()
        number = 0

        async def written_twice() -> bool:
            nonlocal number
            number += 1
            waiting.put(said("stock", "one", f"a{number}"))
            return len(store.calls) >= 2

        await eventually(written_twice)
        assert time.monotonic() - began >= announcements.INTERVAL_S * 0.9
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_announcements_delay_no_saga(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> None:
    """While the store takes no announcement at all, each is settled at once, and a request is answered as ever."""
    topology = Topology(namespace)
    opened: list[StalledStore] = []

    def open_stalled(settings: Settings, *, waitaof: bool) -> RedisSagaStore:
        opened.append(
            StalledStore(
                settings.redis_url,
                namespace=settings.namespace,
                partitions=settings.partitions,
                retention_ms=settings.retention_ms,
                waitaof=waitaof,
            )
        )
        return opened[-1]

    coordinator = Coordinator(world.settings(rabbitmq.amqp_url, redis_server.url, namespace), opener=open_stalled)
    await coordinator.start()
    try:
        await coordinator.wait_ready(20)
        await coordinator.publisher.publish([announced(topology, number) for number in range(MANY)])
        async with Requests(rabbitmq.amqp_url, topology) as requests:
            # Each behind an announcement, in the very queue of those: more of them than there are lanes to stop.
            for number in range(5):
                await coordinator.publisher.publish([announced(topology, MANY + number)])
                watch = WatchMessage(request_id=f"w-{number}", saga_id="nobody", reply_to=requests.queue)
                await requests.ask(watch, key="wild")
        await eventually(lambda: coordinator.counters["announcements"] == MANY + 5)
        await eventually(lambda: opened[-1].stalled.is_set())
    finally:
        await coordinator.stop()
    # What had not been settled would be back in its queue.
    queue = topology.inbox_queue(int(inbox_key("wild")))
    facts = (await queue_facts(rabbitmq.amqp_url, [queue]))[queue]
    assert facts is not None
    assert facts.messages == 0
    assert coordinator.counters["batches_failed"] == 0


def announced(topology: Topology, number: int) -> Message:
    envelope = write_announce(said("wild", f"w-{number}", "reserve"))
    return Message(
        exchange=topology.inbox_exchange,
        routing_key=inbox_key("wild"),
        body=envelope.body,
        headers=envelope.headers,
        type=envelope.type,
    )
