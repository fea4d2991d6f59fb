"""Consuming: who gets what, how much at once, and what comes again."""

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Connection, Queue

from amqp.raw import RawClient, logged_in
from support import eventually
from wire.wiring import Broker

pytestmark = pytest.mark.servers

TYPES = pytest.mark.parametrize("queue_type", ["classic", "quorum"])


async def filled(client: RawClient, queue: str, count: int, queue_type: str = "classic") -> None:
    await client.declare(queue, arguments={"x-queue-type": queue_type})
    for number in range(count):
        client.publish(queue, str(number).encode(), delivery_mode=2)


async def wait_for(client: RawClient, queue: str, ready: int) -> None:
    """Counts of quorum queues lag a little."""

    async def there() -> bool:
        return (await client.counts(queue))[0] == ready

    await eventually(there)


@TYPES
async def test_everything_comes_in_order(client: RawClient, namespace: str, queue_type: str) -> None:
    """With tags that count from one, under the consumer's name."""
    await filled(client, namespace, 50, queue_type)
    assert await client.consume(namespace, consumer_tag="me") == "me"
    got = [await client.delivery() for _ in range(50)]
    assert [int(each.body) for each in got] == list(range(50))
    assert [each.method.delivery_tag for each in got] == list(range(1, 51))
    assert {(each.method.consumer_tag, each.method.redelivered) for each in got} == {("me", False)}


async def test_prefetch_bounds_each_consumer(client: RawClient, namespace: str) -> None:
    """Two consumers with a prefetch of two hold four; one acknowledgement brings one more."""
    await filled(client, namespace, 10)
    await client.ask(Basic.Qos(prefetch_count=2), Basic.QosOk)
    await client.consume(namespace, consumer_tag="a")
    held = [await client.delivery(), await client.delivery()]
    await client.consume(namespace, consumer_tag="b")
    held += [await client.delivery(), await client.delivery()]
    assert [each.method.consumer_tag for each in held] == ["a", "a", "b", "b"]
    await wait_for(client, namespace, 6)
    client.send(Basic.Ack(delivery_tag=held[3].method.delivery_tag))
    assert (await client.delivery()).method.consumer_tag == "b"
    await wait_for(client, namespace, 5)


async def test_a_global_prefetch_bounds_the_channel(client: RawClient, namespace: str) -> None:
    """Two consumers hold two together."""
    await filled(client, namespace, 10)
    await client.ask(Basic.Qos(prefetch_count=2, global_=True), Basic.QosOk)
    await client.consume(namespace, consumer_tag="a")
    await client.delivery()
    second = await client.delivery()
    await client.consume(namespace, consumer_tag="b")
    await wait_for(client, namespace, 8)
    client.send(Basic.Ack(delivery_tag=second.method.delivery_tag, multiple=True))
    await client.delivery()
    await client.delivery()
    await wait_for(client, namespace, 6)


async def test_consumers_take_turns(broker: Broker, client: RawClient, namespace: str) -> None:
    """Nobody gets everything while somebody else waits."""
    await client.declare(namespace)
    async with logged_in(broker.address) as other:
        for each in (client, other):
            await each.ask(Basic.Qos(prefetch_count=5), Basic.QosOk)
            await each.consume(namespace)
        for number in range(10):
            client.publish(namespace, str(number).encode())
        for each in (client, other):
            assert len({int((await each.delivery()).body) for _ in range(5)}) == 5


@TYPES
async def test_multiple_settles_everything_up_to_a_tag(client: RawClient, namespace: str, queue_type: str) -> None:
    """And nothing beyond; what was settled by itself before may stand in between."""
    await filled(client, namespace, 8, queue_type)
    await client.consume(namespace)
    for _ in range(8):
        await client.delivery()
    client.send(Basic.Ack(delivery_tag=2), Basic.Ack(delivery_tag=5, multiple=True))
    client.send(Basic.Nack(delivery_tag=7, multiple=True, requeue=False))
    await client.ask(Channel.Close(200, "", 0, 0), Channel.CloseOk)
    await client.open_channel()
    await wait_for(client, namespace, 1)
    again = await client.get(namespace)
    assert again is not None
    assert again.body == b"7"


@TYPES
async def test_what_comes_again_says_so(client: RawClient, namespace: str, queue_type: str) -> None:
    """Redelivered, counted in quorum queues, and before what is younger."""
    arguments = {"x-queue-type": queue_type} | ({"x-delivery-limit": 9} if queue_type == "quorum" else {})
    await client.declare(namespace, arguments=arguments)
    for number in range(3):
        client.publish(namespace, str(number).encode())
    await client.ask(Basic.Qos(prefetch_count=1), Basic.QosOk)
    await client.consume(namespace)
    first = await client.delivery()
    assert (first.body, first.method.redelivered) == (b"0", False)
    for count in (1, 2):
        client.send(Basic.Reject(delivery_tag=count, requeue=True))
        again = await client.delivery()
        assert (again.body, again.method.redelivered) == (b"0", True)
        assert again.headers.get("x-delivery-count") == (count if queue_type == "quorum" else None)


@pytest.mark.parametrize("way", ["channel", "connection", "cut"])
async def test_what_is_held_comes_back(broker: Broker, client: RawClient, namespace: str, way: str) -> None:
    """However a consumer ends, what it has not settled goes to the next one."""
    async with logged_in(broker.address) as holder:
        await filled(holder, namespace, 3)
        await holder.consume(namespace)
        for _ in range(3):
            await holder.delivery()
        if way == "channel":
            await holder.ask(Channel.Close(200, "", 0, 0), Channel.CloseOk)
        elif way == "connection":
            await holder.log_out()
        else:
            holder.cut()
        await client.consume(namespace)
        got = [await client.delivery() for _ in range(3)]
    assert [(each.body, each.method.redelivered) for each in got] == [(b"0", True), (b"1", True), (b"2", True)]


