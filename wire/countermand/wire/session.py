"""One life of a channel, and how its end is told to everyone who waits on it.

The rules:
- A session ends once, with one reason, and never comes back; the connection opens the next one.
- Whatever waits for something on a session also waits for its end: the client library may never answer.
- Bytes reach the socket through the library's own write queue, as one item, so nothing comes between them.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from aiormq.connection import Connection as Link
from aiormq.exceptions import AMQPChannelError, AMQPConnectionError, AMQPError, InvalidFrameError

# The library raises these, and its internals leak those of the transport.
BROKER_ERRORS = (AMQPError, OSError, TimeoutError, RuntimeError, EOFError)


class SessionEnded(Exception):
    """The channel is gone; what was under way on it is unknown."""


def cancelled_from_outside() -> bool:
    """Whether a CancelledError is meant for this task.

    The library rejects what waits on a lost connection with CancelledError too, in tasks nobody cancelled.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Session:
    """A channel and the connection under it, with a number that no other session of this process has."""

    def __init__(self, link: Link, channel: Channel, generation: int) -> None:
        self.link = link
        self.channel = channel
        self.generation = generation
        self.reason = ""
        self.cause: BaseException | None = None
        self.replace_connection = False
        self._ended = asyncio.Event()
        self._on_end: dict[Callable[[Session], None], None] = {}
        # Both are watched: a lost connection doesn't always close its channels in the library.
        channel.closing.add_done_callback(self._lost)
        link.closing.add_done_callback(self._lost)

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def undecodable(self) -> bool:
        """Whether something that the client library can't decode ended this session."""
        if self.cause is None or isinstance(self.cause, asyncio.CancelledError):
            return False
        if isinstance(self.cause, InvalidFrameError):
            return True
        return not isinstance(self.cause, (AMQPChannelError, AMQPConnectionError, OSError, EOFError))

    @property
    def blocked(self) -> bool:
        """Whether the broker has stopped taking messages from this connection (memory or disk alarm)."""
        unblocked = getattr(self.link, "_Connection__connection_unblocked", None)
        return isinstance(unblocked, asyncio.Event) and not unblocked.is_set()

    async def wait_unblocked(self) -> None:
        """Wait for the end of the broker's alarm. Raises SessionEnded."""
        if self.blocked:
            await self._first_of(asyncio.ensure_future(self.link.ready()))

    def on_end(self, told: Callable[["Session"], None]) -> None:
        """Tell when the session ends; at once if it already has."""
        if self.ended:
            told(self)
        else:
            self._on_end[told] = None

    def forget(self, told: Callable[["Session"], None]) -> None:
        self._on_end.pop(told, None)

    def end(self, reason: str, *, cause: BaseException | None = None, replace_connection: bool) -> None:
        """End the session. The first reason stays."""
        if self.ended:
            return
        self.reason, self.cause, self.replace_connection = reason, cause, replace_connection
        self._ended.set()
        listeners, self._on_end = list(self._on_end), {}
        for told in listeners:
            told(self)

    async def wait_ended(self) -> None:
        await self._ended.wait()

    async def write(self, payload: bytes) -> "asyncio.Future[Any]":
        """Queue `payload` as one socket write; the future is done when the socket has taken it.

        Raises SessionEnded. Cancelled while the queue is full, it can't say whether the bytes went out, so it
        ends the session: a publish that may or may not have happened would shift the count of the confirms.
        """
        if self.ended:
            raise SessionEnded(self.reason)
        drained = self.channel.create_future()
        item = ChannelFrame(payload=payload, should_close=False, drain_future=drained)
        queue = self.link.write_queue
        if not queue.full():
            queue.put_nowait(item)
            return drained
        try:
            await self._first_of(asyncio.ensure_future(queue.put(item)))
        except asyncio.CancelledError:
            self.end("a write was interrupted", replace_connection=True)
            raise
        return drained

    async def wait_drained(self, drained: "asyncio.Future[Any]") -> None:
        """Wait until the socket has taken a write. Raises SessionEnded."""
        await asyncio.wait({drained})  # Unlike awaiting it, this doesn't raise whatever killed the connection.
        if drained.cancelled() or drained.exception() is not None:
            raise SessionEnded(self.reason or "connection lost")

    async def _first_of(self, something: "asyncio.Future[Any]") -> None:
        """Wait for it or for the end of the session. Raises SessionEnded."""
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({something, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            something.cancel()
            ended.cancel()
        if self.ended:
            raise SessionEnded(self.reason)

    def _lost(self, closing: "asyncio.Future[Any]") -> None:
        cause = asyncio.CancelledError() if closing.cancelled() else closing.exception()
        link_lost = not self.link.is_opened
        what = "connection" if link_lost else "channel"
        self.end(f"{what} lost: {describe(cause)}", cause=cause, replace_connection=link_lost)


def describe(error: BaseException | None) -> str:
    """One line for people: the error's class and text, without what the library's repr would dump."""
    if error is None:
        return "closed"
    text = str(error).strip().replace("\n", " ")
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
