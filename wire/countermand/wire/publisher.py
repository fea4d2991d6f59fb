"""Publishes batches: one socket write, grouped confirms, one outcome per message.

The rules:
- No path awaits one confirm per message.
- A message without a confirm is unknown, never failed. After a confirm timeout the connection is replaced:
  some brokers never confirm again on a channel that lived through a partition.
- While the broker blocks publishers (memory or disk alarm) nothing is sent and nothing is replaced: a new
  connection would be blocked as well, and every old one would hold messages that arrive when the alarm ends.
"""

import asyncio
import itertools
import uuid
from collections.abc import Iterator, Sequence
from typing import cast

import structlog

from countermand.schemas.topology import Declarations
from countermand.wire.confirms import Batch, Confirm, can_register_confirms, outcome_of
from countermand.wire.connection import Connection
from countermand.wire.frames import Unencodable, encode, properties_of
from countermand.wire.message import CONFIRMED, Message, PublishOutcome, Refused
from countermand.wire.session import (
    BROKER_ERRORS,
    Session,
    SessionEnded,
    cancelled_from_outside,
    describe,
)

WRITE_BYTES_MAX = 1 << 20  # More in one write keeps heartbeats waiting behind it.

CONFIRM_TIMED_OUT = "confirm_timed_out"
FAST_PATH_UNAVAILABLE = "fast_path_unavailable"


