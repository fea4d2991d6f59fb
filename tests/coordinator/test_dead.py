"""Dead letters on a real RabbitMQ: looking loses nothing, and what is sent back arrives once."""

import asyncio
import json
import os
import struct
import sys
from collections.abc import AsyncIterator

import aiormq
import msgspec
import pamqp.frame
import pytest
from pamqp.commands import Basic

from countermand.coordinator.operate.dead import DeadLetters
from countermand.coordinator.operate.letters import REDRIVEN_BY, REDRIVEN_REASON, LetterFilter, letter_detail
from countermand.coordinator.runtime import running
from countermand.participants.client import Client
from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.topology import Declarations, Queue, Topology
from countermand.wire import Browser, Confirmed, Consumer, Message, Publisher, QueueTaken, dead_copy, queue_facts
from support import DevelopmentServer, RabbitServer, RedisServer, eventually
from system.world import Order, Wire, settings, trade

LOOKS = 25  # More than the delivery limit of 20 that RabbitMQ 4 gives to a queue that has none.


class Morgue:
    """Kills messages, each in its own way, under the names of one test."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.topology = Topology(prefix)
        self.letters = DeadLetters(url, self.topology, wait_s=5.0)
        declarations = self.topology.common() + self.topology.participant("stock") + self.topology.participant("bank")
        self.publisher = Publisher(url, name="morgue", declarations=declarations)

    async def __aenter__(self) -> "Morgue":
        await self.publisher.start()
        await self.publisher.wait_ready(20)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.publisher.close()

    async def put_aside(self, *bodies: str, participant: str = "stock", saga_id: str = "o-1") -> None:
        """Commands that a consumer refuses: the broker moves them, and says so."""
        headers: dict[str, str | int] = {"ce-sagaid": saga_id, "ce-id": "1"}
        exchange = self.topology.commands_exchange
        await self.send(*(Message(exchange, participant, body.encode(), headers, type="test") for body in bodies))
        await self.refuse(self.topology.participant_queue(participant), len(bodies))

    async def send(self, *messages: Message) -> None:
        outcomes = await self.publisher.publish(messages)
        assert outcomes == [Confirmed()] * len(messages)

    async def refuse(self, queue: str, count: int) -> None:
        """A consumer that puts the queue's next messages aside."""
        before = await self.waiting(self.topology.dead_queue)
        consumer = Consumer(self.url, name="refuser", queues=[queue], prefetch=100)
        await consumer.start()
        left = count
        while left:
            batch = await consumer.next_batch(left)
            left -= len(batch)
            await consumer.dead_letter(batch)
        await consumer.close()
        await eventually(lambda: self._grown_to(before + count))

    async def bury(self, body: str, *, reason: str) -> None:
        """A message that could not be read: a copy of ours, with the reason."""
        await self.send(Message(self.topology.commands_exchange, "stock", body.encode(), {"ce-sagaid": "o-2"}))
        consumer = Consumer(self.url, name="reader", queues=[self.topology.participant_queue("stock")], prefetch=1)
        await consumer.start()
        deliveries = await consumer.next_batch(1)
        await self.send(dead_copy(deliveries[0], exchange=self.topology.dead_exchange, reason=reason))
        await consumer.acknowledge(deliveries)
        await consumer.close()

    async def waiting(self, queue: str) -> int:
        facts = (await queue_facts(self.url, [queue]))[queue]
        assert facts is not None
        return facts.messages

    async def bodies(self, queue: str) -> list[bytes]:
        """What is in a queue; it stays there."""
        async with Browser(self.url, queue=queue, lock=self.topology.client_queue("a-look")) as browser:
            return [delivery.body for delivery in await browser.take(100)]

    async def _grown_to(self, count: int) -> bool:
        return await self.waiting(self.topology.dead_queue) == count


@pytest.fixture(params=["rabbitmq", "development_broker"])
async def morgue(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Morgue]:
    """On RabbitMQ, and on the development broker, which must not drift from it."""
    broker: RabbitServer | DevelopmentServer = request.getfixturevalue(request.param)
    async with Morgue(broker.amqp_url, namespace) as morgue:
        yield morgue


