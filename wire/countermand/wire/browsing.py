"""Takes messages out of a queue for somebody to look at, and gives back what wasn't settled.

Over a connection of its own, one message after another with basic.get: an empty queue says so, and nothing is
prefetched that nobody looks at. Whatever ends the connection gives everything back, so a crash loses nothing.
"""

import asyncio
import struct
from collections.abc import Sequence
from typing import Any, Final, Self, cast

import pamqp.frame
from aiormq.channel import Channel
from aiormq.connection import Connection as Link
from aiormq.exceptions import ChannelLockedResource, ChannelNotFoundEntity
from pamqp.commands import Basic
from pamqp.constants import FRAME_HEADER
from pamqp.header import ContentHeader
from yarl import URL

from countermand.schemas.errors import BrokerUnavailable
from countermand.wire.addresses import without_password
from countermand.wire.connection import CLOSE_TIMEOUT_S, RememberedTransport, close_link, parse_url
from countermand.wire.message import Delivery
from countermand.wire.session import BROKER_ERRORS, cancelled_from_outside, describe

ANSWER_TIMEOUT_S: Final = 10.0
UNREADABLE_HEADER: Final = "countermand-unreadable"  # In place of headers that can't be decoded; the value says why.

_FRAME_HEAD: Final = struct.Struct(">BHI")  # Type, channel, payload size.
_CONTENT_HEAD: Final = struct.Struct(">HHQ")  # Class, weight, body size.


class QueueTaken(BrokerUnavailable):
    """Somebody else holds the lock: they look at the same messages at this moment."""


class Browser:
    """Messages of one queue, for one holder of `lock` at a time; use it as a context manager.

    The lock is an exclusive queue of that name: it is gone with the connection, also after a crash. Opening raises
    QueueTaken, or BrokerUnavailable where there is no connection or no such queue; so do the methods if the connection
    is lost, and then everything is back in the queue.
    """

    def __init__(self, url: str, *, queue: str, lock: str, name: str = "browser") -> None:
        self._queue = queue
        self._lock = lock
        self._url = parse_url(url, name=name, heartbeat_s=8)
        self._transport = TolerantTransport(encrypted=self._url.scheme == "amqps")
        self._link = Link(self._url, transport_factory=self._transport)
        self._channel: Channel | None = None

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._link.connect()
                self._channel = cast("Channel", await self._link.channel(publisher_confirms=False))
                await self._channel.queue_declare(self._lock, exclusive=True)
                await self._channel.queue_declare(self._queue, passive=True)
        except BaseException as error:  # Whatever ended the start, nothing stays open; it is passed on, in words.
            await close_link(self._link, self._transport)
            raise self._translated(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        # The channel goes first, and with it everything back into the queue, in its old order; the lock goes last.
        channel = self._channel
        if channel is not None and self._link.is_opened and not channel.is_closed:
            try:
                await channel.close(timeout=CLOSE_TIMEOUT_S)
            except asyncio.CancelledError:
                if cancelled_from_outside():
                    raise
            except BROKER_ERRORS:
                self._transport.abort()  # The broker gives everything back when it notices.
        await close_link(self._link, self._transport)

    async def take(self, limit: int) -> list[Delivery]:
        """The next messages, oldest first; fewer than `limit` if the queue is empty."""
        taken: list[Delivery] = []
        try:
            async with asyncio.timeout(None) as patience:
                while len(taken) < limit:
                    patience.reschedule(asyncio.get_running_loop().time() + ANSWER_TIMEOUT_S)
                    got = await self._opened().basic_get(self._queue)
                    if isinstance(got.delivery, Basic.GetEmpty):
                        break
                    taken.append(_delivery(got.body, got.header, cast("Basic.GetOk", got.delivery), self._queue))
        except BaseException as error:
            # A lost connection may surface as a cancellation that nobody asked for; each is told apart there.
            raise self._translated(error) from error
        return taken

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """They are done with, and gone from the queue. Raises BrokerUnavailable: then some may still be there."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                for delivery in deliveries:
                    await self._opened().basic_ack(delivery.delivery_tag)
                # An acknowledgement has no answer; what comes after it on the channel has one.
                await self._opened().queue_declare(self._queue, passive=True)
        except BaseException as error:
            # As above.
            raise self._translated(error) from error

    def _opened(self) -> Channel:
        if self._channel is None:
            raise RuntimeError("the browser is not open")
        return self._channel

    def _translated(self, error: BaseException) -> BaseException:
        if isinstance(error, asyncio.CancelledError):
            return error if cancelled_from_outside() else BrokerUnavailable(f"{self._queue}: the connection was lost")
        match error:
            case ChannelLockedResource():
                return QueueTaken(f"somebody else looks at {self._queue} now; try again when they are done")
            case ChannelNotFoundEntity():
                return BrokerUnavailable(f"there is no queue {self._queue}")
            case _ if isinstance(error, BROKER_ERRORS):
                return BrokerUnavailable(f"{self._queue}: {without_password(describe(error), self._url)}")
        return error


class TolerantTransport(RememberedTransport):
    """Headers that the client library can't decode come as one header that says so, and don't end the connection."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await super().create(url, **kwargs)
        return cast("asyncio.StreamReader", TolerantReader(reader)), writer


class TolerantReader:
    """As much of a StreamReader as the client library uses."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._ready = b""

    def at_eof(self) -> bool:
        return not self._ready and self._reader.at_eof()

    async def read(self, size: int = -1) -> bytes:
        return self._ready + await self._reader.read(size)

    async def readexactly(self, size: int) -> bytes:
        while len(self._ready) < size:
            self._ready += await self._frame()
        answer, self._ready = self._ready[:size], self._ready[size:]
        return answer

    async def _frame(self) -> bytes:
        head = await self._reader.readexactly(_FRAME_HEAD.size)
        if head.startswith(b"AMQP"):
            return head  # No frame: the broker speaks another version.
        type_, channel, size = _FRAME_HEAD.unpack(head)
        frame = head + await self._reader.readexactly(size + 1)
        return _legible(frame, channel) if type_ == FRAME_HEADER else frame


def _legible(frame: bytes, channel: int) -> bytes:
    try:
        pamqp.frame.unmarshal(frame)
    except Exception as error:  # Of any class: a decoder that is led astray by a stranger's bytes raises what it likes.
        _, _, body_size = _CONTENT_HEAD.unpack_from(frame, _FRAME_HEAD.size)
        properties = Basic.Properties(headers={UNREADABLE_HEADER: describe(error)})
        return pamqp.frame.marshal(ContentHeader(body_size=body_size, properties=properties), channel)
    return frame


def _delivery(body: bytes, header: ContentHeader, frame: Basic.GetOk, queue: str) -> Delivery:
    properties = header.properties
    return Delivery(
        body=body,
        headers=properties.headers or {},
        content_type=properties.content_type or "",
        type=properties.message_type or "",
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        message_id=properties.message_id,
        app_id=properties.app_id,
        user_id=properties.user_id,
        exchange=frame.exchange or "",
        routing_key=frame.routing_key or "",
        queue=queue,
        redelivered=bool(frame.redelivered),
        delivery_tag=frame.delivery_tag or 0,
        generation=0,
    )
