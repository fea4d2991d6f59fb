"""One that misbehaves must not stop the others: refusing queues, strange declarations, damaged sagas, crowds."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import aiormq
import msgspec
import pytest
from aiormq.abc import AbstractChannel

from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.runtime import Coordinator, running
from countermand.participants.client import Client
from countermand.participants.saga import parallel, saga, step
from countermand.schemas.contract import Command
from countermand.schemas.envelope import write_reply, write_request
from countermand.schemas.identifiers import inbox_key, new_secret
from countermand.schemas.messages import Accepted, StartMessage, Succeeded
from countermand.wire import Message
from support import RabbitServer, RedisServer, eventually

from .world import Order, Reserve, Shop, Wire, reply_to, sale, settings, trade

FULL: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}


@pytest.fixture
async def channel(rabbitmq: RabbitServer) -> Any:
    connection = await aiormq.connect(rabbitmq.amqp_url)
    yield await connection.channel()
    await connection.close()


async def test_a_full_queue_of_a_listener_stops_nobody(
    coordinator: Coordinator, client: Client, shop: Shop, channel: AbstractChannel, namespace: str
) -> None:
    """A lifecycle queue that takes no more loses events, and no saga waits for it."""
    await channel.queue_declare(f"{namespace}.audit", arguments=FULL)
    await channel.queue_bind(f"{namespace}.audit", f"{namespace}.lifecycle", "#")
    definition = trade()
    await client.register(definition)
    handles = [await client.start(definition, Order(f"o-{n}"), saga_id=f"o-{n}") for n in range(4)]
    outcomes = [await handle.outcome(timeout_s=20) for handle in handles]
    assert {outcome.phase for outcome in outcomes} == {"completed"}
    assert coordinator.counters["messages_refused"] > 0


async def test_a_full_queue_of_a_participant_stops_its_own_sagas_only(
    coordinator: Coordinator, client: Client, rabbitmq: RabbitServer, channel: AbstractChannel, namespace: str
) -> None:
    """Commands that a full queue refuses are failed attempts; sagas that don't need it go on."""
    queue = f"{namespace}.participant.elsewhere"
    await channel.queue_declare(queue, durable=True, arguments=FULL)
    await channel.queue_bind(queue, f"{namespace}.commands", "elsewhere")

    class Ask(Command[None], participant="elsewhere"):
        order: str

    @saga("elsewhere", version=1)
    def elsewhere(order: Order) -> None:
        step(Ask(order=order.id))

    good = trade()
    await client.register(elsewhere)
    await client.register(good)
    for n in range(5):
        await client.start(elsewhere, Order(f"e-{n}"), saga_id=f"e-{n}")
    async with Shop(rabbitmq.amqp_url, namespace).working():
        handle = await client.start(good, Order("o-1"), saga_id="o-1")
        assert (await handle.outcome(timeout_s=20)).phase == "completed"


async def test_a_queue_with_other_arguments_keeps_no_coordinator_away(
    client: Client, rabbitmq: RabbitServer, redis_server: RedisServer, channel: AbstractChannel, namespace: str
) -> None:
    """A participant's queue that its owner declared in another way is used as it is, also at a start."""
    chosen = settings(rabbitmq.amqp_url, redis_server.url, namespace)
    definition = trade()
    async with running(chosen):
        await client.register(definition)
    queue = f"{namespace}.participant.bank"
    await channel.queue_delete(queue)
    await channel.queue_declare(queue, durable=True)
    async with running(chosen, timeout_s=10), Wire(rabbitmq.amqp_url, namespace, without="bank") as wire:
        handle = await client.start(definition, Order("o-1"), saga_id="o-1")
        await wire.go_on("reserve", "quote")

        async def arrived() -> bool:
            return ((await channel.queue_declare(queue, passive=True)).message_count or 0) > 0

        await eventually(arrived)
        assert handle.saga_id == "o-1"


async def test_a_damaged_saga_keeps_nobody_asleep(
    coordinator: Coordinator, client: Client, shop: Shop, redis_server: RedisServer, namespace: str
) -> None:
    """A saga that can't be read is put aside; those that are due together with it are woken up all the same."""
    definition = trade(backoff="300ms")
    await client.register(definition)
    for n in range(6):
        await client.start(definition, Order(f"o-{n}", {"reserve": "fails once"}), saga_id=f"o-{n}")
    redis_server.command("HSET", coordinator.store.keys.saga("o-0"), "s", "damaged")
    for n in range(1, 6):
        assert (await client.handle(f"o-{n}").outcome(timeout_s=20)).phase == "completed"
    assert coordinator.counters["loop_restarts.wake-ups"] == 0


async def test_a_crowd_of_writers_loses_no_reply(
    client: Client, rabbitmq: RabbitServer, redis_server: RedisServer, channel: AbstractChannel, namespace: str
) -> None:
    """Many replies to one saga, taken by three coordinators at once, collide again and again, and all count."""
    chosen = settings(rabbitmq.amqp_url, redis_server.url, namespace, lanes=4, prefetch=2)

    @saga("crowd", version=1, deadline="10m")
    def crowd(order: Order) -> None:
        with parallel():
            for n in range(80):
                step(Reserve(order=order.id, mood=order.moods), name=f"reserve_{n}", timeout="5m")

    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(running(chosen))
        wire = await stack.enter_async_context(Wire(rabbitmq.amqp_url, namespace))
        await client.register(crowd)
        handle = await client.start(crowd, Order("o-1"), saga_id="o-1")
        commands = [await wire.command(f"reserve_{n}") for n in range(80)]
        good = Succeeded(msgspec.Raw(b'{"reservation":"r"}'))
        await wire.send("o-1", *(write_reply(reply_to(command, good)) for command in commands))
        assert (await handle.outcome(timeout_s=40)).phase == "completed"
    dead = await channel.queue_declare(f"{namespace}.dead", passive=True)
    assert dead.message_count == 0


async def test_two_starts_of_one_id_each_ask_for_their_own_definition(
    coordinator: Coordinator, client: Client, wire: Wire, rabbitmq: RabbitServer
) -> None:
    """In one batch: the first names what isn't registered and is refused, the second runs on what it named itself."""
    definition = sale()
    await client.register(definition)
    async with Requests(rabbitmq.amqp_url, coordinator.topology) as requests:
        body = msgspec.Raw(msgspec.json.encode(Order("o-1")))
        starts = [
            StartMessage(new_secret(), "o-1", name, body, version=1, reply_to=requests.queue)
            for name in ("trade", "sale")
        ]
        expected = [requests.expect(start.request_id) for start in starts]
        await _send_at_once(wire, coordinator, starts)
        answers = await asyncio.wait_for(asyncio.gather(*expected), timeout=10)
    assert getattr(answers[0], "code", None) == "unknown_definition"
    assert isinstance(answers[1], Accepted)
    (loaded,) = await coordinator.store.load(["o-1"])
    assert loaded is not None
    assert loaded.saga.state.definition == "sale@1"


async def _send_at_once(wire: Wire, coordinator: Coordinator, starts: list[StartMessage]) -> None:
    messages = []
    for start in starts:
        envelope = write_request(start, source="/test")
        messages.append(
            Message(
                exchange=coordinator.topology.inbox_exchange,
                routing_key=inbox_key(start.saga_id),
                body=envelope.body,
                headers=envelope.headers,
                type=envelope.type,
                reply_to=envelope.reply_to,
            )
        )
    await wire.publisher.publish(messages)
