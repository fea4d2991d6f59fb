"""Messages that nobody honest sends, as bytes or through a library that doesn't mind."""

import struct
from dataclasses import dataclass
from typing import Any, Final

import aiormq
import pamqp.encode
import pamqp.frame
from pamqp.commands import Basic

from countermand.schemas.codec import BODY_BYTES_MAX, HEADERS_MAX
from countermand.schemas.envelope import write_command, write_reply
from countermand.schemas.messages import CommandMessage, ReplyMessage, Succeeded
from faults.stage import Stage

NESTED: Final = 1_500


@dataclass(frozen=True)
class Malformed:
    """A message with one thing wrong. `field` is what the refusal names; None: it is moved as it is, over a limit."""

    name: str
    headers: dict[str, Any]
    body: bytes
    field: str | None
    content_type: str = "application/json"
    reply_to: str | None = None

    def publish_properties(self) -> Basic.Properties:
        return Basic.Properties(
            content_type=self.content_type,
            headers=self.headers,
            delivery_mode=2,
            message_id=self.name,
            reply_to=self.reply_to,
        )


def replies(saga_id: str) -> list[Malformed]:
    """Replies that name a saga, each malformed in another way."""
    reply = ReplyMessage(saga_id, "reserve", "do", 1, f"{saga_id}/reserve", "0" * 32, 1, "stock", Succeeded())
    return _malformed(write_reply(reply).headers, "countermand.reply.perhaps")


def commands(saga_id: str) -> list[Malformed]:
    """Commands that name a saga, each malformed in another way."""
    key, body = f"{saga_id}/pay", b"{}"
    far = 10**15
    command = CommandMessage(saga_id, "patient@1", "pay", "bank", "pay", "do", 1, key, "0" * 32, 1, far, body)
    headers = write_command(command).headers
    return [
        *_malformed(headers, "countermand.order"),
        Malformed("somebody-else", {**headers, "ce-sagaparticipant": "stock"}, body, "ce-sagaparticipant"),
        Malformed("foreign-key", {**headers, "ce-sagakey": "o-1/pay"}, body, "ce-sagakey"),
    ]


def _malformed(good: dict[str, Any], unknown_type: str) -> list[Malformed]:
    deep = b"[" * 100_000 + b"]" * 100_000
    many = {f"h{n}": "v" for n in range(HEADERS_MAX + 1)}
    return [
        Malformed("unknown-type", {**good, "ce-type": unknown_type}, b"{}", "ce-type"),
        Malformed("no-type", {k: v for k, v in good.items() if k != "ce-type"}, b"{}", "ce-type"),
        Malformed("other-protocol", {**good, "ce-sagaprotocol": "99"}, b"{}", "ce-sagaprotocol"),
        Malformed("table-for-text", {**good, "ce-sagaid": {"a": "b"}}, b"{}", "ce-sagaid"),
        Malformed("no-attempt", {**good, "ce-sagaattempt": "-1"}, b"{}", "ce-sagaattempt"),
        Malformed("other-content", good, b"{}", "content_type", content_type="text/plain"),
        Malformed("too-large", good, b'"' + b"x" * BODY_BYTES_MAX + b'"', None),
        Malformed("too-deep", good, deep, None),
        Malformed("too-many-headers", {**good, **many}, b"{}", None),
    ]


def bodies(saga_id: str) -> list[Malformed]:
    """Replies whose bodies are no JSON."""
    good = replies(saga_id)[0].headers | {"ce-type": "countermand.reply.succeeded"}
    return [
        Malformed("bad-utf-8", good, b'{"a": "\xff\xfe"}', "body"),
        Malformed("no-json", good, b"\x00\x01 what?", "body"),
    ]


def watch(saga_id: str, queue: str) -> Malformed:
    """A request that is in order, but for an id that is longer than what an answer can carry."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "i" * 300,
        "ce-source": "/clients/wild",
        "ce-type": "countermand.watch",
        "ce-sagaprotocol": "1",
        "ce-sagaid": saga_id,
    }
    return Malformed("long-id", headers, b"{}", "ce-id", reply_to=queue)


async def send(stage: Stage, exchange: str, routing_key: str, *messages: Malformed) -> None:
    """Publishes messages, confirmed."""
    async with stage.channel() as channel:
        for message in messages:
            await channel.basic_publish(
                message.body,
                exchange=exchange,
                routing_key=routing_key,
                properties=message.publish_properties(),
                mandatory=True,
            )


async def send_undecodable(stage: Stage, exchange: str, routing_key: str) -> None:
    """A message with headers nested 1,500 deep: brokers take it, and the client library can't decode it.

    Nor encode it, so the bytes are made here.
    """
    table = b""
    for _ in range(NESTED):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    await _send_table(stage, exchange, routing_key, table)


async def send_uncopyable(stage: Stage, exchange: str, routing_key: str, headers: dict[str, Any]) -> None:
    """A message with a header whose name is longer than the protocol allows: brokers take it, our driver doesn't."""
    table = pamqp.encode.field_table(headers)[4:] + b"\xc8" + b"n" * 200 + b"S" + struct.pack(">I", 1) + b"v"
    await _send_table(stage, exchange, routing_key, table)


async def _send_table(stage: Stage, exchange: str, routing_key: str, table: bytes) -> None:
    """Publishes an empty message with these headers, byte by byte."""
    properties = struct.pack(">HHQH", 60, 0, 0, 0x2000) + struct.pack(">I", len(table)) + table
    async with aiormq.connect(stage.broker.amqp_url) as connection:
        channel = await connection.channel()
        publish = Basic.Publish(exchange=exchange, routing_key=routing_key)
        header = struct.pack(">BHI", 2, channel.number, len(properties)) + properties + b"\xce"
        payload = pamqp.frame.marshal(publish, channel.number) + header
        await connection.write_queue.put(aiormq.abc.ChannelFrame(payload=payload, should_close=False))
        # An answer to anything sent later says that the broker has it.
        await channel.exchange_declare(exchange, exchange_type="direct", durable=True)


async def dead_letters(stage: Stage) -> dict[str, dict[str, Any]]:
    """The headers of what lies in the dead-letter queue, by message id or reason; they stay there."""
    found: dict[str, dict[str, Any]] = {}
    async with stage.channel() as channel:
        while (message := await channel.basic_get(stage.topology.dead_queue)).delivery_tag is not None:
            headers = dict(message.header.properties.headers or {})
            found[f"{len(found)}:{message.header.properties.message_id}"] = headers
    return found
