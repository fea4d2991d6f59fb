"""Every limit is reached, and what is beyond it is refused without harm to what is within."""

import struct
from typing import Any

import pytest
from pamqp import frame
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue
from pamqp.header import ContentHeader

from amqp.attacks import framed
from amqp.raw import RawClient, connected, logged_in
from countermand.coordinator.dev.amqp import DevelopmentBroker, Limits
from countermand.coordinator.dev.amqp.confirming import Confirming
from countermand.coordinator.dev.amqp.exchanges import matches
from countermand.coordinator.dev.amqp.limits import ARGUMENT_DEPTH_MAX, HEADER_DEPTH_MAX, MESSAGE_OVERHEAD_BYTES
from support import eventually

SMALL = Limits(
    connections_max=3,
    channels_max=4,
    consumers_per_channel_max=2,
    message_bytes_max=10_000,
    header_bytes_max=1_000,
    queues_max=3,
    exchanges_max=5,
    bindings_max=2,
    queue_bytes_max=50 * (MESSAGE_OVERHEAD_BYTES + 100),
    bytes_max=80 * (MESSAGE_OVERHEAD_BYTES + 100),
    output_bytes_max=64 * 1024,
)


@pytest.fixture
async def small() -> Any:
    async with DevelopmentBroker(None, limits=SMALL) as broker:
        yield broker


@pytest.fixture
async def narrow() -> Any:
    """Little room on the way to each client."""
    async with DevelopmentBroker(None, limits=Limits(output_bytes_max=SMALL.output_bytes_max)) as broker:
        yield broker


def address(broker: DevelopmentBroker) -> tuple[str, int]:
    return "127.0.0.1", broker.port


async def test_connections(small: DevelopmentBroker) -> None:
    """One too many is let go at once; there is room again when one ends."""
    async with connected(address(small)) as one, connected(address(small)), logged_in(address(small)):
        async with connected(address(small)) as fourth:
            assert await fourth.ended()
        one.cut()

        async def room() -> bool:
            try:
                async with logged_in(address(small)) as client:
                    await client.nothing_more()
            except EOFError:
                return False
            return True

        await eventually(room)


async def test_channels(small: DevelopmentBroker) -> None:
    """504 beyond the number that was agreed on."""
    async with logged_in(address(small)) as client:
        await client.open_channel(4)
        client.send(Channel.Open(), channel=5)
        assert (await client.expect(Connection.Close, 0)).reply_code == 504


@pytest.mark.parametrize(
    "too_much",
    [
        [Queue.Declare(queue=f"q{number}") for number in range(4)],
        [Exchange.Declare(exchange=f"e{number}") for number in range(3)],
        [Queue.Declare(queue="q"), *(Queue.Bind(queue="q", exchange="amq.topic", routing_key=key) for key in "abc")],
        [Queue.Declare(queue="q"), *(Basic.Consume(queue="q", consumer_tag=tag) for tag in "abc")],
    ],
    ids=["queues", "exchanges", "bindings", "consumers"],
)
async def test_what_can_be_declared(small: DevelopmentBroker, too_much: list[Any]) -> None:
    """406 for the one too many; the others are there."""
    async with logged_in(address(small)) as client:
        client.send(*too_much)
        answers = [(await client.next())[1] for _ in too_much]
        assert [isinstance(answer, Channel.Close) for answer in answers] == [False] * (len(too_much) - 1) + [True]
        assert answers[-1].reply_code == 406


async def test_messages(small: DevelopmentBroker) -> None:
    """406 for one that is too large, in its body or its header."""
    async with logged_in(address(small)) as client:
        client.publish("q", b"a" * 10_001)
        assert (await client.expect(Channel.Close)).reply_code == 406
        client.send(Channel.CloseOk())
        await client.open_channel()
        client.publish("q", headers={"h": "a" * 1_000})
        assert (await client.expect(Channel.Close)).reply_code == 406


async def test_a_full_queue_and_a_full_broker(small: DevelopmentBroker) -> None:
    """basic.nack, and nothing in between: what is confirmed is there, what is refused is not; room is used again."""
    async with logged_in(address(small), confirms=True) as client:
        answers: list[Any] = []
        for queue in ("one", "two"):
            await client.declare(queue)
            for _ in range(60):
                client.publish(queue, b"a" * 90)
                answers.append((await client.next())[1])
        taken = [isinstance(answer, Basic.Ack) for answer in answers]
        one, two = (await client.counts("one"))[0], (await client.counts("two"))[0]
        assert (taken[:60].count(True), taken[60:].count(True)) == (one, two)
        assert 45 <= one <= 55
        assert 75 <= one + two <= 90
        await client.ask(Queue.Purge(queue="one"), Queue.PurgeOk)
        client.publish("one")
        assert isinstance((await client.next())[1], Basic.Ack)


async def test_a_full_broker_is_not_silent(small: DevelopmentBroker) -> None:
    """Without confirms nobody would hear of it: the channel is closed."""
    async with logged_in(address(small)) as client:
        await client.declare("q")
        for _ in range(60):
            client.publish("q", b"a" * 90)
        close = await client.expect(Channel.Close)
        assert close.reply_code == 406
        assert "full" in (close.reply_text or "")


