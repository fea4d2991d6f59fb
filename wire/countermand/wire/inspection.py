"""Looks at a broker over a connection of its own, and changes nothing on it.

What AMQP 0-9-1 alone can tell, for the broker's management API may be switched off or out of reach. Each question has
a channel of its own, because the broker answers no with the end of the channel.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, Literal, Self, cast

import msgspec
from aiormq.channel import Channel
from aiormq.connection import Connection as Link
from aiormq.exceptions import (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelClosed,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from yarl import URL

from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.topology import Declarations, Exchange, Queue
from countermand.wire.addresses import without_password
from countermand.wire.connection import CLOSE_TIMEOUT_S, RememberedTransport, close_link, parse_url
from countermand.wire.session import BROKER_ERRORS, cancelled_from_outside, describe
from countermand.wire.tasks import end
from countermand.wire.topology import declare

ANSWER_TIMEOUT_S: Final = 5.0  # A queue without a leader never answers, and must not hide what the others say.

BLOCKED_POLL_S: Final = 0.02  # An alarm is told by a frame of its own, after the message that it stops.

FailureKind = Literal["unresolved", "refused", "silent", "tls", "login", "vhost", "other"]
DenialKind = Literal["permission", "declared_otherwise", "missing", "locked", "other"]

_DENIALS: Final[dict[type[Exception], DenialKind]] = {
    ChannelAccessRefused: "permission",
    ChannelPreconditionFailed: "declared_otherwise",
    ChannelNotFoundEntity: "missing",
    ChannelLockedResource: "locked",
}


class QueueFacts(msgspec.Struct, frozen=True):
    """What waits in a queue (without what consumers hold unacknowledged), and how many consume it."""

    messages: int
    consumers: int


class BrokerFacts(msgspec.Struct, frozen=True):
    """What a broker says of itself. `frame_max` is in bytes, 0 for no limit."""

    product: str
    version: tuple[int, ...]
    frame_max: int


class NoConnection(BrokerUnavailable):
    """No connection could be opened; `kind` says at which point of opening it the broker, or the way to it, said no."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Denied(msgspec.Struct, frozen=True):
    """The broker said no, in its own words. `locked`: it belongs to another connection alone."""

    kind: DenialKind
    text: str


