"""What a client may not do, and the number with which the protocol says so."""

from collections.abc import Callable
from typing import Any

import pytest
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue
from pamqp.header import ContentHeader

from amqp.raw import RawClient, connected, logged_in
from wire.wiring import Broker

pytestmark = pytest.mark.servers

CHANNEL_FAULTS: dict[str, tuple[int, Callable[[str], Any]]] = {
    "passive queue": (404, lambda name: Queue.Declare(queue=name, passive=True)),
    "passive exchange": (404, lambda name: Exchange.Declare(exchange=name, passive=True)),
    "consume": (404, lambda name: Basic.Consume(queue=name)),
    "get": (404, lambda name: Basic.Get(queue=name)),
    "purge": (404, lambda name: Queue.Purge(queue=name)),
    "bind nothing": (404, lambda name: Queue.Bind(queue=name, exchange="amq.direct", routing_key="a")),
    "nameless queue": (404, lambda _: Queue.Bind(queue="", exchange="amq.direct", routing_key="a")),
    "unknown tag": (406, lambda _: Basic.Ack(delivery_tag=7)),
    "unknown tags": (406, lambda _: Basic.Nack(delivery_tag=7, multiple=True)),
    "reserved queue": (403, lambda _: Queue.Declare(queue="amq.mine")),
    "reserved exchange": (403, lambda _: Exchange.Declare(exchange="amq.mine")),
    "predeclared exchange": (403, lambda _: Exchange.Delete(exchange="amq.direct")),
    "default exchange": (403, lambda _: Exchange.Delete(exchange="")),
    "transient quorum": (406, lambda name: Queue.Declare(queue=name, arguments={"x-queue-type": "quorum"})),
    "ttl below 0": (406, lambda name: Queue.Declare(queue=name, arguments={"x-message-ttl": -1})),
    "ttl as text": (406, lambda name: Queue.Declare(queue=name, arguments={"x-message-ttl": "1"})),
    "expires at once": (406, lambda name: Queue.Declare(queue=name, arguments={"x-expires": 0})),
    "key without exchange": (406, lambda name: Queue.Declare(queue=name, arguments={"x-dead-letter-routing-key": "a"})),
    "unknown overflow": (406, lambda name: Queue.Declare(queue=name, arguments={"x-overflow": "burst"})),
    "unknown type": (406, lambda name: Queue.Declare(queue=name, durable=True, arguments={"x-queue-type": "pile"})),
}

CONNECTION_FAULTS: dict[str, tuple[int, Callable[[RawClient], None]]] = {
    "immediate": (540, lambda client: client.send(Basic.Publish(routing_key="a", immediate=True), ContentHeader())),
    "second open": (504, lambda client: client.send(Channel.Open())),
    "no open": (504, lambda client: client.send(Basic.Qos(prefetch_count=1), channel=7)),
    "prefetch in bytes": (540, lambda client: client.send(Basic.Qos(prefetch_size=10))),
    "content alone": (505, lambda client: client.send_bytes(b"\x03\0\x01\0\0\0\x01a\xce")),
    "content cut off": (505, lambda client: client.send(Basic.Publish(routing_key="a"), Basic.Qos())),
    "frame type": (501, lambda client: client.send_bytes(b"\x09\0\x01\0\0\0\x04abcd\xce")),
}


@pytest.mark.parametrize("fault", CHANNEL_FAULTS)
async def test_a_mistake_costs_the_channel(client: RawClient, namespace: str, fault: str) -> None:
    """It is closed with code, class and method of what was wrong; the connection stays, and its other channels."""
    code, wrong = CHANNEL_FAULTS[fault]
    await client.open_channel(2)
    method = wrong(namespace)
    close = await client.ask(method, Channel.Close)
    assert (close.reply_code, close.class_id, close.method_id) == (code, method.index >> 16, method.index & 0xFFFF)
    client.send(Basic.Qos(prefetch_count=1))  # Sent before it knew: passed over.
    client.send(Channel.CloseOk())
    await client.ask(Basic.Qos(prefetch_count=1), Basic.QosOk, 2)
    await client.open_channel()
    await client.nothing_more()


