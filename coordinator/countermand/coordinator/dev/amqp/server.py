"""The broker as a whole: it listens, keeps its folder, and goes away politely."""

import asyncio
import errno
import ipaddress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import msgspec
import structlog

from countermand.coordinator.dev.amqp.connection import Connection
from countermand.coordinator.dev.amqp.host import Host
from countermand.coordinator.dev.amqp.journal import Journal, JournalUnusable
from countermand.coordinator.dev.amqp.limits import Limits
from countermand.coordinator.dev.amqp.records import Records, decode_record
from countermand.coordinator.dev.amqp.recovery import Recovery
from countermand.coordinator.dev.amqp.rounds import Rounds

log = structlog.get_logger("countermand.dev.amqp")

STARTED = "development_broker_started"
STOPPED = "development_broker_stopped"
FAILED = "development_broker_failed"
TOO_MANY_CONNECTIONS = "too_many_connections"

WARNING = "for development only"


class BrokerUnusable(Exception):
    """It can't start: the text says what is in the way, and what would help."""


class BrokerFailed(Exception):
    """It stopped because it could no longer keep what it promised."""


class DevelopmentBroker:
    """An AMQP 0-9-1 server on loopback, for development only.

    With a folder, durable queues, exchanges, bindings and persistent messages survive `stop` and a kill of the
    process; with None everything is gone with it. Port 0 takes any free one. An object starts once.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        user: str = "guest",
        password: str = "guest",  # noqa: S107  What every client tries first; it opens loopback only.
        limits: Limits = Limits(),  # noqa: B008  It is frozen.
    ) -> None:
        if not _is_loopback(host):
            raise BrokerUnusable(f"host {host!r}: the development broker listens on loopback only, as 127.0.0.1")
        self.limits = limits
        self.user = user
        self.password = password
        self._folder = folder
        self._host_name = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, None] = {}
        self._nobody_connected = asyncio.Event()
        self._nobody_connected.set()
        self._ended = asyncio.Event()
        self._failure: Exception | None = None
        self.rounds = Rounds(self._write_down, self._fail)
        self._records: Records
        self.host: Host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def amqp_url(self) -> str:
        """Where clients find it, with user and password."""
        host = f"[{self._host_name}]" if ":" in self._host_name else self._host_name
        return f"amqp://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{host}:{self._port}/"

    async def start(self) -> None:
        """Read the folder and listen. Raises BrokerUnusable if the port, the folder or the file in it is."""
        if self._server is not None:
            raise BrokerUnusable("this broker was started already")
        loop = asyncio.get_running_loop()
        recovered = self._open_folder()
        try:
            self._server = await loop.create_server(lambda: Connection(self), self._host_name, self._port)
        except OSError as error:
            self._end()
            if error.errno == errno.EADDRINUSE:
                raise BrokerUnusable(f"port {self._port} of {self._host_name} is taken; choose another one") from None
            raise BrokerUnusable(f"can't listen on {self._host_name}:{self._port}: {error.strerror}") from error
        self._port = self._server.sockets[0].getsockname()[1]
        folder = "none, everything is lost at the end" if self._folder is None else str(self._folder)
        log.info(STARTED, note=WARNING, port=self._port, folder=folder, messages=recovered)

    async def stop(self) -> None:
        """Close every connection politely, and the folder. Harmless when repeated."""
        if self._server is None or self._ended.is_set():
            return
        self._server.close()
        for connection in list(self._connections):
            connection.shut_down()
        try:
            async with asyncio.timeout(self.limits.stop_timeout_s):
                await self._nobody_connected.wait()
        except TimeoutError:
            await self._abort_connections()
        if self._failure is None:
            self.rounds.run()
        self._end()
        log.info(STOPPED)

    async def wait_ended(self) -> None:
        """Wait for the end, whoever brings it about. Raises BrokerFailed if the broker did."""
        await self._ended.wait()
        if self._failure is not None:
            raise BrokerFailed(f"{type(self._failure).__name__}: {self._failure}") from self._failure

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # What connections tell (`connection.Home`).

    def connected(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        if len(self._connections) >= self.limits.connections_max or self._failure is not None:
            log.warning(TOO_MANY_CONNECTIONS, limit=self.limits.connections_max)
            return False
        self._connections[connection] = None
        self._nobody_connected.clear()
        return True

    def disconnected(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        if not self._connections:
            self._nobody_connected.set()

    # The folder.

    def _open_folder(self) -> int:
        """Everything that the folder holds becomes the host; the number of messages in it."""
        try:
            journal = None if self._folder is None else Journal(self._folder)
            self._records = Records(journal, self.limits)
            self.host = Host(self.limits, self._records, self.rounds.queue_changed)
            if journal is None:
                return 0
            try:
                return self._recover(journal)
            except BaseException:  # Whatever it was: the file must not stay open and locked. It is passed on.
                journal.close()
                raise
        except (OSError, JournalUnusable, msgspec.MsgspecError) as error:
            raise BrokerUnusable(f"the folder {self._folder} can't be used: {error}") from error

    def _recover(self, journal: Journal) -> int:
        recovery = Recovery()
        for payload in journal.records():
            recovery.apply(decode_record(payload))
        return recovery.fill(self.host)

    def _write_down(self) -> None:
        self._records.flush()
        if self._records.wants_compacting(self.host.bytes):
            self._records.compact(self.host.exchanges, self.host.queues)

    def _fail(self, error: Exception) -> None:
        """Stop at once: what isn't written must not be confirmed, and clients know how to wait for a broker."""
        if self._failure is not None:
            return
        self._failure = error
        log.critical(FAILED, exc_info=error)
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        if not self._ended.is_set():
            self.rounds.end()
            for queue in self.host.queues.values():
                queue.stop_timers()
            self._records.close()
            self._ended.set()

    async def _abort_connections(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        await self._nobody_connected.wait()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