async def test_unfinished_messages_count(small: DevelopmentBroker) -> None:
    """Whoever begins messages and doesn't end them takes memory too: 506, and it is given back."""
    async with logged_in(address(small)) as client:
        for number in (2, 3, 4):
            await client.open_channel(number)
        begun: list[Any] = [Basic.Publish(routing_key="q"), ContentHeader(body_size=10_000)]
        for number in (1, 2, 3, 4):
            client.send(*begun, channel=number)
            for _ in range(9):
                client.send_bytes(framed(3, number, b"a" * 1_000))
        assert small.limits.bytes_max > 4 * 9_000  # Not yet reached.
        await client.ask(Channel.Close(200, "", 0, 0), Channel.CloseOk)
        await eventually(lambda: 27_000 < small.host.bytes < 28_000)
    await eventually(lambda: small.host.bytes == 0)
    tight = Limits(bytes_max=5_000)
    async with DevelopmentBroker(None, limits=tight) as broker, logged_in(address(broker)) as client:
        client.send(Basic.Publish(routing_key="q"), ContentHeader(body_size=10_000))
        for _ in range(6):
            client.send_bytes(framed(3, 1, b"a" * 1_000))
        assert (await client.expect(Connection.Close, 0)).reply_code == 506
        assert broker.host.bytes == 0


async def test_a_client_that_does_not_read(narrow: DevelopmentBroker) -> None:
    """Deliveries to it stop, others are served, and it gets the rest when it reads again."""
    async with logged_in(address(narrow)) as slow, logged_in(address(narrow)) as quick:
        await quick.declare("q")
        await slow.consume("q", no_ack=True)
        sent = 0
        while (await quick.counts("q"))[0] <= 30:  # Ten of them may be about to be handed out.
            assert sent < 10_000
            for _ in range(10):
                quick.publish("q", b"a" * 9_000)
            sent += 10
        for _ in range(5):
            assert await quick.get("q") is not None
        for _ in range(sent - 5):
            await slow.delivery()


async def test_a_client_that_asks_and_does_not_read(narrow: DevelopmentBroker) -> None:
    """It isn't listened to any more, so its questions take no memory."""
    async with logged_in(address(narrow)) as slow, logged_in(address(narrow)) as other:
        await other.declare("q")
        other.publish("q", b"a" * 9_000)
        await other.nothing_more()
        for _ in range(20_000):
            slow.send(Basic.Get(queue="q", no_ack=False), Basic.Recover(requeue=True))
        greedy = await eventually(lambda: next((each for each in narrow._connections if not each._reading), None))
        await other.nothing_more()
        assert greedy._output.waiting_bytes < 4 * SMALL.output_bytes_max


def nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return struct.pack(">I", len(table)) + table


@pytest.mark.parametrize(("depth", "taken"), [(HEADER_DEPTH_MAX - 1, True), (HEADER_DEPTH_MAX, False)])
async def test_headers_within_headers(local: DevelopmentBroker, depth: int, taken: bool) -> None:
    """As deep as it kills clients, and no deeper; nobody else's connection suffers."""
    async with logged_in(address(local)) as client, logged_in(address(local)) as other:
        await client.declare("q")
        publish_nested(client, depth)
        if taken:
            await client.nothing_more()
        else:
            assert (await client.expect(Connection.Close, 0)).reply_code == 502
        assert (await other.counts("q"))[0] == int(taken)


def publish_nested(client: RawClient, depth: int) -> None:
    header = struct.pack(">HHQH", 60, 0, 0, 0x2000) + nested(depth)
    client.send_bytes(frame.marshal(Basic.Publish(routing_key="q"), 1) + framed(2, 1, header))


@pytest.mark.parametrize(("depth", "code"), [(ARGUMENT_DEPTH_MAX - 1, None), (ARGUMENT_DEPTH_MAX, 502), (15_000, 502)])
async def test_arguments_within_arguments(local: DevelopmentBroker, depth: int, code: int | None) -> None:
    """502 for more than anybody could mean."""
    async with logged_in(address(local)) as client:
        client.send_bytes(framed(1, 1, struct.pack(">IH", Queue.Declare.index, 0) + b"\x01q\0" + nested(depth)))
        if code is None:
            await client.expect(Queue.DeclareOk)
        else:
            assert (await client.expect(Connection.Close, 0)).reply_code == code


def test_a_topic_with_many_wildcards_is_matched_quickly() -> None:
    """Trying one length after the other would take longer than the sun has left."""
    assert matches(["#"] * 60 + ["a"], ["b"] * 100 + ["a"])
    assert not matches(["#", "x"] * 40, ["x", "b"] * 60)


def test_confirms_say_each_thing_once() -> None:
    """A run is one frame; a refusal stands alone, and what came before it is said before."""
    confirming = Confirming()
    for positive in (True, True, False, True):
        confirming.add(positive=positive)
    frames, said = confirming.frames(1), []
    while frames:
        size, _, method = frame.unmarshal(frames)
        assert isinstance(method, Basic.Ack | Basic.Nack)
        said.append((type(method), method.delivery_tag, method.multiple))
        frames = frames[size:]
    assert said == [(Basic.Ack, 2, True), (Basic.Nack, 3, False), (Basic.Ack, 4, False)]
    assert confirming.frames(1) == b""