class Publisher:
    """Publishes over a connection of its own, which comes back by itself.

    `fast=False` publishes through the client library's documented methods only, with gathered confirms. That
    happens by itself when the library's insides aren't what the fast path knows.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        declarations: Declarations | None = None,
        confirm_timeout_s: float = 15.0,
        heartbeat_s: int = 8,
        fast: bool = True,
    ) -> None:
        self._connection = Connection(
            url, name=name, heartbeat_s=heartbeat_s, declarations=declarations, prepare=self._prepare
        )
        self._confirm_timeout_s = confirm_timeout_s
        self._fast = fast
        self._fast_now = fast
        self._log = structlog.get_logger("countermand.wire").bind(connection=name)
        self._writing = asyncio.Lock()
        self._message_id_prefix = uuid.uuid4().hex
        self._message_numbers = itertools.count(1)

    @property
    def connection(self) -> Connection:
        """The connection underneath, for health and metrics."""
        return self._connection

    @property
    def ready(self) -> bool:
        """Whether a publish would go out now: connected, and not blocked by an alarm of the broker."""
        session = self._connection.session
        return session is not None and not session.blocked

    async def start(self) -> None:
        """Start connecting. Returns at once; `wait_ready` waits."""
        await self._connection.start()

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait for the connection. Raises BrokerUnavailable with the last error."""
        await self._connection.wait_ready(timeout_s)

    async def declare(self, declarations: Declarations) -> None:
        """Declare now, if connected, and on every connect. Raises BrokerUnavailable if the broker refuses."""
        await self._connection.declare(declarations)

    async def declare_leniently(self, declarations: Declarations) -> None:
        """Declare now, if connected, and on every connect; what the broker refuses is logged and left as it is."""
        await self._connection.declare_leniently(declarations)

    async def close(self) -> None:
        """Close for good. Publishes under way are unknown."""
        await self._connection.close()

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """Publish all; one outcome per message, in the order of the messages.

        Never raises for broker trouble. Takes at most the confirm timeout, which includes waiting for a lost
        connection to come back.
        """
        if not messages:
            return []
        batch = Batch(messages)
        session: Session | None = None
        try:
            async with asyncio.timeout(self._confirm_timeout_s) as timeout:
                session = await self._unblocked_session()
                session.on_end(batch.session_ended)
                await (self._publish_fast if self._fast_now else self._publish_plainly)(session, batch)
        except TimeoutError as error:
            self._timed_out(batch, session, error if not timeout.expired() else None)
        except asyncio.CancelledError as error:
            if cancelled_from_outside():
                raise
            batch.abandon(f"connection lost: {describe(error)}")
        except (SessionEnded, *BROKER_ERRORS) as error:
            batch.abandon(describe(error))
        finally:
            if session is not None:
                session.forget(batch.session_ended)
        return batch.outcomes()

    async def _unblocked_session(self) -> Session:
        while True:
            session = await self._connection.wait_session()
            try:
                await session.wait_unblocked()
            except SessionEnded:
                continue  # Nothing was sent on it; the next one will do.
            return session

    async def _prepare(self, session: Session) -> None:
        self._fast_now = self._fast and can_register_confirms(session.channel)
        if self._fast and not self._fast_now:
            self._log.warning(FAST_PATH_UNAVAILABLE)

    async def _publish_fast(self, session: Session, batch: Batch) -> None:
        # The channel counts publishes in the order of the socket, so one batch at a time goes to it.
        async with self._writing:
            drained: asyncio.Future[None] | None = None
            for chunk in self._chunks(session, batch):
                if drained is not None:
                    await session.wait_drained(drained)
                payload = self._register(session, batch, chunk)
                drained = await session.write(payload)
        await batch.wait_settled()

    def _chunks(self, session: Session, batch: Batch) -> Iterator[list[tuple[int, str, bytes]]]:
        """The encoded messages, with index and message id, in pieces of about WRITE_BYTES_MAX."""
        frame_max = session.link.connection_tune.frame_max
        chunk: list[tuple[int, str, bytes]] = []
        size = 0
        for index, message in enumerate(batch.messages):
            message_id = self._new_message_id()
            try:
                frames = encode(message, message_id, channel_number=session.channel.number, frame_max=frame_max)
            except Unencodable as error:
                batch.settle(index, Refused(str(error), for_good=True))
                continue
            chunk.append((index, message_id, frames))
            size += len(frames)
            if size >= WRITE_BYTES_MAX:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _register(self, session: Session, batch: Batch, chunk: list[tuple[int, str, bytes]]) -> bytes:
        """Put a confirm for each message where the library looks for it, and give the bytes to write."""
        channel = session.channel
        ids, confirmations = channel.message_id_delivery_tag, channel.confirmations
        for index, message_id, _ in chunk:
            channel.delivery_tag += 1
            if batch.messages[index].mandatory:
                ids[message_id] = channel.delivery_tag
            confirm = Confirm(batch, index, message_id, ids)
            confirmations[channel.delivery_tag] = cast("asyncio.Future[None]", confirm)
        return b"".join(frames for _, _, frames in chunk)

    async def _publish_plainly(self, session: Session, batch: Batch) -> None:
        await asyncio.gather(*(self._publish_one(session, batch, index) for index in range(len(batch.messages))))

    async def _publish_one(self, session: Session, batch: Batch, index: int) -> None:
        message = batch.messages[index]
        message_id = self._new_message_id()
        try:
            # Only to learn in the same words what can't be sent at all.
            encode(message, message_id, channel_number=1, frame_max=session.link.connection_tune.frame_max)
            await session.channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=properties_of(message, message_id),
                mandatory=message.mandatory,
            )
        except Unencodable as error:
            batch.settle(index, Refused(str(error), for_good=True))
        except asyncio.CancelledError as error:
            if cancelled_from_outside():
                raise
            batch.settle(index, outcome_of(error, message))
        except Exception as error:
            # Whatever killed the library's reading task is raised here, of any class.
            batch.settle(index, outcome_of(error, message))
        else:
            batch.settle(index, CONFIRMED)

    def _new_message_id(self) -> str:
        return f"{self._message_id_prefix}-{next(self._message_numbers):x}"

    def _timed_out(self, batch: Batch, session: Session | None, error: TimeoutError | None) -> None:
        current = session or self._connection.session
        if current is None:
            batch.abandon(f"not connected: {self._connection.last_error}")
        elif current.blocked:
            batch.abandon("the broker blocks publishers (memory or disk alarm)")
        elif error is not None:
            batch.abandon(describe(error))
        else:
            self._log.error(CONFIRM_TIMED_OUT, messages=len(batch.messages), timeout_s=self._confirm_timeout_s)
            current.end("a publish was not confirmed in time", replace_connection=True)
            batch.abandon("not confirmed in time")