EVERY = LetterFilter()


async def test_looking_changes_nothing(morgue: Morgue) -> None:
    """Letters that were looked at more often than a delivery limit allows are all there, in their order."""
    await morgue.put_aside("1", "2", "3")
    first = await morgue.letters.look(EVERY)
    assert [letter.delivery.body for letter in first.letters] == [b"1", b"2", b"3"]
    assert first.complete
    for _ in range(LOOKS):
        look = await morgue.letters.look(EVERY)
        assert [letter.id for letter in look.letters] == [letter.id for letter in first.letters]
    assert len({letter.id for letter in first.letters}) == 3
    cut = await morgue.letters.look(EVERY, limit=2)
    assert ([letter.delivery.body for letter in cut.letters], cut.complete) == ([b"1", b"2"], False)


async def test_what_a_letter_tells(morgue: Morgue) -> None:
    """When, where and of what each letter died, by whichever witness it has; one that says nothing is shown too."""
    await morgue.put_aside('{"order": 1}', saga_id="o-7")
    await morgue.bury("{", reason="body: not JSON")
    await morgue.send(Message(morgue.topology.dead_exchange, "", b"?", {}))
    refused, unreadable, mute = (await morgue.letters.look(EVERY)).letters
    queue = morgue.topology.participant_queue("stock")
    assert (refused.queue, refused.saga_id, refused.refusal) == (queue, "o-7", None)
    assert refused.reason.startswith("rejected: ")
    assert (unreadable.queue, unreadable.saga_id, unreadable.reason) == (queue, "o-2", "body: not JSON")
    assert refused.died_ms is not None
    assert unreadable.died_ms is not None
    assert abs(unreadable.died_ms - refused.died_ms) < 60_000
    assert (mute.queue, mute.died_ms, mute.saga_id) == (None, None, None)
    assert mute.refusal == "it doesn't say which queue it came from"
    assert letter_detail(refused)["body"] == {"order": 1}
    assert letter_detail(unreadable)["body"] == "{"
    msgspec.json.encode([letter_detail(letter) for letter in (refused, unreadable, mute)])
    assert [each.id for each in (await morgue.letters.look(LetterFilter(saga_id="o-7"))).letters] == [refused.id]
    assert [each.id for each in (await morgue.letters.look(LetterFilter(reason="not json"))).letters] == [unreadable.id]


async def test_a_letter_that_nobody_can_decode(morgue: Morgue) -> None:
    """Headers that kill every client are said to be so, and hide none of the letters behind them."""
    await send_undecodable(morgue.url, morgue.topology.dead_exchange)
    await morgue.put_aside("behind it")
    bomb, healthy = (await morgue.letters.look(EVERY)).letters
    assert "can't be decoded" in bomb.reason
    assert healthy.delivery.body == b"behind it"
    (result,) = await morgue.letters.redrive(LetterFilter(ids=(bomb.id,)), actor="ada", reason="try")
    assert result.outcome == "refused"
    (gone,) = await morgue.letters.delete([bomb.id])
    assert gone.outcome == "deleted"
    assert [letter.id for letter in (await morgue.letters.look(EVERY)).letters] == [healthy.id]


async def test_redriven_to_where_it_died(morgue: Morgue) -> None:
    """A copy stands in the queue that the letter died in, with who sent it back and why; the letter is gone."""
    await morgue.put_aside("a", "b")
    await morgue.put_aside("c", participant="bank")
    heard: list[str] = []
    results = await morgue.letters.redrive(
        LetterFilter(queue=morgue.topology.participant_queue("stock")),
        actor="ada",
        reason="the bug is mended",
        rate_per_s=50,
        told=lambda result: heard.append(result.outcome),
    )
    assert [result.outcome for result in results] == heard == ["redriven", "redriven"]
    queue = morgue.topology.participant_queue("stock")
    async with Browser(morgue.url, queue=queue, lock=morgue.topology.client_queue("a-look")) as browser:
        copies = await browser.take(10)
    assert [copy.body for copy in copies] == [b"a", b"b"]
    assert copies[0].type == "test"
    assert copies[0].headers["ce-sagaid"] == "o-1"
    assert (copies[0].headers[REDRIVEN_BY], copies[0].headers[REDRIVEN_REASON]) == ("ada", "the bug is mended")
    assert not any(name.startswith(("x-first", "x-last", "x-death")) for name in copies[0].headers)
    assert [letter.delivery.body for letter in (await morgue.letters.look(EVERY)).letters] == [b"c"]
    await morgue.refuse(queue, 2)
    again = (await morgue.letters.look(LetterFilter(queue=queue))).letters
    assert letter_detail(again[0])["redriven_by"] == "ada"
    assert again[0].refusal is None


