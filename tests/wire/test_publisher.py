"""Publishing on a healthy broker, by both paths: what is promised doesn't depend on the path."""

import asyncio
import uuid

import pytest

from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.topology import Binding, Declarations, Exchange, Queue
from countermand.wire import Confirmed, Publisher, Refused, Returned, Unknown
from countermand.wire.confirms import Batch, Confirm
from support import eventually
from wire.wiring import Wiring, take

pytestmark = pytest.mark.servers


@pytest.fixture(params=["fast", "plain"])
async def publisher(request: pytest.FixtureRequest, wiring: Wiring) -> Publisher:
    return await wiring.publisher(fast=request.param == "fast")


async def test_every_message_of_a_batch_arrives_as_it_was_sent_and_in_order(
    wiring: Wiring, publisher: Publisher
) -> None:
    """A batch arrives whole, in order, with all properties, under a message id of its own each."""
    consumer = await wiring.consumer()
    assert await publisher.publish(wiring.messages(300)) == [Confirmed()] * 300

    got = await take(consumer, 300)

    assert [delivery.body for delivery in got] == [str(number).encode() for number in range(300)]
    assert len({delivery.message_id for delivery in got}) == 300
    first = got[0]
    assert (first.type, first.correlation_id, first.reply_to) == ("test", "saga-1", "somewhere")
    assert (first.content_type, first.headers) == ("application/json", {"ce-id": "0", "attempt": 1})
    assert (first.exchange, first.routing_key) == (wiring.topology.commands_exchange, "x")
    assert (first.queue, first.redelivered) == (wiring.queue, False)


async def test_an_unroutable_message_is_returned_and_its_neighbours_are_not(
    wiring: Wiring, publisher: Publisher
) -> None:
    """Of a batch, exactly the messages that no queue takes come back."""
    batch = [wiring.message(to="x" if number % 3 else "nobody") for number in range(60)]

    outcomes = await publisher.publish(batch)

    returned = Returned(code=312, text="NO_ROUTE")
    assert outcomes == [Confirmed() if number % 3 else returned for number in range(60)]


async def test_bodies_of_any_size_arrive_whole(wiring: Wiring, publisher: Publisher) -> None:
    """Empty, around the frame size, and larger than one write."""
    consumer = await wiring.consumer()
    sizes = [0, 1, 131_063, 131_064, 131_065, 262_128, 1 << 20, 3 << 20, 7]

    assert await publisher.publish([wiring.message("a" * size) for size in sizes]) == [Confirmed()] * len(sizes)

    got = await take(consumer, len(sizes))
    assert [len(delivery.body) for delivery in got] == sizes
    assert all(set(delivery.body) <= {ord("a")} for delivery in got)


async def test_batches_published_at_once_keep_their_own_outcomes(wiring: Wiring, publisher: Publisher) -> None:
    """Outcomes never cross between batches that share the channel."""
    await wiring.consumer(prefetch=2000)

    async def publish(which: int) -> list[object]:
        to = "x" if which % 2 else "nobody"
        return [type(o) for o in await publisher.publish([wiring.message(to=to)] * 40)]

    results = await asyncio.gather(*(publish(which) for which in range(20)))

    assert results == [[Confirmed if which % 2 else Returned] * 40 for which in range(20)]


async def test_a_missing_exchange_is_refused_and_the_next_batch_goes_out(wiring: Wiring, publisher: Publisher) -> None:
    """A missing exchange closes the channel; only its own messages are known to be lost."""
    outcomes = await publisher.publish([wiring.message(exchange="missing"), wiring.message()])

    assert outcomes[0] == Refused("no exchange 'missing'")
    assert isinstance(outcomes[1], Unknown | Confirmed)
    assert await publisher.publish([wiring.message()]) == [Confirmed()]


async def test_what_the_protocol_cannot_carry_is_refused_alone(wiring: Wiring, publisher: Publisher) -> None:
    """A message that can't be encoded doesn't cost its neighbours anything."""
    large = wiring.message()
    large.headers["ce-large"] = "a" * 200_000

    outcomes = await publisher.publish([wiring.message(), wiring.message(to="k" * 256), large])

    assert outcomes[0] == Confirmed()
    assert isinstance(outcomes[1], Refused)
    assert isinstance(outcomes[2], Refused)


