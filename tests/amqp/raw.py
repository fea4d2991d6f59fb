"""A client that says exactly what a test wants said, and shows every frame that comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader, ProtocolHeader
from pamqp.heartbeat import Heartbeat

ANSWER_TIMEOUT_S = 15.0
CHUNK_BYTES = 1 << 16
FRAME_BYTES_MAX = 131_072
CAPABILITIES = {"authentication_failure_close": True, "consumer_cancel_notify": True, "basic.nack": True}

Method = TypeVar("Method")


class Received(NamedTuple):
    """A delivery, an answer to basic.get, or a return, with its content."""

    method: Any
    properties: Basic.Properties
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        return dict(self.properties.headers or {})


class RawClient:
    """One connection. Methods go to channel 1 unless said otherwise."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = b""

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    def send(self, *methods: "frame.FrameTypes", channel: int = 1) -> None:
        self._writer.write(b"".join(frame.marshal(method, channel) for method in methods))

    def publish(
        self,
        routing_key: str,
        body: bytes = b"{}",
        *,
        exchange: str = "",
        mandatory: bool = False,
        channel: int = 1,
        **properties: Any,
    ) -> None:
        self.send_bytes(
            published(routing_key, body, exchange=exchange, mandatory=mandatory, channel=channel, **properties)
        )

    async def next(self, *, heartbeats: bool = False) -> tuple[int, Any]:
        """Channel and frame. Raises EOFError at the end of the connection."""
        while True:
            try:
                used, channel, received = frame.unmarshal(self._buffer)
            except PAMQPException:
                used = 0
            if not used:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    chunk = await self._reader.read(CHUNK_BYTES)
                if not chunk:
                    raise EOFError("closed by the broker")
                self._buffer += chunk
                continue
            self._buffer = self._buffer[used:]
            if isinstance(received, ProtocolHeader | Heartbeat) and not heartbeats:
                # pamqp takes a heartbeat for 8 bytes with its end, and it is 8.
                continue
            return channel, received

    async def expect(self, kind: type[Method], channel: int = 1) -> Method:
        """The next frame, which is this method."""
        came_on, received = await self.next()
        shown = {name: getattr(received, name) for name in getattr(received, "__slots__", ())}
        assert isinstance(received, kind), f"expected {kind.__name__}, received {type(received).__name__} {shown}"
        assert came_on == channel
        return received

    async def ask(self, method: "frame.FrameTypes", kind: type[Method], channel: int = 1) -> Method:
        self.send(method, channel=channel)
        return await self.expect(kind, channel)

    async def content(self, kind: type[Any], channel: int = 1) -> Received:
        """The next method of this kind with its content."""
        method = await self.expect(kind, channel)
        header = await self.expect(ContentHeader, channel)
        body = b""
        while len(body) < header.body_size:
            body += (await self.expect(ContentBody, channel)).value
        return Received(method, header.properties, body)

    async def delivery(self, channel: int = 1) -> Received:
        return await self.content(Basic.Deliver, channel)

    async def get(self, queue: str, *, no_ack: bool = True) -> Received | None:
        """The head of a queue, or None."""
        self.send(Basic.Get(queue=queue, no_ack=no_ack))
        channel, received = await self.next()
        if isinstance(received, Basic.GetEmpty):
            return None
        assert isinstance(received, Basic.GetOk), received
        assert channel == 1
        header = await self.expect(ContentHeader)
        body = b"".join([(await self.expect(ContentBody)).value] if header.body_size else [])
        return Received(received, header.properties, body)

    async def nothing_more(self) -> None:
        """Whatever was caused before has no further answer: an empty exchange of words comes next."""
        await self.ask(Basic.Qos(prefetch_count=0), Basic.QosOk)

    async def raw(self, count: int) -> bytes:
        """The next bytes, whatever they mean."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await self._reader.readexactly(count)

    async def ended(self) -> bool:
        """Whether the broker ends the connection, without another word."""
        try:
            received = await self.next()
        except (EOFError, ConnectionError):
            return True
        raise AssertionError(f"expected the end, received {received}")

    async def open_channel(self, number: int = 1, *, confirms: bool = False) -> None:
        await self.ask(Channel.Open(), Channel.OpenOk, number)
        if confirms:
            await self.ask(Confirm.Select(), Confirm.SelectOk, number)

    async def declare(
        self, queue: str, *, durable: bool = True, arguments: dict[str, Any] | None = None, **more: Any
    ) -> str:
        answer = await self.ask(
            Queue.Declare(queue=queue, durable=durable, arguments=arguments or {}, **more), Queue.DeclareOk
        )
        return str(answer.queue)

    async def counts(self, queue: str) -> tuple[int, int]:
        """Messages that wait, and consumers."""
        answer = await self.ask(Queue.Declare(queue=queue, passive=True), Queue.DeclareOk)
        return answer.message_count or 0, answer.consumer_count or 0

    async def consume(self, queue: str, *, channel: int = 1, **more: Any) -> str:
        answer = await self.ask(Basic.Consume(queue=queue, **more), Basic.ConsumeOk, channel)
        return str(answer.consumer_tag)

    async def exchange(self, name: str, kind: str = "direct") -> None:
        await self.ask(Exchange.Declare(exchange=name, exchange_type=kind, durable=True), Exchange.DeclareOk)

    async def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        await self.ask(Queue.Bind(queue=queue, exchange=exchange, routing_key=routing_key), Queue.BindOk)

    async def greet(
        self,
        *,
        user: str = "guest",
        password: str = "guest",  # noqa: S107  The only one there is.
        mechanism: str = "PLAIN",
        response: str | None = None,
        capabilities: dict[str, Any] | None = None,
    ) -> Connection.Start:
        """The first half of a handshake."""
        self.send_bytes(ProtocolHeader().marshal())
        start = await self.expect(Connection.Start, 0)
        properties: Any = {"capabilities": CAPABILITIES if capabilities is None else capabilities}
        plain = f"\0{user}\0{password}" if response is None else response
        self.send(Connection.StartOk(properties, mechanism, plain, "en_US"), channel=0)
        return start

    async def log_in(self, *, heartbeat_s: int = 0, vhost: str = "/", **greeting: Any) -> None:
        await self.greet(**greeting)
        tune = await self.expect(Connection.Tune, 0)
        self.send(Connection.TuneOk(tune.channel_max, FRAME_BYTES_MAX, heartbeat_s), channel=0)
        await self.ask(Connection.Open(vhost), Connection.OpenOk, 0)

    async def log_out(self) -> None:
        self.send(Connection.Close(200, "bye", 0, 0), channel=0)
        while not isinstance((await self.next())[1], Connection.CloseOk):
            pass

    def cut(self) -> None:
        """End it without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.transport.abort()


def published(
    routing_key: str,
    body: bytes = b"{}",
    *,
    exchange: str = "",
    mandatory: bool = False,
    channel: int = 1,
    **properties: Any,
) -> bytes:
    """The frames of one publish."""
    method = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    header = ContentHeader(body_size=len(body), properties=Basic.Properties(**properties))
    pieces = [body[start : start + FRAME_BYTES_MAX - 8] for start in range(0, len(body), FRAME_BYTES_MAX - 8)]
    frames: list[frame.FrameTypes] = [method, header, *map(ContentBody, pieces)]
    return b"".join(frame.marshal(each, channel) for each in frames)


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[RawClient]:
    """A connection on which nothing was said yet."""
    reader, writer = await asyncio.open_connection(*address)
    client = RawClient(reader, writer)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def logged_in(address: tuple[str, int], *, confirms: bool = False, **greeting: Any) -> AsyncIterator[RawClient]:
    """A connection with channel 1 open."""
    async with connected(address) as client:
        await client.log_in(**greeting)
        await client.open_channel(confirms=confirms)
        yield client
