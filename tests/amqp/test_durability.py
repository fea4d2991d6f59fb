"""What survives stop and kill -9 of the process, and what a damaged file does."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from pamqp.commands import Basic, Channel, Queue

from amqp.raw import RawClient, logged_in
from countermand.coordinator.dev.amqp import BrokerFailed, BrokerUnusable, DevelopmentBroker, Limits
from countermand.coordinator.dev.amqp import journal as journal_module
from countermand.coordinator.dev.amqp.journal import FILE_NAME
from support import DevelopmentServer

QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 5}


def address(broker: DevelopmentBroker) -> tuple[str, int]:
    return "127.0.0.1", broker.port


async def bodies(client: RawClient, queue: str) -> list[bytes]:
    got = []
    while (each := await client.get(queue)) is not None:
        got.append(each.body)
    return got


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_what_survives(own_development_broker: DevelopmentServer, end: str) -> None:
    """Durable exchanges, queues, bindings and persistent messages; nothing else, and nothing that was settled."""
    server = own_development_broker
    async with logged_in(server.address, confirms=True) as client:
        await client.exchange("orders", "topic")
        await client.declare("kept", arguments=QUORUM)
        await client.bind("kept", "orders", "a.*")
        await client.bind("kept", "orders", "b.*")
        await client.ask(Queue.Unbind(queue="kept", exchange="orders", routing_key="b.*"), Queue.UnbindOk)
        await client.declare("classic")
        await client.declare("forgotten", durable=False)
        await client.declare("deleted")
        for number in range(6):
            client.publish("a.b", str(number).encode(), exchange="orders", headers={"n": number}, message_id="m")
        for queue in ("classic", "forgotten", "deleted"):
            client.publish(queue, b"persistent", delivery_mode=2)
            client.publish(queue, b"transient", delivery_mode=1)
        tag = 0
        while tag < 12:
            _, answer = await client.next()
            assert isinstance(answer, Basic.Ack)
            tag = answer.delivery_tag or 0
        await client.ask(Queue.Delete(queue="deleted"), Queue.DeleteOk)
        await client.consume("kept")
        for _ in range(6):
            await client.delivery()
        client.send(Basic.Ack(delivery_tag=3, multiple=True))
        await client.nothing_more()
        await (server.kill_async() if end == "kill" else server.stop_async())
    await server.start_async()
    async with logged_in(server.address) as client:
        for name in ("forgotten", "deleted"):
            assert (await client.ask(Queue.Declare(queue=name, passive=True), Channel.Close)).reply_code == 404
            client.send(Channel.CloseOk())
            await client.open_channel()
        assert await bodies(client, "classic") == [b"persistent"]
        await client.consume("kept", no_ack=True)
        again = [await client.delivery() for _ in range(3)]
        assert [each.body for each in again] == [b"3", b"4", b"5"]
        assert all(each.method.redelivered and each.headers["x-delivery-count"] == 1 for each in again)
        assert (again[0].headers["n"], again[0].properties.message_id) == (3, "m")
        client.publish("a.b", b"routed", exchange="orders")
        client.publish("b.b", b"lost", exchange="orders")
        assert (await client.delivery()).body == b"routed"
        assert (await client.counts("kept")) == (0, 1)
        await client.declare("kept", arguments=QUORUM)


async def test_a_torn_tail_is_cut_off(tmp_path: Path) -> None:
    """Wherever the last write ended, everything before it is there, and the loss is in the log."""
    async with DevelopmentBroker(tmp_path) as broker, logged_in(address(broker)) as client:
        await client.declare("q")
        for number in range(3):
            client.publish("q", str(number).encode() * 50, delivery_mode=2)
            await client.nothing_more()
    file = tmp_path / FILE_NAME
    whole = file.read_bytes()
    for cut in (1, 20, 60):
        file.write_bytes(whole[:-cut])
        with structlog.testing.capture_logs() as logged:
            async with DevelopmentBroker(tmp_path) as broker, logged_in(address(broker)) as client:
                assert await bodies(client, "q") == [b"0" * 50, b"1" * 50]
        assert [entry["event"] for entry in logged].count("journal_tail_cut") == 1
    flipped = bytearray(whole)
    flipped[-20] ^= 1
    file.write_bytes(flipped)
    async with DevelopmentBroker(tmp_path) as broker, logged_in(address(broker)) as client:
        assert await bodies(client, "q") == [b"0" * 50, b"1" * 50]


async def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """What is settled is thrown away in time, and what is alive survives that."""
    limits = Limits(journal_compact_bytes_min=100_000)
    async with DevelopmentBroker(tmp_path, limits=limits) as broker, logged_in(address(broker)) as client:
        await client.declare("kept", arguments=QUORUM)
        await client.declare("passing")
        client.publish("kept", b"first", delivery_mode=2, expiration="90000")
        got = await client.get("kept", no_ack=False)
        assert got is not None
        for _ in range(100):
            client.publish("passing", b"a" * 10_000, delivery_mode=2)
            assert await client.get("passing") is not None
        assert (tmp_path / FILE_NAME).stat().st_size < 250_000
        client.publish("kept", b"second", delivery_mode=2)
        await client.nothing_more()
    async with DevelopmentBroker(tmp_path, limits=limits) as broker, logged_in(address(broker)) as client:
        first = await client.get("kept")
        assert first is not None
        assert (first.body, first.method.redelivered, first.headers) == (b"first", True, {"x-delivery-count": 1})
        assert await bodies(client, "kept") == [b"second"]
        assert await bodies(client, "passing") == []


async def test_one_folder_one_broker(tmp_path: Path) -> None:
    """A second one is refused by name; a file of something else is never overwritten."""
    async with DevelopmentBroker(tmp_path):
        with pytest.raises(BrokerUnusable, match="in use by another"):
            await DevelopmentBroker(tmp_path).start()
    (tmp_path / FILE_NAME).write_text("somebody's diary")
    with pytest.raises(BrokerUnusable, match="is no journal"):
        await DevelopmentBroker(tmp_path).start()
    assert (tmp_path / FILE_NAME).read_text() == "somebody's diary"


async def test_a_full_disk_confirms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that can't write ends at once instead of promising; what it confirmed before is there afterwards."""
    broker = DevelopmentBroker(tmp_path)
    await broker.start()
    async with logged_in(address(broker), confirms=True) as client:
        await client.declare("q")
        client.publish("q", b"kept", delivery_mode=2)
        await client.expect(Basic.Ack)

        def full(file: int, data: Any) -> int:
            os.write(file, bytes(data[:10]))
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(journal_module, "write", full)
        client.publish("q", b"unconfirmed", delivery_mode=2)
        assert await client.ended()
        with pytest.raises(BrokerFailed, match="No space left"):
            await broker.wait_ended()
    await broker.stop()
    monkeypatch.undo()
    async with DevelopmentBroker(tmp_path) as broker, logged_in(address(broker)) as client:
        assert await bodies(client, "q") == [b"kept"]


async def test_without_a_folder_everything_is_forgotten() -> None:
    """And nothing is written anywhere."""
    async with DevelopmentBroker(None) as broker, logged_in(address(broker)) as client:
        await client.declare("q")
    async with DevelopmentBroker(None) as broker, logged_in(address(broker)) as client:
        assert (await client.ask(Queue.Declare(queue="q", passive=True), Channel.Close)).reply_code == 404


def test_a_process_of_its_own_says_why_it_can_not_start(development_broker: DevelopmentServer) -> None:
    """One line, not a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "countermand.coordinator.dev.amqp", "--port", str(development_broker.port)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"port {development_broker.port} of 127.0.0.1 is taken; choose another one\n"
