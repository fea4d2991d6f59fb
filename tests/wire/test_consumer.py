"""Consuming on a healthy broker."""

import asyncio

import pytest

from countermand.wire import ConsumerClosed
from support import eventually
from wire.wiring import Wiring, take

pytestmark = pytest.mark.servers


async def test_whatever_waits_comes_as_one_batch(wiring: Wiring) -> None:
    """A batch is what has gathered, never more than asked for, and never nothing."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer(prefetch=100)
    await publisher.publish(wiring.messages(50))
    await eventually(lambda: len(consumer._waiting) == 50)

    assert len(await consumer.next_batch(20)) == 20
    assert len(await consumer.next_batch(100)) == 30
    waiting = asyncio.create_task(consumer.next_batch(100))
    await publisher.publish([wiring.message("later")])
    assert [delivery.body for delivery in await waiting] == [b"later"]


@pytest.mark.parametrize("fast", [True, False])
async def test_both_ways_of_receiving_bring_the_same(wiring: Wiring, fast: bool) -> None:
    """Order, content and settling don't depend on whether the library's insides are known."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer(fast=fast)
    session = await consumer.connection.wait_session()
    assert ("_on_deliver_frame" in vars(session.channel)) == fast
    await publisher.publish([*wiring.messages(250), wiring.message("b" * 300_000)])

    got = await take(consumer, 251)

    assert [int(delivery.body) for delivery in got[:250]] == list(range(250))
    assert [delivery.delivery_tag for delivery in got] == list(range(1, 252))
    assert len(got[250].body) == 300_000
    await eventually(lambda: len(consumer._unsettled) == 0)


async def test_prefetch_bounds_what_is_held(wiring: Wiring) -> None:
    """No more than the prefetch is ever here unsettled; settling lets the rest come."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer(prefetch=10)
    await publisher.publish(wiring.messages(40))

    held = await take(consumer, 10, settle=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await consumer.next_batch(1)
    await consumer.acknowledge(held)

    assert [int(d.body) for d in await take(consumer, 30)] == list(range(10, 40))


async def test_what_was_acknowledged_never_comes_again_and_the_rest_does(wiring: Wiring) -> None:
    """Settled in any order, exactly the unsettled ones are delivered to the next consumer."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer()
    await publisher.publish(wiring.messages(20))
    held = await take(consumer, 20, settle=False)
    await consumer.acknowledge([d for d in held if int(d.body) % 2])
    await consumer.acknowledge(held[:4])
    await consumer.close()

    other = await wiring.consumer()
    again = await take(other, 8)

    assert sorted(int(d.body) for d in again) == [4, 6, 8, 10, 12, 14, 16, 18]
    assert all(d.redelivered for d in again)


async def test_acknowledging_twice_is_harmless(wiring: Wiring) -> None:
    """The second time says nothing to the broker, which would close the channel."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer()
    await publisher.publish(wiring.messages(3))
    held = await take(consumer, 3)
    await consumer.acknowledge(held)
    await publisher.publish(wiring.messages(1))

    await take(consumer, 1)
    assert consumer.connection.sessions_opened == 1


async def test_dead_letters_go_to_the_dead_letter_queue(wiring: Wiring) -> None:
    """What no consumer can take is moved aside, alone."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer()
    dead = await wiring.consumer(queues=[wiring.topology.dead_queue])
    await publisher.publish(wiring.messages(6))
    held = await take(consumer, 6, settle=False)
    await consumer.dead_letter(held[:3])
    await consumer.dead_letter(held[4:5])
    await consumer.acknowledge(held)

    assert sorted(int(d.body) for d in await take(dead, 4)) == [0, 1, 2, 4]


async def test_released_deliveries_come_again(wiring: Wiring) -> None:
    """A release gives them back to the queue at once."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer()
    await publisher.publish(wiring.messages(5))
    held = await take(consumer, 5, settle=False)
    await consumer.release(held)

    again = await take(consumer, 5)
    assert sorted(int(d.body) for d in again) == [0, 1, 2, 3, 4]
    assert all(d.redelivered for d in again)


async def test_pause_stops_the_flow_and_lets_what_is_here_be_settled(wiring: Wiring) -> None:
    """After a pause nothing new comes, what is here is handed over and settled, and then it ends."""
    publisher, consumer = await wiring.publisher(), await wiring.consumer()
    await publisher.publish(wiring.messages(5))
    await eventually(lambda: len(consumer._waiting) == 5)
    await consumer.pause()
    await publisher.publish(wiring.messages(3, first=5))

    assert not consumer.ready
    assert [int(d.body) for d in await take(consumer, 5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ConsumerClosed):
        await consumer.next_batch(1)
    await consumer.close()
    other = await wiring.consumer()
    assert [(int(d.body), d.redelivered) for d in await take(other, 3)] == [(5, False), (6, False), (7, False)]


async def test_close_wakes_whoever_waits(wiring: Wiring) -> None:
    """A waiting loop ends when the consumer is closed."""
    consumer = await wiring.consumer()
    waiting = asyncio.create_task(consumer.next_batch(10))
    await asyncio.sleep(0)
    await consumer.close()

    with pytest.raises(ConsumerClosed):
        await waiting


async def test_several_queues_come_through_one_consumer(wiring: Wiring) -> None:
    """Each delivery says which queue it came from, and each is settled there."""
    topology = wiring.topology
    wiring.declarations += topology.participant("y")
    publisher = await wiring.publisher()
    consumer = await wiring.consumer(queues=[wiring.queue, topology.participant_queue("y")])
    await publisher.publish([wiring.message(str(n), to="xy"[n % 2]) for n in range(40)])

    got = await take(consumer, 40)

    assert {(int(d.body) % 2, d.queue) for d in got} == {
        (0, wiring.queue),
        (1, topology.participant_queue("y")),
    }


async def test_an_exclusive_queue_is_declared_again_for_its_own_consumer(wiring: Wiring) -> None:
    """A client's own queue works, although it dies with each connection."""
    topology = wiring.topology
    consumer = await wiring.consumer(queues=[topology.client_queue("me")], declarations=topology.client("me"))
    publisher = await wiring.publisher()

    await publisher.publish([wiring.message("hello", to=topology.client_queue("me"), exchange="")])
    assert [d.body for d in await take(consumer, 1)] == [b"hello"]
    (await consumer.connection.wait_session()).end("the test says so", replace_connection=True)
    await eventually(lambda: consumer.ready)
    await publisher.publish([wiring.message("again", to=topology.client_queue("me"), exchange="")])
    assert [d.body for d in await take(consumer, 1)] == [b"again"]