class Inspection:
    """One connection for questions; use it as a context manager.

    Opening it raises NoConnection; each question raises BrokerUnavailable if there is no answer to it.
    """

    def __init__(self, url: str, *, name: str = "inspection", timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._url = parse_url(url, name=name, heartbeat_s=8)
        self._timeout_s = timeout_s
        self._transport = RememberedTransport(encrypted=self._url.scheme == "amqps")
        self._link = Link(self._url, transport_factory=self._transport)

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._link.connect()
        except asyncio.CancelledError as error:
            self._transport.abort()
            if cancelled_from_outside():
                raise
            raise NoConnection("other", "the connection was lost while it was opened") from error
        except BROKER_ERRORS as error:
            self._transport.abort()
            raise _no_connection(error, self._url) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.blocked:
            self._transport.abort()  # It reads nothing from this connection any more, so no farewell either.
        await close_link(self._link, self._transport)

    @property
    def broker(self) -> BrokerFacts:
        """What the broker said of itself when the connection was opened."""
        properties, tune = self._link.server_properties, self._link.connection_tune
        numbers = re.findall(r"\d+", str(properties.get("version", "")))[:3]
        return BrokerFacts(
            product=str(properties.get("product", "unknown")),
            version=tuple(int(number) for number in numbers),
            frame_max=tune.frame_max or 0,
        )

    @property
    def blocked(self) -> bool:
        """Whether the broker has stopped taking messages; it says so only to a connection that has published."""
        unblocked = getattr(self._link, "_Connection__connection_unblocked", None)
        return isinstance(unblocked, asyncio.Event) and not unblocked.is_set()

    async def queue(self, name: str) -> QueueFacts | None:
        """What is in a queue; null if there is no such queue."""
        answer: QueueFacts | None = None
        denied: Denied | None = None
        async with self._asking(f"queue {name}") as question:
            found = await question.channel.queue_declare(name, passive=True)
            answer = QueueFacts(found.message_count or 0, found.consumer_count or 0)
        denied = question.denied
        # A queue whose node is down is "not found" in other words, and is no missing queue.
        if denied is not None and not (denied.kind == "missing" and "no queue" in denied.text):
            raise BrokerUnavailable(f"queue {name}: {denied.text}")
        return answer

    async def exchange_exists(self, name: str) -> bool:
        async with self._asking(f"exchange {name}") as question:
            await question.channel.exchange_declare(name, passive=True)
        return question.denied is None

    async def differs(self, thing: Queue | Exchange) -> Denied | None:
        """How a queue or exchange differs from its declaration, the first difference only; null if it doesn't.

        Ask only for what is there: it is declared once more, which changes nothing then. Needs the permission to
        configure it, to read it, and to write to what it is dead-lettered to.
        """
        queues, exchanges = ((thing,), ()) if isinstance(thing, Queue) else ((), (thing,))
        async with self._asking(thing.name) as question:
            await declare(question.channel, Declarations(exchanges=exchanges, queues=queues))
        return question.denied

    async def may_publish(self, exchange: str) -> Denied | None:
        """Whether publishing to an exchange is permitted: tried in a transaction that is rolled back.

        Not to be asked while the broker has an alarm: no answer would come.
        """
        async with self._asking(f"exchange {exchange}") as question:
            await question.channel.tx_select()
            await question.channel.basic_publish(b"", exchange=exchange)
            await question.channel.tx_rollback()
        return question.denied

    async def round_trip_ms(self, queue: str) -> float | Denied | None:
        """How long a confirmed message takes to a queue of our own and back; null if the broker has an alarm.

        The queue is exclusive: nobody else sees it, and it is gone with this connection.
        """
        took_ms: float | None = None
        loop = asyncio.get_running_loop()
        async with self._asking(f"queue {queue}", confirms=True) as question:
            channel = question.channel
            await channel.queue_declare(queue, exclusive=True)
            began = loop.time()
            if await self._confirmed_unless_blocked(channel, queue):
                await channel.basic_get(queue, no_ack=True)
                took_ms = (loop.time() - began) * 1000
                await channel.queue_delete(queue)
        return question.denied or took_ms

    async def _confirmed_unless_blocked(self, channel: Channel, queue: str) -> bool:
        publishing = asyncio.ensure_future(channel.basic_publish(b"{}", routing_key=queue, mandatory=True))
        try:
            while not publishing.done():
                if self.blocked:
                    return False
                await asyncio.wait({publishing}, timeout=BLOCKED_POLL_S)
            await publishing
            return True
        finally:
            await end([publishing])

    @asynccontextmanager
    async def _asking(self, what: str, *, confirms: bool = False) -> AsyncIterator["_Question"]:
        try:
            async with asyncio.timeout(self._timeout_s):
                channel = cast("Channel", await self._link.channel(publisher_confirms=confirms))
                question = _Question(channel)
                try:
                    yield question
                except ChannelClosed as error:
                    question.denied = _denial(error)
                if self._link.is_opened and not channel.is_closed and not self.blocked:
                    await channel.close(timeout=CLOSE_TIMEOUT_S)
        except asyncio.CancelledError as error:
            if cancelled_from_outside():
                raise
            raise BrokerUnavailable(f"{what}: the connection was lost") from error
        except TimeoutError as error:
            raise BrokerUnavailable(f"{what}: no answer within {self._timeout_s:g} s") from error
        except BROKER_ERRORS as error:
            raise BrokerUnavailable(f"{what}: {describe(error)}") from error


class _Question:
    """A channel for one question, and the broker's no if that was the answer."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.denied: Denied | None = None


async def queue_facts(
    url: str, names: Iterable[str], *, timeout_s: float = ANSWER_TIMEOUT_S
) -> dict[str, QueueFacts | None]:
    """What waits in these queues and how many consume each; null for a queue that isn't there.

    Raises:
        BrokerUnavailable: no connection, or a queue that doesn't answer.
    """
    async with Inspection(url, timeout_s=timeout_s) as inspection:
        return {name: await inspection.queue(name) for name in names}


def _denial(error: Exception) -> Denied:
    return Denied(_DENIALS.get(type(error), "other"), _words(error))


def _words(error: BaseException) -> str:
    """The broker's own words, without the driver's class around them and the code in front."""
    text = str(error.args[-1] if error.args else error).strip().replace("\n", " ")
    return re.sub(r"^[A-Z_]+ - ", "", text)[:300]


def _no_connection(error: BaseException, url: URL) -> NoConnection:
    text = without_password(_words(error), url)
    cause = error.__cause__
    match error:
        case AuthenticationError() | ProbableAuthenticationError():
            return NoConnection("login", f"the broker refused user name and password: {text}")
        case InvalidFrameError() if "Connection.OpenOk" in text and "Connection.Close" in text:
            # The driver drops what the broker said; it is one of these.
            text = "it does not exist, the user may not use it, or it is at its limit of connections"
            return NoConnection("vhost", f"the broker refused the virtual host: {text}")
        case TimeoutError():
            return NoConnection("silent", "the broker accepted no connection in time, or said nothing on it")
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return NoConnection("tls", f"no agreement on TLS: {without_password(describe(cause or error), url)}")
    if isinstance(cause, socket.gaierror):
        return NoConnection("unresolved", f"the host's name can't be resolved: {text}")
    if isinstance(cause, ConnectionRefusedError):
        return NoConnection("refused", f"nobody listens there: {text}")
    return NoConnection("other", f"no connection: {without_password(describe(error), url)}")