async def test_what_can_not_be_sent_back_stays(morgue: Morgue) -> None:
    """A letter without an origin, of a strange queue, or of one that is gone is refused with the reason, and stays."""
    dead, foreign = (
        morgue.topology.dead_exchange,
        Queue(f"{morgue.topology.prefix}-theirs", {"x-dead-letter-exchange": morgue.topology.dead_exchange}),
    )
    await morgue.publisher.declare(Declarations(queues=(foreign,)))
    await morgue.send(Message(dead, "", b"mute", {}), Message("", foreign.name, b"foreign", {}))
    await morgue.refuse(foreign.name, 1)
    await morgue.put_aside("orphan")
    async with aiormq.connect(morgue.url) as connection:
        await (await connection.channel()).queue_delete(morgue.topology.participant_queue("stock"))
    results = await morgue.letters.redrive(EVERY, actor="ada", reason="all of them")
    assert [result.outcome for result in results] == ["refused"] * 3
    details = " | ".join(result.detail for result in results)
    assert "doesn't say which queue" in details
    assert "no queue of ours" in details
    assert "is gone" in details
    assert len((await morgue.letters.look(EVERY)).letters) == 3


async def test_two_operators(morgue: Morgue) -> None:
    """Two who send the same letter back at once: one does, the other is told that it is gone."""
    await morgue.put_aside("once")
    (letter,) = (await morgue.letters.look(EVERY)).letters
    both = await asyncio.gather(
        *(
            morgue.letters.redrive(LetterFilter(ids=(letter.id,)), actor=actor, reason="mine")
            for actor in ("ada", "bob")
        )
    )
    assert sorted(result.outcome for results in both for result in results) == ["gone", "redriven"]
    assert await morgue.bodies(morgue.topology.participant_queue("stock")) == [b"once"]


async def test_one_looks_at_a_time(morgue: Morgue) -> None:
    """While somebody holds the letters, another one is told so instead of seeing none; the end of a hold is noticed."""
    await morgue.put_aside("held")
    hasty = DeadLetters(morgue.url, morgue.topology, wait_s=0.0)
    lock = morgue.topology.client_queue("dead-letters")
    async with Browser(morgue.url, queue=morgue.topology.dead_queue, lock=lock) as holder:
        assert len(await holder.take(10)) == 1
        with pytest.raises(QueueTaken, match="somebody else"):
            await hasty.look(EVERY)
    assert len((await morgue.letters.look(EVERY)).letters) == 1


async def test_no_dead_letter_queue(rabbitmq: RabbitServer, namespace: str) -> None:
    """Where nothing was ever declared, that is what is said."""
    with pytest.raises(BrokerUnavailable, match="there is no queue"):
        await DeadLetters(rabbitmq.amqp_url, Topology(namespace)).look(EVERY)


async def test_a_redriven_reply_moves_its_saga_on(
    rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str
) -> None:
    """A saga that waits for a reply which lies among the dead letters goes on once it is sent back."""
    definition = trade(timeout="60s")
    chosen = settings(rabbitmq.amqp_url, redis_server.url, namespace)
    async with Morgue(rabbitmq.amqp_url, namespace) as morgue, Wire(rabbitmq.amqp_url, namespace) as wire:
        async with running(chosen), Client(rabbitmq.amqp_url, topology=Topology(namespace)) as client:
            await client.register(definition)
            await client.start(definition, Order("o-1"), saga_id="o-1")
            command = await wire.command("reserve")
        await wire.reply(command)
        await morgue.refuse(morgue.topology.inbox_queue(int(inbox_key("o-1"))), 1)
        async with running(chosen):
            assert wire.waiting() == []
            (letter,) = (await morgue.letters.look(LetterFilter(saga_id="o-1"))).letters
            (result,) = await morgue.letters.redrive(LetterFilter(ids=(letter.id,)), actor="ada", reason="mended")
            assert result.outcome == "redriven"
            assert (await wire.command("pay")).saga_id == "o-1"
        assert await morgue.waiting(morgue.topology.dead_queue) == 0


