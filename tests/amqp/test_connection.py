"""How connections begin, live and end, where the development broker has numbers of its own."""

import asyncio
import logging
import struct
from typing import Any

import pytest
import structlog
from pamqp.commands import Basic, Channel, Connection, Exchange, Queue, Tx
from pamqp.heartbeat import Heartbeat

from amqp.attacks import framed
from amqp.raw import connected, logged_in
from countermand.coordinator.dev.amqp import BrokerUnusable, DevelopmentBroker, Limits
from support import eventually
from support.ports import free_port


def address(broker: DevelopmentBroker) -> tuple[str, int]:
    return "127.0.0.1", broker.port


async def test_it_says_what_it_is(local: DevelopmentBroker) -> None:
    """Nobody takes it for the real thing, and no capability is announced that it doesn't have."""
    async with connected(address(local)) as client:
        start = await client.greet()
    properties: dict[str, Any] = dict(start.server_properties or {})
    assert properties["product"] == "countermand development broker"
    assert "development only" in properties["information"]
    assert properties["capabilities"]["publisher_confirms"] is True
    assert properties["capabilities"]["connection.blocked"] is False


def amqplain(user: str, password: str) -> str:
    fields = (("LOGIN", user), ("PASSWORD", password))
    return "".join(f"{chr(len(name))}{name}S\0\0\0{chr(len(value))}{value}" for name, value in fields)


async def test_amqplain(local: DevelopmentBroker) -> None:
    """The other way to give a password."""
    async with logged_in(address(local), mechanism="AMQPLAIN", response=amqplain("guest", "guest")) as client:
        await client.nothing_more()


@pytest.mark.parametrize(
    "wrong",
    [
        {"response": "\0guest"},
        {"response": "guest\0guest"},
        {"mechanism": "AMQPLAIN", "response": amqplain("guest", "wrong")},
        {"mechanism": "AMQPLAIN", "response": "garbage"},
        {"mechanism": "EXTERNAL"},
    ],
)
async def test_credentials_of_a_strange_form(local: DevelopmentBroker, wrong: dict[str, Any]) -> None:
    """They are wrong credentials, and nothing worse."""
    async with connected(address(local)) as client:
        await client.greet(**wrong)
        assert (await client.expect(Connection.Close, 0)).reply_code == 403


async def test_an_old_client_is_just_cut_off(local: DevelopmentBroker) -> None:
    """One that doesn't announce authentication_failure_close gets no close that it wouldn't understand."""
    async with connected(address(local)) as client:
        await client.greet(user="wrong", capabilities={})
        assert await client.ended()


@pytest.mark.parametrize("tune", [(0, 131_072), (2_048, 131_072), (10, 0), (10, 131_073), (10, 4_095)])
async def test_more_than_was_offered(local: DevelopmentBroker, tune: tuple[int, int]) -> None:
    """530, for nobody could rely on it."""
    async with connected(address(local)) as client:
        await client.greet()
        await client.expect(Connection.Tune, 0)
        client.send(Connection.TuneOk(*tune, 0), channel=0)
        assert (await client.expect(Connection.Close, 0)).reply_code == 530


@pytest.mark.parametrize("method", [Connection.Open("/"), Connection.TuneOk(1, 4_096, 0), Connection.OpenOk()])
async def test_methods_out_of_turn(local: DevelopmentBroker, method: Any) -> None:
    """503, whatever they are."""
    async with logged_in(address(local)) as client:
        client.send(method, channel=0)
        assert (await client.expect(Connection.Close, 0)).reply_code == 503


@pytest.mark.parametrize(
    "method",
    [
        Tx.Select(),
        Exchange.Bind(destination="a", source="b"),
        Basic.Recover(requeue=False),
        Channel.Flow(active=False),
        Exchange.Declare(exchange="h", exchange_type="headers"),
        Basic.Consume(queue="q", arguments={"x-priority": 1}),
        Queue.Bind(queue="q", exchange="amq.direct", arguments={"a": 1}),
    ],
    ids=lambda method: method.name,
)
async def test_what_does_not_exist_here(local: DevelopmentBroker, method: Any) -> None:
    """540, with the method's own numbers: it is never passed over in silence."""
    async with logged_in(address(local)) as client:
        await client.declare("q")
        client.send(method)
        close = await client.expect(Connection.Close, 0)
        assert (close.reply_code, close.class_id, close.method_id) == (540, method.index >> 16, method.index & 0xFFFF)


async def test_an_unknown_argument(local: DevelopmentBroker) -> None:
    """406 with its name: RabbitMQ may know it, and behave differently."""
    async with logged_in(address(local)) as client:
        close = await client.ask(Queue.Declare(queue="q", arguments={"x-max-priority": 3}), Channel.Close)
        assert close.reply_code == 406
        assert "x-max-priority" in (close.reply_text or "")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x01\0\x01\0\0\0\x04\0\x3c\0\x0aX", 501),
        (struct.pack(">BHI", 1, 1, 131_073), 501),
        (b"\x01\0\x01\0\0\0\x00\xce", 502),
        (b"\x01\0\x01\0\0\0\x04\0\x3c\0\x0a\xce", 502),
        (b"\x01\0\x01\0\0\0\x04\0\x63\0\x63\xce", 540),
        (b"\x08\0\x01\0\0\0\x00\xce", 501),
        (b"\x02\0\x00\0\0\0\x00\xce", 505),
    ],
)
async def test_frames_that_are_none(local: DevelopmentBroker, data: bytes, code: int) -> None:
    """Each is told why it is cut off."""
    async with logged_in(address(local)) as client:
        client.send_bytes(data)
        assert (await client.expect(Connection.Close, 0)).reply_code == code


