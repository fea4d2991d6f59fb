"""The coordinator's place in these tests: sends commands, collects replies, looks into queues."""

import asyncio
from types import TracebackType

import aio_pika

from countermand.schemas.announcing import ANNOUNCE, read_announce
from countermand.schemas.envelope import Envelope, Incoming, read_reply, write_command
from countermand.schemas.identifiers import INBOX_SHARDS
from countermand.schemas.messages import AnnounceMessage, CommandMessage, ReplyMessage
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Consumer, ConsumerClosed, Message, Publisher
from support import eventually

READY_S = 60.0


class Desk:
    """`replies` holds every reply, in the order of arrival, and `announcements` what the participant says of itself."""

    def __init__(self, amqp_url: str, namespace: str) -> None:
        self.amqp_url = amqp_url
        self.topology = Topology(namespace)
        self.queue = self.topology.participant_queue("inventory")
        self.replies: list[ReplyMessage] = []
        self.announcements: list[AnnounceMessage] = []
        declarations = self.topology.common() + self.topology.participant("inventory")
        self._publisher = Publisher(amqp_url, name="desk commands", declarations=declarations)
        self._consumer = Consumer(
            amqp_url,
            name="desk replies",
            queues=[self.topology.inbox_queue(shard) for shard in range(INBOX_SHARDS)],
            prefetch=1_000,
            declarations=declarations,
        )
        self._collecting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Desk":
        await self._publisher.start()
        await self._consumer.start()
        await self._publisher.wait_ready(READY_S)
        await self._consumer.wait_ready(READY_S)
        self._collecting = asyncio.create_task(self._collect())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._publisher.close()
        await self._consumer.close()
        if self._collecting is not None:
            await self._collecting

    async def send(self, *commands: CommandMessage) -> None:
        await self.send_envelopes(*(write_command(command) for command in commands))

    async def send_envelopes(self, *envelopes: Envelope) -> None:
        messages = [
            Message(
                exchange=self.topology.commands_exchange,
                routing_key="inventory",
                body=envelope.body,
                headers=envelope.headers,
                content_type=envelope.content_type,
                type=envelope.type,
                correlation_id=envelope.correlation_id,
            )
            for envelope in envelopes
        ]
        assert await self._publisher.publish(messages) == [Confirmed()] * len(messages)

    async def reply_to(self, command: CommandMessage, *, timeout_s: float = 20) -> ReplyMessage:
        """The first reply to this attempt, waited for."""
        return await eventually(
            lambda: next((reply for reply in self.replies if reply.command_id == command.command_id), None),
            timeout_s=timeout_s,
        )

    async def waiting(self, queue: str) -> int:
        """How many messages wait in a queue for a consumer."""
        async with await aio_pika.connect(self.amqp_url) as connection, connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

    async def delete_queue(self, queue: str) -> None:
        async with await aio_pika.connect(self.amqp_url) as connection, connection.channel() as channel:
            await channel.queue_delete(queue)

    async def _collect(self) -> None:
        while True:
            try:
                deliveries = await self._consumer.next_batch(1_000)
            except ConsumerClosed:
                return
            for delivery in deliveries:
                incoming = Incoming(delivery.headers, delivery.body)
                if delivery.type == ANNOUNCE:
                    self.announcements.append(read_announce(incoming))
                else:
                    self.replies.append(read_reply(incoming))
            await self._consumer.acknowledge(deliveries)
