"""Participants announce themselves to a coordinator, which believes only what is in order."""

import aio_pika
import msgspec
import pytest

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.runtime import Coordinator, running
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.coordinator.sweeper import UNSEEN_MS_MAX, Sweeper
from countermand.coordinator.telemetry import Counters
from countermand.participants import Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.schemas.announcing import ANNOUNCEMENT_BYTES_MAX, write_announce
from countermand.schemas.codec import encode
from countermand.schemas.messages import AnnounceMessage
from countermand.wire import REASON_HEADER
from support import RabbitServer, RedisServer, eventually
from system.world import Shop, Wire, settings

pytestmark = pytest.mark.servers

TOLD = AnnounceMessage("stock", "host-1")


async def instances(coordinator: Coordinator) -> dict[str, str]:
    """Who has announced itself: participants by instance."""
    kept = await coordinator.store.participants()
    return {each.announcement.instance: each.announcement.participant for each in kept}


async def test_real_participants_are_known(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> None:
    """Each with its actions and compensations, soon after it has started."""
    async with (
        running(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as coordinator,
        Shop(rabbitmq.amqp_url, namespace).working(),
    ):

        async def known() -> bool:
            return set((await instances(coordinator)).values()) == {"stock", "bank", "carrier"}

        await eventually(known)
        actions = {
            (each.announcement.participant, action.action, action.compensation)
            for each in await coordinator.store.participants()
            for action in each.announcement.actions
        }
        await eventually(lambda: coordinator.counters["announcements"] == 3)
    assert actions == {
        ("stock", "reserve", True),
        ("bank", "pay", True),
        ("bank", "capture", False),
        ("carrier", "quote", False),
        ("carrier", "ship", True),
    }


async def test_what_is_not_in_order_is_dead_lettered(
    rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str
) -> None:
    """With the reason, where there is room for one; what comes after it is taken as ever."""
    good = write_announce(TOLD)
    nameless = msgspec.structs.replace(good, body=encode({"participant": "No Name", "instance": "x"}))
    huge = msgspec.structs.replace(good, body=b'{"participant":"' + b"x" * ANNOUNCEMENT_BYTES_MAX + b'"}')
    async with (
        running(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as coordinator,
        Wire(rabbitmq.amqp_url, namespace) as wire,
    ):
        await wire.send("stock", nameless, huge, good)

        async def kept() -> bool:
            return await instances(coordinator) == {"host-1": "stock"}

        await eventually(kept)
        await eventually(lambda: coordinator.counters["messages_malformed"] == 2)
        reasons = [await dead_reason(rabbitmq.amqp_url, coordinator.topology.dead_queue) for _ in range(2)]
    assert any(reason is not None and reason.startswith("body.participant") for reason in reasons), reasons
    assert None in reasons


async def test_the_newest_word_of_a_process_stands(
    rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str
) -> None:
    """A participant that stops says goodbye and is forgotten; when it connects again, it is another instance."""
    participant = Participant("stock", inbox=MemoryInbox())
    async with running(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as coordinator:
        met: set[str] = set()

        async def seen() -> bool:
            found = await instances(coordinator)
            met.update(found)
            return len(found) == 1

        async def forgotten() -> bool:
            return await instances(coordinator) == {}

        for count in (1, 2):
            async with participant.running(rabbitmq.amqp_url, topology=coordinator.topology):
                await eventually(seen)
            await eventually(forgotten)
            assert len(met) == count


async def dead_reason(amqp_url: str, queue: str) -> str | None:
    """Takes one letter out of the dead-letter queue: why it is there, as far as it says so itself."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        declared = await channel.declare_queue(queue, passive=True)
        letter = await eventually(lambda: declared.get(no_ack=True, fail=False))
        reason = letter.headers.get(REASON_HEADER)
        return None if reason is None else str(reason)


async def test_the_sweeper_forgets_who_is_gone_for_a_week() -> None:
    """Not a moment earlier; by the store's clock."""
    now_ms = 1_700_000_000_000
    store = MemorySagaStore(retention_ms=1_000, now_ms=lambda: now_ms)
    counters = Counters()
    clock = StoreClock(counters, tolerance_ms=5_000, hold_ms=60_000)
    clock.set(now_ms)
    sweeper = Sweeper(store, Definitions(store), clock, counters, interval_ms=1_000)
    await store.announce(TOLD)
    now_ms += UNSEEN_MS_MAX
    await sweeper.sweep_once()
    assert len(await store.participants()) == 1
    now_ms += 1
    await sweeper.sweep_once()
    assert await store.participants() == []
    assert counters["announcements_dropped"] == 1