async def test_heartbeats_go_both_ways() -> None:
    """It beats every half interval; a client that is silent for two is gone, and what it held is free again."""
    async with DevelopmentBroker(None) as broker, logged_in(address(broker)) as other:
        async with connected(address(broker)) as client:
            await client.log_in(heartbeat_s=1)
            await client.open_channel()
            await client.declare("mine", durable=False, exclusive=True)
            loop = asyncio.get_running_loop()
            began = loop.time()
            beats = 0
            try:
                while True:
                    assert isinstance((await client.next(heartbeats=True))[1], Heartbeat)
                    beats += 1
            except (EOFError, ConnectionError):
                pass
            assert 1.9 < loop.time() - began < 4
            assert beats >= 3
        assert (await other.ask(Queue.Declare(queue="mine", passive=True), Channel.Close)).reply_code == 404


async def test_a_beating_client_stays() -> None:
    """Heartbeats alone keep a connection, for as long as they come."""
    async with DevelopmentBroker(None) as broker, connected(address(broker)) as client:
        await client.log_in(heartbeat_s=1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 3:
            await client.next(heartbeats=True)
            client.send_bytes(Heartbeat.marshal())
        await client.open_channel()


async def test_a_polite_end_for_everybody(local: DevelopmentBroker) -> None:
    """stop() tells each client, and takes what the client still has to say."""
    async with logged_in(address(local)) as client:
        stopping = asyncio.create_task(local.stop())
        close = await client.expect(Connection.Close, 0)
        assert close.reply_code == 320
        client.send(Connection.CloseOk(), channel=0)
        assert await client.ended()
        client.cut()
        await stopping
        await local.wait_ended()


async def test_the_last_words_are_heard() -> None:
    """After close-ok the client reads the end at once, and may still write without an error."""
    async with DevelopmentBroker(None, limits=Limits(linger_s=600)) as broker, logged_in(address(broker)) as client:
        await client.log_out()
        for _ in range(20):
            client.send_bytes(b"x" * 10_000)
            await asyncio.wait_for(client._writer.drain(), 5)
        assert await client.ended()


async def test_who_never_logs_in_is_let_go() -> None:
    """An open socket alone may not last."""
    async with (
        DevelopmentBroker(None, limits=Limits(handshake_timeout_s=0.2)) as broker,
        connected(address(broker)) as silent,
        connected(address(broker)) as half,
    ):
        await half.greet()
        await half.expect(Connection.Tune, 0)
        assert await silent.ended()
        assert await half.ended()


async def test_where_it_can_not_listen() -> None:
    """A taken port is named; an address that others can reach is refused."""
    async with DevelopmentBroker(None) as broker:
        with pytest.raises(BrokerUnusable, match=f"port {broker.port} of 127.0.0.1 is taken"):
            await DevelopmentBroker(None, port=broker.port).start()
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.org"):  # noqa: S104  That is the point.
        with pytest.raises(BrokerUnusable, match="loopback"):
            DevelopmentBroker(None, host=host)


async def test_its_address_works(local: DevelopmentBroker) -> None:
    """Other users and passwords than guest, and a port of one's own choice."""
    port, secret = free_port(), "a/b"
    async with DevelopmentBroker(None, port=port, user="me", password=secret) as broker:
        assert broker.amqp_url == f"amqp://me:a%2Fb@127.0.0.1:{port}/"
        async with logged_in(address(broker), user="me", password=secret) as client:
            await client.nothing_more()


async def test_names_of_clients_do_no_harm_in_the_log(local: DevelopmentBroker) -> None:
    """Line breaks and a terminal's control codes are written out; the client is answered with its own words."""
    name = "a\n\x1b[2J\u2028b"
    raw = name.encode()
    publish = struct.pack(">IHB", Basic.Publish.index, 0, len(raw)) + raw + b"\0\0"
    with structlog.testing.capture_logs() as logged:
        async with logged_in(address(local)) as client:
            client.send_bytes(framed(1, 1, publish) + framed(2, 1, struct.pack(">HHQH", 60, 0, 0, 0)))
            assert name in ((await client.expect(Channel.Close)).reply_text or "")
    (reason,) = [entry["reason"] for entry in logged if entry["event"] == "channel_closed_by_broker"]
    assert r"'a\n\x1b[2J\u2028b'" in reason


async def test_nothing_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    """After stop there is no task of its own, and asyncio has nothing to complain about."""
    before = asyncio.all_tasks()
    with caplog.at_level(logging.WARNING, logger="asyncio"), structlog.testing.capture_logs() as logged:
        async with DevelopmentBroker(None) as broker, logged_in(address(broker)) as client:
            await client.declare("q", arguments={"x-expires": 50_000, "x-message-ttl": 50_000})
            client.publish("q")
            await client.nothing_more()
            client.send_bytes(b"garbage" * 3)
            await client.expect(Connection.Close, 0)
        await eventually(lambda: asyncio.all_tasks() <= before)
    assert caplog.records == []
    assert {entry["log_level"] for entry in logged} <= {"info", "warning"}
