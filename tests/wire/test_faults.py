"""What must hold when the broker, the network or somebody with rights on it does harm."""

import asyncio
import contextlib
import gc
import logging
import struct
from collections.abc import AsyncIterator, Iterator

import aiormq
import pamqp.frame
import pytest
import structlog
from pamqp.commands import Basic

from countermand.schemas.errors import BrokerUnavailable, SettingsError
from countermand.wire import Confirmed, Consumer, Publisher, Unknown
from support import RabbitServer, TcpProxy, eventually
from wire.wiring import READY_TIMEOUT_S, Broker, Wiring, take

pytestmark = pytest.mark.servers


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    """Everything our code logs during the test."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(broker.host, broker.port) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def raw_channel(url: str) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    async with aiormq.connect(url) as connection:
        yield await connection.channel()


async def settle_on_disk(broker: Broker, *clients: Publisher | Consumer) -> None:
    """Let the broker write down which quorum queues there are.

    RabbitMQ 3.10 does that seconds after the declaration. Killed before, it never confirms or delivers
    anything on those queues again; that is no fault of a driver, and an orderly restart is the quickest way.
    """
    await broker.restart_async()
    for client in clients:
        await eventually(lambda client=client: client.ready, timeout_s=READY_TIMEOUT_S)  # type: ignore[misc]


async def publish_undecodable(url: str, *, exchange: str, routing_key: str) -> None:
    """A message with headers nested 1,500 deep: brokers take it, and the client library can't decode it.

    Nor encode it, so the bytes are made here.
    """
    table = b""
    for _ in range(1500):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    properties = struct.pack(">HHQH", 60, 0, 0, 0x2000) + struct.pack(">I", len(table)) + table
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        publish = Basic.Publish(exchange=exchange, routing_key=routing_key)
        header = struct.pack(">BHI", 2, channel.number, len(properties)) + properties + b"\xce"
        payload = pamqp.frame.marshal(publish, channel.number) + header
        await connection.write_queue.put(aiormq.abc.ChannelFrame(payload=payload, should_close=False))
        # An answer to anything sent later says that the broker has it.
        await channel.exchange_declare(exchange, exchange_type="direct", durable=True)


@pytest.mark.parametrize("fast", [True, False])
async def test_a_killed_broker_loses_no_confirmed_message(own_wiring: Wiring, own_broker: Broker, fast: bool) -> None:
    """Confirmed means kept: after kill -9 and a restart every confirmed message is delivered."""
    publisher = await own_wiring.publisher(fast=fast)
    await settle_on_disk(own_broker, publisher)
    confirmed: set[int] = set()
    sent = 0

    async def publish_until_lost() -> None:
        nonlocal sent
        while True:
            outcomes = await publisher.publish(own_wiring.messages(50, first=sent))
            confirmed.update(sent + n for n, o in enumerate(outcomes) if o == Confirmed())
            sent += 50
            if any(isinstance(outcome, Unknown) for outcome in outcomes):
                return

    publishing = asyncio.create_task(publish_until_lost())
    await eventually(lambda: len(confirmed) > 200)
    await own_broker.kill_async()
    await publishing
    await eventually(lambda: not publisher.ready)
    await own_broker.start_async()
    await publisher.wait_ready(READY_TIMEOUT_S)
    assert await publisher.publish([own_wiring.message("-1")]) == [Confirmed()]

    consumer = await own_wiring.consumer()
    got: set[int] = set()
    while not confirmed <= got or -1 not in got:
        got |= {int(delivery.body) for delivery in await take(consumer, 1)}


async def test_a_consumer_comes_back_after_the_broker_does(own_wiring: Wiring, own_broker: Broker) -> None:
    """A restart costs a reconnect; what was held is delivered again, and is not settled on the new channel."""
    publisher, consumer = await own_wiring.publisher(), await own_wiring.consumer()
    await settle_on_disk(own_broker, publisher, consumer)
    await publisher.publish(own_wiring.messages(10))
    held = await take(consumer, 5, settle=False)
    await own_broker.kill_async()
    await eventually(lambda: not consumer.ready)
    await own_broker.start_async()
    await consumer.wait_ready(READY_TIMEOUT_S)

    await consumer.acknowledge(held)

    assert sorted(int(delivery.body) for delivery in await take(consumer, 10)) == list(range(10))
    assert consumer.ready


async def test_a_frozen_broker_makes_publishes_unknown_and_is_left(own_wiring: Wiring, own_broker: Broker) -> None:
    """No confirm in time is unknown; the connection is replaced, and a late confirm can't be mistaken."""
    publisher = await own_wiring.publisher(confirm_timeout_s=1.0)
    await own_broker.pause_async()

    outcomes = await publisher.publish(own_wiring.messages(3))

    assert [type(outcome) for outcome in outcomes] == [Unknown] * 3
    assert not publisher.ready
    await own_broker.resume_async()
    await publisher.wait_ready(READY_TIMEOUT_S)
    # What is published next is unroutable: a late confirm of the first batch would make it look well.
    returned = await publisher.publish([own_wiring.message(to="nobody")] * 3)
    assert [type(outcome).__name__ for outcome in returned] == ["Returned"] * 3


