"""A TCP proxy that loses connections the way networks do."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 65_536


class TcpProxy:
    """Stands between a client and a server on 127.0.0.1 and breaks what passes through, on demand.

    `async with TcpProxy(host, port) as proxy:`; clients connect to `proxy.address`, or to `proxy.url_for(url)`.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._drops_next_reply = False
        self._refuses = False
        self.replies_dropped = 0
        self.connections_accepted = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect. Stays the same until the proxy is closed."""
        assert self._server is not None, "the proxy is not open"
        host, port = self._server.sockets[0].getsockname()
        return str(host), int(port)

    def url_for(self, url: str) -> str:
        """The same URL through the proxy: user, password, path and query stay."""
        host, port = self.address
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}{host}:{port}"))

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return len(self._links)

    def cut(self) -> int:
        """Resets every open connection, both sides (RST), and says how many. New connections are accepted."""
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def refuse(self) -> None:
        """Cuts, and resets every new connection, until `release`."""
        self._refuses = True
        self.cut()

    def hold(self) -> None:
        """Stops forwarding in both directions: connections stay open and nothing arrives (half-open)."""
        self._open.clear()

    def release(self) -> None:
        """Ends `hold` (what was held arrives now) and `refuse`."""
        self._refuses = False
        self._open.set()

    def drop_next_reply(self) -> None:
        """The next bytes of the server are lost and their connection is reset.

        What the client sent has reached the server: an answer is lost after its commit.
        """
        self._drops_next_reply = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._open.set()
        self._refuses = True
        tasks = [link.task for link in self._links]
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_accepted += 1
        task = asyncio.current_task()
        assert task is not None
        link = _Link(task, writer)
        self._links.add(link)
        try:
            if self._refuses:
                return
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            link.writers.append(server_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(link, reader, server_writer, self._pass))
                group.create_task(self._pump(link, server_reader, writer, self._answer))
        except* OSError:
            pass  # The server or the client is gone; the other side learns of it by the reset below.
        finally:
            self._links.discard(link)
            link.reset()

    async def _pump(
        self,
        link: "_Link",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        forwards: Callable[["_Link"], Awaitable[bool]],
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._open.wait()
            if not await forwards(link):
                return
            writer.write(chunk)
            await writer.drain()
        await self._open.wait()
        if not writer.is_closing() and writer.can_write_eof():
            writer.write_eof()

    async def _pass(self, _link: "_Link") -> bool:
        return True

    async def _answer(self, link: "_Link") -> bool:
        if not self._drops_next_reply:
            return True
        self._drops_next_reply = False
        self.replies_dropped += 1
        link.reset()
        return False


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, task: "asyncio.Task[None]", client: asyncio.StreamWriter) -> None:
        self.task = task
        self.writers = [client]

    def reset(self) -> None:
        """Closes both sides with a reset instead of an orderly end, as a dying peer does."""
        for writer in self.writers:
            raw: socket.socket | None = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