@pytest.mark.parametrize("fault", CONNECTION_FAULTS)
async def test_a_breach_costs_the_connection(broker: Broker, client: RawClient, fault: str) -> None:
    """It is closed with the code, ends after the answer, and nobody else notices."""
    code, breach = CONNECTION_FAULTS[fault]
    async with logged_in(broker.address) as other:
        breach(client)
        close = await client.expect(Connection.Close, 0)
        assert close.reply_code == code
        client.send(Connection.CloseOk(), channel=0)
        assert await client.ended()
        await other.nothing_more()


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"durable": True}, {"durable": False}, "durable"),
        ({"durable": True}, {"durable": True, "auto_delete": True}, "auto_delete"),
        ({"arguments": {"x-max-length": 3}}, {"arguments": {"x-max-length": 4}}, "x-max-length"),
        ({"arguments": {"x-message-ttl": 9}}, {}, "x-message-ttl"),
        ({}, {"arguments": {"x-dead-letter-exchange": "amq.fanout"}}, "x-dead-letter-exchange"),
    ],
)
async def test_what_exists_differently(
    client: RawClient, namespace: str, first: dict[str, Any], second: dict[str, Any], named: str
) -> None:
    """A second declaration that says something else is refused, and names what differs; the same again is fine."""
    first, second = ({"durable": True, **each} for each in (first, second))
    await client.declare(namespace, **first)
    await client.declare(namespace, **first)
    close = await client.ask(Queue.Declare(queue=namespace, **second), Channel.Close)
    assert close.reply_code == 406
    assert f"inequivalent arg '{named}' for queue '{namespace}' in vhost '/'" in (close.reply_text or "")


async def test_an_exchange_of_another_type(client: RawClient, namespace: str) -> None:
    """It stays what it was."""
    await client.exchange(namespace, "topic")
    await client.exchange(namespace, "topic")
    close = await client.ask(Exchange.Declare(exchange=namespace, exchange_type="fanout", durable=True), Channel.Close)
    assert close.reply_code == 406
    assert "inequivalent arg 'type'" in (close.reply_text or "")


async def test_somebody_elses_exclusive_queue(broker: Broker, client: RawClient, namespace: str) -> None:
    """Nobody else may look into it; it is gone with its connection."""
    await client.declare(namespace, durable=False, exclusive=True)
    async with logged_in(broker.address) as other:
        for wrong in (
            Queue.Declare(queue=namespace, passive=True),
            Queue.Declare(queue=namespace, exclusive=True),
            Basic.Consume(queue=namespace),
            Basic.Get(queue=namespace),
            Queue.Delete(queue=namespace),
        ):
            close = await other.ask(wrong, Channel.Close)
            assert (close.reply_code, type(wrong).__name__) == (405, type(wrong).__name__)
            other.send(Channel.CloseOk())
            await other.open_channel()
        await client.log_out()
        close = await other.ask(Queue.Declare(queue=namespace, passive=True), Channel.Close)
        assert close.reply_code == 404


async def test_conditions_of_deleting(client: RawClient, namespace: str) -> None:
    """if-unused and if-empty are looked at; what isn't there is deleted already."""
    await client.declare(namespace)
    client.publish(namespace)
    close = await client.ask(Queue.Delete(queue=namespace, if_empty=True), Channel.Close)
    assert close.reply_code == 406
    client.send(Channel.CloseOk())
    await client.open_channel()
    await client.consume(namespace, consumer_tag="c")
    await client.delivery()
    close = await client.ask(Queue.Delete(queue=namespace, if_unused=True), Channel.Close)
    assert close.reply_code == 406
    client.send(Channel.CloseOk())
    await client.open_channel()
    assert (await client.ask(Queue.Delete(queue=namespace), Queue.DeleteOk)).message_count == 1
    assert (await client.ask(Queue.Delete(queue=namespace), Queue.DeleteOk)).message_count == 0
    await client.ask(Exchange.Delete(exchange=namespace), Exchange.DeleteOk)


@pytest.mark.parametrize("wrong", [{"user": "stranger"}, {"password": "hunter2"}])
async def test_wrong_credentials(broker: Broker, wrong: dict[str, Any]) -> None:
    """403 for a client that understands it, whatever was wrong; nothing of what it said is repeated."""
    async with connected(broker.address) as client:
        await client.greet(**wrong)
        close = await client.expect(Connection.Close, 0)
        assert close.reply_code == 403
        assert "hunter2" not in (close.reply_text or "")


async def test_another_protocol(broker: Broker) -> None:
    """Whoever speaks something else is told what is spoken here, and let go."""
    async with connected(broker.address) as client:
        client.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.raw(4) == b"AMQP"


async def test_another_vhost(broker: Broker) -> None:
    """There is only /."""
    async with connected(broker.address) as client:
        await client.greet()
        tune = await client.expect(Connection.Tune, 0)
        client.send(Connection.TuneOk(tune.channel_max, 131_072, 0), channel=0)
        close = await client.ask(Connection.Open("/nowhere"), Connection.Close, 0)
        assert (close.reply_code, close.class_id, close.method_id) == (530, 10, 40)