async def test_a_silent_broker_is_noticed_by_its_heartbeat(wiring: Wiring, proxy: TcpProxy) -> None:
    """A half-open connection is found out within three heartbeats, though the library only says "cancelled"."""
    consumer = await wiring.consumer(proxy.url_for(wiring.url), heartbeat_s=1)
    publisher = await wiring.publisher(proxy.url_for(wiring.url), heartbeat_s=1, confirm_timeout_s=20)
    proxy.hold()
    publishing = asyncio.create_task(publisher.publish([wiring.message()]))

    await eventually(lambda: not consumer.ready, timeout_s=15)
    assert [type(outcome) for outcome in await publishing] == [Unknown]
    proxy.release()
    await eventually(lambda: consumer.ready and publisher.ready, timeout_s=READY_TIMEOUT_S)
    assert await publisher.publish([wiring.message("after")]) == [Confirmed()]


@pytest.mark.parametrize("fast", [True, False])
async def test_connections_cut_again_and_again_only_cost_duplicates(
    wiring: Wiring, proxy: TcpProxy, fast: bool
) -> None:
    """With retries of what is unknown, everything arrives, whatever is cut at whatever moment."""
    url = proxy.url_for(wiring.url)
    publisher, consumer = await wiring.publisher(url, fast=fast), await wiring.consumer(url)
    got: set[int] = set()

    async def consume() -> None:
        while len(got) < 400:
            batch = await consumer.next_batch(50)
            got.update(int(delivery.body) for delivery in batch)
            await consumer.acknowledge(batch)

    async def publish() -> None:
        for first in range(0, 400, 20):
            pending = wiring.messages(20, first=first)
            while pending:
                outcomes = await publisher.publish(pending)
                pending = [m for m, o in zip(pending, outcomes, strict=True) if o != Confirmed()]

    async def cut() -> None:
        for _ in range(6):
            before = consumer.connection.sessions_opened
            await eventually(lambda: publisher.ready and consumer.ready, timeout_s=READY_TIMEOUT_S)
            proxy.cut()
            await eventually(lambda seen=before: consumer.connection.sessions_opened > seen, timeout_s=20)  # type: ignore[misc]

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(consume())
        group.create_task(publish())
        group.create_task(cut())
    assert got == set(range(400))


async def test_a_deleted_queue_is_alarmed_declared_again_and_consumed(
    wiring: Wiring, logged: list[structlog.typing.EventDict]
) -> None:
    """The broker's own cancel doesn't leave a deaf consumer, and is never silent."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer()
    async with raw_channel(wiring.url) as channel:
        await channel.queue_delete(wiring.queue)

    await eventually(lambda: consumer.consumers_cancelled == 1)
    await eventually(lambda: consumer.ready)
    await publisher.publish([wiring.message("again")])

    assert [delivery.body for delivery in await take(consumer, 1)] == [b"again"]
    alarms = [entry for entry in logged if entry["event"] == "consumer_cancelled"]
    assert [(entry["log_level"], entry["queue"]) for entry in alarms] == [("error", wiring.queue)]


async def test_a_channel_closed_by_the_broker_is_replaced(wiring: Wiring) -> None:
    """A protocol error on the channel costs the channel, not the connection, and what was held comes again."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer()
    await publisher.publish(wiring.messages(5))
    held = await take(consumer, 5, settle=False)
    session = await consumer.connection.wait_session()
    await session.channel.basic_ack(4711)  # An unknown tag: 406, as for a delivery held for too long.

    await eventually(lambda: consumer.connection.sessions_opened == 2)
    await consumer.acknowledge(held)
    assert sorted(int(delivery.body) for delivery in await take(consumer, 5)) == [0, 1, 2, 3, 4]
    assert (await consumer.connection.wait_session()).link is session.link


async def test_an_alarm_blocks_publishing_and_not_settling(alarmed_wiring: Wiring, own_rabbitmq: RabbitServer) -> None:
    """During a disk alarm publishes are unknown after the timeout, and deliveries are still settled."""
    publisher = await alarmed_wiring.publisher(confirm_timeout_s=2.0, heartbeat_s=1)
    consumer = await alarmed_wiring.consumer(heartbeat_s=1)
    await publisher.publish(alarmed_wiring.messages(5))
    held = await take(consumer, 5, settle=False)
    await own_rabbitmq.ctl_async("set_disk_free_limit", "1000000GB")
    try:
        for _ in range(4):
            outcomes = await publisher.publish([alarmed_wiring.message("zombie")])
            assert [type(outcome) for outcome in outcomes] == [Unknown]
        assert not publisher.ready
        assert publisher.connection.sessions_opened == 1  # A new connection would be blocked as well.
        await consumer.acknowledge(held)
        assert consumer.ready
    finally:
        await own_rabbitmq.ctl_async("set_disk_free_limit", "50MB")
    await eventually(lambda: publisher.ready, timeout_s=READY_TIMEOUT_S)
    assert await publisher.publish([alarmed_wiring.message("after")]) == [Confirmed()]
    await consumer.close()
    other = await alarmed_wiring.consumer()
    bodies = {delivery.body for delivery in await take(other, 2)}
    # Only the first zombie was ever sent. It arrives after all: that is why it was unknown.
    assert bodies == {b"zombie", b"after"}


