"""A connection that comes back.

One supervised loop connects, declares, opens a channel, hands it over as a `Session`, waits for its end and
starts again. A channel that the broker closed is replaced on the same connection; anything worse replaces the
connection. Publisher and consumer differ only in what they do with a fresh session.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiormq.channel import Channel
from aiormq.connection import Connection as Link
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import AMQPChannelError, AMQPConnectionError
from msgspec.structs import replace
from yarl import URL

from countermand.schemas.errors import BrokerUnavailable, SettingsError
from countermand.schemas.topology import Declarations
from countermand.wire.addresses import address_problem, without_password
from countermand.wire.backoff import Backoff
from countermand.wire.session import BROKER_ERRORS, Session, SessionEnded, cancelled_from_outside, describe
from countermand.wire.topology import declare

CONNECT_TIMEOUT_S = 10.0  # A frozen broker accepts TCP connections and never says a word.
OPEN_TIMEOUT_S = 30.0  # Declaring quorum queues on a busy cluster takes seconds.
CLOSE_TIMEOUT_S = 2.0  # A healthy broker answers a close at once; another one needn't be waited for.
# Frames of one channel that may wait between the library's two reading tasks. With its default of 10 they
# take turns every third message.
FRAME_BUFFER_SIZE = 1024

CONNECTION_OPENED = "connection_opened"
CONNECTION_FAILED = "connection_failed"
SESSION_LOST = "session_lost"
SUPERVISION_FAILED = "supervision_failed"
DECLARATION_REFUSED = "declaration_refused"
CONNECTION_CLOSED = "connection_closed"

_generations = itertools.count(1)


class RememberedTransport(TransportFactory):
    """Keeps hold of the transport, so that a connection whose peer is silent can be cut."""

    def __init__(self, *, encrypted: bool) -> None:
        self._factory = TLSTransportFactory() if encrypted else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self._writer = await self._factory.create(url, **kwargs)
        return reader, self._writer

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


class Connection:
    """One AMQP connection with one working channel, kept alive until it is closed.

    `prepare` makes a fresh session useful (a consumer starts consuming); the connection is ready when it
    returns. Everything in the declarations is declared again on every connect.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        heartbeat_s: int = 8,
        declarations: Declarations | None = None,
        prepare: Callable[[Session], Awaitable[None]] | None = None,
    ) -> None:
        self._url = parse_url(url, name=name, heartbeat_s=heartbeat_s)
        self._name = name
        self._declarations = declarations or Declarations()
        self._lenient: list[Declarations] = []
        self._prepare = prepare
        self._log = structlog.get_logger("countermand.wire").bind(connection=name)
        self._backoff = Backoff()
        self._session: Session | None = None
        self._opened = asyncio.Event()
        self._closing = False
        self._last_error = "not connected yet"
        self._task: asyncio.Task[None] | None = None
        # Whether the last session was ended by something that the client library can't decode.
        self.undecodable = False
        self.sessions_opened = 0
        self.sessions_lost = 0

    @property
    def session(self) -> Session | None:
        """The working session, if there is one at this moment."""
        session = self._session
        return session if session is not None and not session.ended else None

    @property
    def last_error(self) -> str:
        """What went wrong last, fit for people: it holds no credentials."""
        return self._last_error

    async def start(self) -> None:
        """Start connecting. Returns at once; `wait_ready` waits."""
        if self._task is None:
            self._task = asyncio.create_task(self._supervise(), name=f"countermand.wire {self._name}")

    async def wait_session(self) -> Session:
        """The working session, waited for as long as it takes."""
        while (session := self.session) is None:
            if self._closing:
                raise SessionEnded("closed")
            # A session may have ended a moment before the loop takes note: then the event is still set.
            self._opened.clear()
            await self._opened.wait()
        return session

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until there is a working session. Raises BrokerUnavailable with the last error."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait_session()
        except (TimeoutError, SessionEnded):
            raise BrokerUnavailable(f"{self._name}: not ready after {timeout_s:g} s: {self._last_error}") from None

    async def declare_leniently(self, declarations: Declarations) -> None:
        """Declare now, if connected, and again on every connect; what the broker refuses is logged and left as it is.

        For what belongs to others: a queue that was declared with other arguments can be used all the same, and must
        not keep this connection from opening.
        """
        if declarations in self._lenient:
            self._lenient.remove(declarations)
        self._lenient.append(declarations)
        if (session := self.session) is not None:
            try:
                await self._declare_one_leniently(session.link, declarations)
            except asyncio.CancelledError:
                if cancelled_from_outside():
                    raise
            except BROKER_ERRORS as error:
                session.end(f"declaring failed: {describe(error)}", cause=error, replace_connection=True)

    async def declare(self, declarations: Declarations) -> None:
        """Declare now, if connected, and again on every connect.

        Raises BrokerUnavailable if the broker refuses; then the declarations are not remembered, because
        they would keep the connection from ever opening again.
        """
        if (session := self.session) is not None:
            try:
                await self._declare(session.link, declarations)
            except AMQPChannelError as error:
                raise BrokerUnavailable(f"{self._name}: declaring was refused: {describe(error)}") from error
            except asyncio.CancelledError:
                if cancelled_from_outside():
                    raise
            except BROKER_ERRORS as error:
                session.end(f"declaring failed: {describe(error)}", cause=error, replace_connection=True)
        self._declarations += declarations

    async def close(self) -> None:
        """Close for good. Never raises for broker trouble."""
        self._closing = True
        self._opened.set()
        if (session := self._session) is not None:
            session.end("closed", replace_connection=True)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
            self._log.info(CONNECTION_CLOSED)

    async def _supervise(self) -> None:
        while not self._closing:
            lived_s: float | None = None
            try:
                lived_s = await self._live()
            except asyncio.CancelledError as error:
                if cancelled_from_outside():
                    raise
                self._failed(error)
            except (SessionEnded, *BROKER_ERRORS) as error:
                self._failed(error)
            except Exception as error:
                self._last_error = self._redact(describe(error))
                self._log.exception(SUPERVISION_FAILED)
            if lived_s is None and self.undecodable:
                lived_s = 0.0  # It did open: what can't be decoded came before all queues were consumed.
            await asyncio.sleep(self._backoff.next_s(lived_s=lived_s))

    async def _live(self) -> float:
        """One connection, from opening to loss. Returns how many seconds its last session lived."""
        loop = asyncio.get_running_loop()
        transport = RememberedTransport(encrypted=self._url.scheme == "amqps")
        link = Link(self._url, transport_factory=transport)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await link.connect()
            while True:
                session = await self._open(link)
                opened_at = loop.time()
                try:
                    await session.wait_ended()
                finally:
                    self._retire(session)
                lived_s = loop.time() - opened_at
                if session.replace_connection or not link.is_opened:
                    return lived_s
                await session.channel.close(timeout=CLOSE_TIMEOUT_S)
                await asyncio.sleep(self._backoff.next_s(lived_s=lived_s))
        finally:
            await close_link(link, transport)

    async def _open(self, link: Link) -> Session:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await self._declare(link, self._declarations)
            for declarations in list(self._lenient):
                await self._declare_one_leniently(link, declarations)
            channel = await link.channel(frame_buffer_size=FRAME_BUFFER_SIZE, on_return_raises=True)
            session = Session(link, cast("Channel", channel), next(_generations))
            session.on_end(self._note_cause)
            if self._prepare is not None:
                await self._prepare(session)
        if session.ended:
            raise AMQPConnectionError(session.reason)
        self._session = session
        self.sessions_opened += 1
        self._opened.set()
        self._log.info(CONNECTION_OPENED, generation=session.generation)
        return session

    async def _declare_one_leniently(self, link: Link, declarations: Declarations) -> None:
        # If the queue is there already, in its owner's way, its binding may still be missing.
        for wanted in (declarations, replace(declarations, queues=())):
            try:
                await self._declare(link, wanted)
            except AMQPChannelError as error:
                names = [queue.name for queue in declarations.queues]
                self._log.error(DECLARATION_REFUSED, queues=names, reason=self._redact(describe(error)))
            else:
                return

    async def _declare(self, link: Link, declarations: Declarations) -> None:
        if declarations == Declarations():
            return
        # On a channel of its own: a refused declaration closes its channel, and what else runs on that.
        channel = cast("Channel", await link.channel(publisher_confirms=False))
        try:
            await declare(channel, declarations)
        finally:
            if link.is_opened and not channel.is_closed:
                await channel.close(timeout=CLOSE_TIMEOUT_S)

    def _retire(self, session: Session) -> None:
        self._session = None
        if self._closing:
            return
        self.sessions_lost += 1
        self._last_error = self._redact(session.reason)
        self._log.warning(SESSION_LOST, generation=session.generation, reason=self._last_error)

    def _note_cause(self, session: Session) -> None:
        self.undecodable = session.undecodable

    def _failed(self, error: BaseException) -> None:
        self._last_error = self._redact(describe(error))
        self._log.error(CONNECTION_FAILED, code=BrokerUnavailable.code, reason=self._last_error)

    def _redact(self, text: str) -> str:
        return without_password(text, self._url)


async def close_link(link: Link, transport: RememberedTransport) -> None:
    """Close politely, and cut the transport if the peer doesn't answer."""
    farewell = AMQPConnectionError("closed by this client")
    for _ in range(2):
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await link.close(farewell)
        except asyncio.CancelledError:
            if cancelled_from_outside():
                transport.abort()
                raise
        except BROKER_ERRORS:
            pass
        transport.abort()


def parse_url(url: str, *, name: str, heartbeat_s: int) -> URL:
    """The URL with the connection's name and, unless it says otherwise, its heartbeat.

    Raises SettingsError, without the URL in its text: a broken URL still holds its password.
    """
    if problem := address_problem(url, ("amqp", "amqps")):
        raise SettingsError(f"the AMQP URL: {problem}")
    try:
        parsed = URL(url)
    except ValueError:
        raise SettingsError("the AMQP URL: it can't be read as an address") from None
    return parsed.update_query({"heartbeat": str(heartbeat_s), **parsed.query, "name": name})
