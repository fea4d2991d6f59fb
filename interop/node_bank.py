"""The participant in JavaScript as a process, and a desk that plays the coordinator to it by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from countermand.schemas.envelope import Incoming, read_reply, write_command
from countermand.schemas.identifiers import INBOX_SHARDS, inbox_key
from countermand.schemas.messages import CommandMessage, ReplyMessage
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Consumer, Delivery, Message, Publisher
from protocol.wire_format import conforms

NAME = "bank"
READY_S = 20.0
REPLY_S = 10.0


class NodeBank:
    """What the process has told so far: one object for each line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []
        self._ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            self.told.append(said)
            if said["event"] == "ready":
                self._ready.set()

    def effects(self, key: str) -> list[str]:
        """The directions in which effects were had under a key, in order."""
        return [each["direction"] for each in self.told if each["event"] == "effect" and each["key"] == key]

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, amqp_url: str, prefix: str) -> AsyncIterator[Self]:
        process = await asyncio.create_subprocess_exec(
            *("node", "participant.mjs", amqp_url.rstrip("/"), prefix, NAME), cwd=folder, stdout=asyncio.subprocess.PIPE
        )
        bank = cls(process)
        try:
            async with asyncio.timeout(READY_S):
                await bank._ready.wait()
            yield bank
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await bank._reading


class Desk:
    """Sends commands and takes the replies; there is no other coordinator."""

    def __init__(self, amqp_url: str, prefix: str) -> None:
        self.topology = Topology(prefix)
        self._last_shard = ""
        declarations = self.topology.common() + self.topology.participant(NAME)
        self._publisher = Publisher(amqp_url, name="desk-publisher", declarations=declarations)
        queues = [self.topology.inbox_queue(shard) for shard in range(INBOX_SHARDS)]
        self._replies = Consumer(
            amqp_url, name="desk-replies", queues=queues, prefetch=1_000, declarations=declarations
        )
        self._letters = Consumer(
            amqp_url, name="desk-letters", queues=[self.topology.dead_queue], prefetch=10, declarations=declarations
        )

    async def __aenter__(self) -> Self:
        for each in (self._publisher, self._replies, self._letters):
            await each.start()
            await each.wait_ready(READY_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in (self._replies, self._letters, self._publisher):
            await each.close()

    async def ask(self, command: CommandMessage, *, times: int = 1) -> list[ReplyMessage]:
        """The replies to so many copies of a command."""
        await self.send(*[self.message(command)] * times)
        return [await self.reply(command) for _ in range(times)]

    def message(self, command: CommandMessage) -> Message:
        written = write_command(command)
        return Message(self.topology.commands_exchange, NAME, written.body, written.headers, type=written.type)

    async def send(self, *messages: Message) -> None:
        outcomes = await self._publisher.publish(messages)
        assert all(isinstance(each, Confirmed) for each in outcomes), outcomes

    async def reply(self, command: CommandMessage) -> ReplyMessage:
        """The next reply, which has to be as the document says, and to answer this command."""
        reply = await self.any_reply()
        assert inbox_key(command.saga_id) == self._last_shard
        for field in ("saga_id", "step", "direction", "attempt", "key", "command_id", "saga_version", "traceparent"):
            assert getattr(reply, field) == getattr(command, field), field
        return reply

    async def any_reply(self) -> ReplyMessage:
        """The next reply, whatever it answers; it has to be as the document says."""
        async with asyncio.timeout(REPLY_S):
            (delivery,) = await self._replies.next_batch(1)
        self._last_shard = delivery.routing_key
        kind = str(delivery.headers["ce-type"]).removeprefix("countermand.")
        shown = {
            "properties": {"content_type": delivery.content_type},
            "headers": dict(delivery.headers),
            "body": json.loads(delivery.body),
        }
        assert conforms(kind, shown), shown
        reply = read_reply(Incoming(delivery.headers, delivery.body, delivery.content_type))
        await self._replies.acknowledge([delivery])
        assert reply.participant == NAME
        return reply

    async def letter(self) -> Delivery:
        """The next dead letter."""
        async with asyncio.timeout(REPLY_S):
            (delivery,) = await self._letters.next_batch(1)
        await self._letters.acknowledge([delivery])
        return delivery