async def test_a_full_queue_refuses(wiring: Wiring, publisher: Publisher) -> None:
    """A negative confirm is an outcome, of exactly the messages that it names."""
    name = f"{wiring.topology.prefix}.small"
    await publisher.declare(
        Declarations(
            queues=(Queue(name, {"x-max-length": 3, "x-overflow": "reject-publish"}),),
            bindings=(Binding(wiring.topology.commands_exchange, name, "small"),),
        )
    )

    outcomes = await publisher.publish([wiring.message(to="small") for _ in range(10)])

    kinds = [type(outcome) for outcome in outcomes]
    assert kinds.count(Confirmed) >= 3
    assert kinds.count(Refused) >= 1
    assert set(kinds) == {Confirmed, Refused}


async def test_an_empty_batch_is_nothing(publisher: Publisher) -> None:
    """Nothing asked, nothing done."""
    assert await publisher.publish([]) == []


async def test_a_refused_declaration_is_reported_and_harms_nothing(wiring: Wiring, publisher: Publisher) -> None:
    """A conflict with what exists is the caller's to know; publishing goes on."""
    conflict = Declarations(exchanges=(Exchange(wiring.topology.commands_exchange, "topic"),))

    with pytest.raises(BrokerUnavailable, match="PRECONDITION_FAILED"):
        await publisher.declare(conflict)

    assert await publisher.publish([wiring.message()]) == [Confirmed()]
    assert publisher.connection.sessions_opened == 1


async def test_a_cancelled_publish_leaves_the_channel_in_step(wiring: Wiring, publisher: Publisher) -> None:
    """Whoever stops waiting doesn't shift the confirms of others."""
    for _ in range(20):
        task = asyncio.create_task(publisher.publish([wiring.message(to="nobody")] * 50))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await publisher.publish([wiring.message()] * 5) == [Confirmed()] * 5
    assert [type(o) for o in await publisher.publish([wiring.message(to="nobody")])] == [Returned]


async def test_without_the_librarys_insides_the_plain_path_is_taken(
    wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release of the library that looks different inside costs speed and nothing else."""
    monkeypatch.setattr("countermand.wire.publisher.can_register_confirms", lambda _channel: False)
    publisher = await wiring.publisher()
    monkeypatch.setattr(publisher, "_publish_fast", None)

    assert await publisher.publish([wiring.message(), wiring.message(to="nobody")]) == [
        Confirmed(),
        Returned(code=312, text="NO_ROUTE"),
    ]


async def test_the_fast_path_is_taken_with_the_installed_library(wiring: Wiring) -> None:
    """The pinned library has what the fast path relies on; if this fails, its insides have changed."""
    publisher = await wiring.publisher()
    session = await publisher.connection.wait_session()
    batch = Batch([wiring.message()])
    payload = publisher._register(session, batch, [(0, uuid.uuid4().hex, b"")])

    assert payload == b""
    assert publisher._fast_now
    assert isinstance(session.channel.confirmations[1], Confirm)


async def test_closing_makes_publishes_under_way_unknown(wiring: Wiring, publisher: Publisher) -> None:
    """Nobody waits for a confirm that can't come any more."""
    task = asyncio.create_task(publisher.publish([wiring.message()]))
    await asyncio.sleep(0)
    await publisher.close()

    assert [type(outcome) for outcome in await task] in ([Unknown], [Confirmed])
    assert not publisher.ready
    assert [type(outcome) for outcome in await publisher.publish([wiring.message()])] == [Unknown]


async def test_confirmed_publishes_leave_nothing_behind(wiring: Wiring) -> None:
    """Memory doesn't grow with the number of messages."""
    publisher = await wiring.publisher()
    await publisher.publish([*wiring.messages(200), wiring.message(to="nobody")])
    session = await publisher.connection.wait_session()

    await eventually(lambda: not session.channel.confirmations)
    assert session.channel.message_id_delivery_tag == {}