# --- the command line


async def countermand(morgue: Morgue, *arguments: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "COUNTERMAND_AMQP_URL": morgue.url, "COUNTERMAND_PREFIX": morgue.topology.prefix}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "countermand.coordinator.cli.main", "dead", *arguments),
        env=environment | {"COUNTERMAND_REDIS_URL": "redis://127.0.0.1:1/0", "COLUMNS": "80"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(morgue: Morgue, *arguments: str) -> tuple[int | None, str, str]:
    process = await countermand(morgue, *arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_on_the_command_line(morgue: Morgue) -> None:
    """Listed, shown, and sent back only when somebody says so; what is refused has an exit code of its own."""
    await morgue.put_aside('{"order": 1}', "2")
    code, out, _ = await run(morgue, "list", "-o", "json")
    first, second = json.loads(out)
    assert (code, first["saga_id"], first["bytes"]) == (0, "o-1", 12)
    code, out, _ = await run(morgue, "show", first["id"])
    assert code == 0
    assert '"order": 1' in out
    assert "nobody knows" in out  # The saga's phase: a letter is shown without the store, too.
    code, _, err = await run(morgue, "redrive", first["id"], "--reason", "mended")
    assert (code, "add --yes" in err) == (4, True)
    assert len((await morgue.letters.look(EVERY)).letters) == 2
    code, out, err = await run(morgue, "redrive", first["id"], "nothing", "--reason", "mended", "--yes", "-o", "jsonl")
    assert (code, json.loads(out)["outcome"]) == (0, "redriven")
    assert [letter.id for letter in (await morgue.letters.look(EVERY)).letters] == [second["id"]]
    assert await morgue.bodies(morgue.topology.participant_queue("stock")) == [b'{"order": 1}']


async def test_killed_in_the_middle(morgue: Morgue) -> None:
    """An operator's process that is killed while it sends letters back loses none of them."""
    bodies = [str(number) for number in range(200)]
    await morgue.put_aside(*bodies)
    process = await countermand(morgue, "redrive", "--all", "--reason", "mended", "--yes", "--rate", "20")
    assert process.stdout is not None
    await process.stdout.readline()
    process.kill()
    await process.wait()
    dead = [letter.delivery.body.decode() for letter in (await morgue.letters.look(EVERY)).letters]
    queue = morgue.topology.participant_queue("stock")
    async with Browser(morgue.url, queue=queue, lock=morgue.topology.client_queue("a-look")) as browser:
        sent = [delivery.body.decode() for delivery in await browser.take(1_000)]
    assert 0 < len(sent) < 200
    assert 0 < len(dead) < 200
    assert set(sent) | set(dead) == set(bodies)


async def send_undecodable(url: str, exchange: str) -> None:
    """Headers nested 1,500 deep, which brokers take and the client library can neither encode nor decode."""
    table = b""
    for _ in range(1_500):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    properties = struct.pack(">HHQH", 60, 0, 0, 0x2000) + struct.pack(">I", len(table)) + table
    async with aiormq.connect(url) as connection:
        channel = await connection.channel()
        header = struct.pack(">BHI", 2, channel.number, len(properties)) + properties + b"\xce"
        publish = pamqp.frame.marshal(Basic.Publish(exchange=exchange, routing_key=""), channel.number)
        await connection.write_queue.put(aiormq.abc.ChannelFrame(payload=publish + header, should_close=False))
        # An answer to anything sent later says that the broker has it.
        await channel.exchange_declare(exchange, exchange_type="fanout", durable=True)