async def test_an_undecodable_message_is_overcome(wiring: Wiring) -> None:
    """It kills the connection on each delivery until the broker moves it away; the healthy ones all arrive.

    Healthy messages are delivered along with it, and must not run into the delivery limit with it.
    """
    topology = wiring.topology
    wiring.declarations += topology.participant("y")
    publisher = await wiring.publisher()
    await publisher.publish(wiring.messages(5))
    await publish_undecodable(wiring.url, exchange=topology.commands_exchange, routing_key="x")
    await publisher.publish(wiring.messages(5, first=5))
    await publisher.publish([wiring.message(str(n), to="y") for n in range(10, 20)])

    consumer = Consumer(
        wiring.url,
        name="poisoned",
        queues=[topology.participant_queue("y"), wiring.queue],
        prefetch=100,
        declarations=wiring.declarations,
    )
    await consumer.start()
    got: set[int] = set()
    try:
        async with asyncio.timeout(90):
            while len(got) < 20:
                batch = await consumer.next_batch(100)
                await consumer.acknowledge(batch)
                got |= {int(delivery.body) for delivery in batch}
            await eventually(lambda: consumer.ready, timeout_s=60)
    finally:
        await consumer.close()
    assert got == set(range(20))
    async with raw_channel(wiring.url) as channel:
        dead = await channel.queue_declare(topology.dead_queue, passive=True)
        assert dead.message_count == 1


async def test_a_wrong_password_is_named_and_never_shown(
    wiring: Wiring, logged: list[structlog.typing.EventDict]
) -> None:
    """Refused credentials are an error that says so, again and again, without the credentials."""
    url = wiring.url.replace("guest:guest@", "guest:hunter2@")
    publisher = Publisher(url, name="stranger")
    await publisher.start()
    try:
        with pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED") as refused:
            await publisher.wait_ready(2.0)
        failures = [entry for entry in logged if entry["event"] == "connection_failed"]
        assert failures
        assert all(entry["code"] == "broker_unavailable" for entry in failures)
        assert "hunter2" not in str(refused.value) + str(logged)
        outcome = (await _publish_within(publisher, wiring, 0.5))[0]
        assert not publisher.ready
        assert isinstance(outcome, Unknown)
    finally:
        await publisher.close()


async def _publish_within(publisher: Publisher, wiring: Wiring, timeout_s: float) -> list[object]:
    publisher._confirm_timeout_s = timeout_s
    return list(await publisher.publish([wiring.message()]))


@pytest.mark.parametrize("url", ["http://guest:hunter2@host/", "amqp://guest:hunter2@host:port/", "amqp:///"])
def test_a_wrong_url_is_refused_without_showing_it(url: str) -> None:
    """A URL may hold a password even if it is wrong."""

    async def make() -> None:
        Publisher(url, name="wrong")

    with pytest.raises(SettingsError) as error:
        asyncio.run(make())
    assert "hunter2" not in str(error.value)


async def test_an_unexpected_error_in_the_loop_is_logged_and_survived(
    wiring: Wiring, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    """A bug in the supervision costs one connection, not the consumer."""
    failures = iter([KeyError("a bug")])
    prepare = Publisher._prepare

    async def prepare_with_a_bug(publisher: Publisher, session: object) -> None:
        for failure in failures:
            raise failure
        await prepare(publisher, session)  # type: ignore[arg-type]

    monkeypatch.setattr(Publisher, "_prepare", prepare_with_a_bug)
    publisher = await wiring.publisher()

    assert await publisher.publish([wiring.message()]) == [Confirmed()]
    assert [entry["event"] for entry in logged].count("supervision_failed") == 1


async def test_nothing_is_left_behind(wiring: Wiring, proxy: TcpProxy, caplog: pytest.LogCaptureFixture) -> None:
    """After a loss and a close no task runs on, and asyncio has nothing to complain about."""
    before = asyncio.all_tasks()
    url = proxy.url_for(wiring.url)
    publisher, consumer = await wiring.publisher(url), await wiring.consumer(url)
    await publisher.publish(wiring.messages(5))
    opened = consumer.connection.sessions_opened
    proxy.cut()
    await eventually(lambda: consumer.connection.sessions_opened > opened and publisher.ready)
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        await publisher.close()
        await consumer.close()
        await eventually(lambda: not proxy.connections)
        await eventually(lambda: asyncio.all_tasks() <= before)
        gc.collect()
        await asyncio.sleep(0)
    assert [record for record in caplog.records if record.name == "asyncio"] == []
