"""Publishing: what is confirmed, what is returned, and in which order that is said."""

from typing import Any

import pytest
from pamqp.commands import Basic, Channel

from amqp.raw import RawClient
from wire.wiring import Broker

pytestmark = pytest.mark.servers


async def confirms(client: RawClient, count: int) -> list[bool]:
    """The answers to `count` publishes, in their order."""
    answers: dict[int, bool] = {}
    while len(answers) < count:
        _, answer = await client.next()
        assert isinstance(answer, Basic.Ack | Basic.Nack), answer
        last = answer.delivery_tag or 0
        first = 1 if answer.multiple else last
        answers |= dict.fromkeys(set(range(first, last + 1)) - set(answers), isinstance(answer, Basic.Ack))
    return [answers[number] for number in range(1, count + 1)]


async def test_everything_is_confirmed_once(confirmed: RawClient, namespace: str) -> None:
    """Routed or not, each publish is answered."""
    await confirmed.declare(namespace)
    for number in range(40):
        confirmed.publish(namespace if number % 2 else f"{namespace}.nowhere")
    assert await confirms(confirmed, 40) == [True] * 40
    assert (await confirmed.counts(namespace))[0] == 20


async def test_the_return_comes_before_the_confirm(confirmed: RawClient, namespace: str) -> None:
    """Whoever waits for the confirm knows by then that the message went nowhere."""
    confirmed.publish(namespace, b"lost", exchange="amq.direct", mandatory=True, message_id="m", headers={"a": 1})
    returned = await confirmed.content(Basic.Return)
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("amq.direct", namespace)
    assert (returned.body, returned.properties.message_id, returned.headers) == (b"lost", "m", {"a": 1})
    assert (await confirmed.expect(Basic.Ack)).delivery_tag == 1


async def test_a_missing_exchange_costs_the_channel(confirmed: RawClient, namespace: str) -> None:
    """What came before it is confirmed, what came after it is not there."""
    await confirmed.declare(namespace)
    confirmed.publish(namespace)
    assert await confirms(confirmed, 1) == [True]
    confirmed.publish(namespace, exchange=f"{namespace}.missing")
    confirmed.publish(namespace)
    close = await confirmed.expect(Channel.Close)
    assert (close.reply_code, close.class_id, close.method_id) == (404, 60, 40)
    assert close.reply_text == f"NOT_FOUND - no exchange '{namespace}.missing' in vhost '/'"
    confirmed.send(Channel.CloseOk())
    await confirmed.open_channel()
    assert (await confirmed.counts(namespace))[0] == 1


async def test_properties_arrive_as_they_were_sent(client: RawClient, namespace: str) -> None:
    """All of them, and headers of every type."""
    await client.declare(namespace)
    headers: dict[str, Any] = {"s": "text", "l": 2**40, "b": True, "d": 1.5, "n": None, "t": {"deep": [1, {"er": "x"}]}}
    properties: dict[str, Any] = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": headers,
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "100000",
        "message_id": "m",
        "message_type": "t",
        "user_id": "guest",
        "app_id": "a",
    }
    client.publish(namespace, b"body", **properties)
    await client.nothing_more()
    got = await client.get(namespace)
    assert got is not None
    assert got.body == b"body"
    assert {name: getattr(got.properties, name) for name in properties} == properties


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 400_000])
async def test_bodies_are_cut_to_frames_and_joined(client: RawClient, namespace: str, size: int) -> None:
    """Whatever their size."""
    await client.declare(namespace)
    await client.consume(namespace, no_ack=True)
    client.publish(namespace, b"a" * size)
    assert len((await client.delivery()).body) == size


@pytest.mark.parametrize(
    ("properties", "code"), [({"expiration": "soon"}, 406), ({"expiration": "-1"}, 406), ({"user_id": "root"}, 406)]
)
async def test_properties_that_make_no_sense(client: RawClient, namespace: str, properties: Any, code: int) -> None:
    """The channel is closed, and the message is nowhere."""
    await client.declare(namespace)
    client.publish(namespace, **properties)
    assert (await client.expect(Channel.Close)).reply_code == code


async def test_a_message_that_is_too_large(broker: Broker, confirmed: RawClient, namespace: str) -> None:
    """The channel is closed, at the latest when its size is known."""
    await confirmed.declare(namespace)
    confirmed.publish(namespace, b"a" * (16 * 1024 * 1024 + 1))
    # RabbitMQ before 4.0 takes 128 MiB.
    _, answer = await confirmed.next()
    if isinstance(answer, Channel.Close):
        assert answer.reply_code == 406
        assert "larger than" in (answer.reply_text or "")
    else:
        assert getattr(broker, "version", "").startswith("3.")


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_a_full_queue_refuses(confirmed: RawClient, namespace: str, queue_type: str) -> None:
    """reject-publish is answered with basic.nack, and only what was confirmed is in the queue."""
    arguments = {"x-queue-type": queue_type, "x-max-length": 3, "x-overflow": "reject-publish"}
    await confirmed.declare(namespace, arguments=arguments)
    answers = []
    for number in range(12):
        confirmed.publish(namespace)
        _, answer = await confirmed.next()
        assert answer.delivery_tag == number + 1
        answers.append(isinstance(answer, Basic.Ack))
    assert answers[:3] == [True] * 3
    assert answers[-1] is False


@pytest.mark.parametrize(
    ("kind", "bound", "keys", "expected"),
    [
        ("direct", "a.b", ["a.b", "a", "a.b.c"], ["a.b"]),
        ("fanout", "ignored", ["", "x"], ["", "x"]),
        ("topic", "a.*.c", ["a.b.c", "a.c", "a.b.b.c", "a..c"], ["a.b.c", "a..c"]),
        ("topic", "a.#", ["a", "a.b", "a.b.c", "b.a"], ["a", "a.b", "a.b.c"]),
        ("topic", "#.z.#", ["z", "a.z", "z.a", "a.z.b", "az"], ["z", "a.z", "z.a", "a.z.b"]),
        ("topic", "#", ["", "a.b"], ["", "a.b"]),
        ("topic", "*", ["a", "", "a.b"], ["a"]),
    ],
)
async def test_where_messages_go(
    client: RawClient, namespace: str, kind: str, bound: str, keys: list[str], expected: list[str]
) -> None:
    """Each type of exchange reads the routing key in its own way; two bindings don't bring two copies."""
    await client.declare(namespace)
    await client.exchange(namespace, kind)
    await client.bind(namespace, namespace, bound)
    if kind == "topic":
        await client.bind(namespace, namespace, bound.replace("b", "*"))
    await client.consume(namespace, no_ack=True)
    for key in keys:
        client.publish(key, exchange=namespace)
    client.publish(namespace, b"the end")
    got = []
    while (delivery := await client.delivery()).body != b"the end":
        got.append(delivery.method.routing_key)
    assert got == expected