async def test_recover_brings_everything_again(client: RawClient, namespace: str) -> None:
    """On the same channel too."""
    await filled(client, namespace, 2)
    await client.consume(namespace)
    await client.delivery()
    await client.delivery()
    client.send(Basic.Recover(requeue=True))
    frames = [await client.next() for _ in range(7)]
    kinds = [type(received) for _, received in frames]
    assert kinds.count(Basic.RecoverOk) == 1
    assert [frame.redelivered for _, frame in frames if isinstance(frame, Basic.Deliver)] == [True, True]


async def test_a_cancelled_consumer_keeps_what_it_has(client: RawClient, namespace: str) -> None:
    """Nothing new comes; what is here can be settled."""
    await filled(client, namespace, 1)
    await client.consume(namespace, consumer_tag="c")
    await client.delivery()
    await client.ask(Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    await client.ask(Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    client.publish(namespace, b"later")
    client.send(Basic.Ack(delivery_tag=1))
    await wait_for(client, namespace, 1)


async def test_a_deleted_queue_cancels_its_consumers(broker: Broker, client: RawClient, namespace: str) -> None:
    """They are told, so that nobody waits for ever."""
    await client.declare(namespace)
    await client.consume(namespace, consumer_tag="c")
    async with logged_in(broker.address) as other:
        await other.ask(Queue.Delete(queue=namespace), Queue.DeleteOk)
    assert (await client.expect(Basic.Cancel)).consumer_tag == "c"
    await client.nothing_more()


async def test_an_exclusive_consumer_is_alone(broker: Broker, client: RawClient, namespace: str) -> None:
    """403 for the second, and for the first that wants to be exclusive too late."""
    await client.declare(namespace)
    await client.consume(namespace, exclusive=True)
    async with logged_in(broker.address) as other:
        assert (await other.ask(Basic.Consume(queue=namespace), Channel.Close)).reply_code == 403
        other.send(Channel.CloseOk())
        await client.ask(Channel.Close(200, "", 0, 0), Channel.CloseOk)
        await other.open_channel()
        await other.consume(namespace)
        await client.open_channel()
        assert (await client.ask(Basic.Consume(queue=namespace, exclusive=True), Channel.Close)).reply_code == 403


async def test_a_tag_is_used_once(client: RawClient, namespace: str) -> None:
    """530, and the connection is gone."""
    await client.declare(namespace)
    await client.consume(namespace, consumer_tag="c")
    client.send(Basic.Consume(queue=namespace, consumer_tag="c"))
    assert (await client.expect(Connection.Close, 0)).reply_code == 530


@TYPES
async def test_getting_one_by_one(client: RawClient, namespace: str, queue_type: str) -> None:
    """With how many are left, and nothing at the end."""
    await filled(client, namespace, 2, queue_type)
    await wait_for(client, namespace, 2)
    first = await client.get(namespace, no_ack=False)
    assert first is not None
    assert (first.body, first.method.message_count, first.method.delivery_tag) == (b"0", 1, 1)
    second = await client.get(namespace)
    assert second is not None
    assert second.body == b"1"
    assert await client.get(namespace) is None
    client.send(Basic.Nack(delivery_tag=1, requeue=True))
    await wait_for(client, namespace, 1)


async def test_a_queue_for_its_consumers_only(client: RawClient, namespace: str) -> None:
    """auto-delete: gone with the last of them; and a server's name is found again as the channel's last queue."""
    await client.declare(namespace, durable=False, auto_delete=True)
    await client.consume(namespace, consumer_tag="c")
    await client.ask(Basic.Cancel(consumer_tag="c"), Basic.CancelOk)
    assert (await client.ask(Queue.Declare(queue=namespace, passive=True), Channel.Close)).reply_code == 404
    client.send(Channel.CloseOk())
    await client.open_channel()
    name = await client.declare("", durable=False, exclusive=True)
    assert name.startswith("amq.gen-")
    await client.bind("", "amq.direct", namespace)
    client.publish(namespace, b"there", exchange="amq.direct")
    await client.consume("", no_ack=True)
    assert (await client.delivery()).body == b"there"


async def test_channels_are_apart(client: RawClient, namespace: str) -> None:
    """Tags, prefetch and ends are a channel's own."""
    await filled(client, namespace, 4)
    await client.open_channel(2)
    await client.ask(Basic.Qos(prefetch_count=2), Basic.QosOk)
    await client.consume(namespace, consumer_tag="c")
    await client.delivery()
    await client.delivery()
    await client.consume(namespace, consumer_tag="c", channel=2)
    assert [(await client.delivery(2)).method.delivery_tag for _ in range(2)] == [1, 2]
    client.send(Basic.Ack(delivery_tag=9))
    frames = [await client.next() for _ in range(7)]  # The close, and twice a delivery with header and body.
    assert [(channel, each.reply_code) for channel, each in frames if isinstance(each, Channel.Close)] == [(1, 406)]
    assert {each.value for _, each in frames if isinstance(each, ContentBody)} == {b"0", b"1"}
    assert {channel for channel, each in frames if isinstance(each, Basic.Deliver)} == {2}
