"""What all servers of the tests have in common: to begin, to end, to freeze, and to be asked whether they are there."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from support import places
from support.cleanup import at_session_end
from support.ports import free_port
from support.vessels import ServerFailed, Vessel
from support.waiting import NotInTime, wait_until

HOST = "127.0.0.1"


class Server(ABC):
    """A private server that may be killed, paused and started again as often as a test likes.

    Address and data stay the same through all of it. Every method blocks; an async test calls the variant that ends
    in `_async`, which does the same in a thread. After `close` the server and its data are gone.
    """

    label: str
    ready_timeout_s: float = 60.0

    def __init__(
        self,
        image: str | None,
        local: Callable[[int], Vessel],
        container: Callable[[int], Vessel] | None,
    ) -> None:
        self.host = HOST
        self.port = free_port()
        self.version = "unknown"
        self._image = image
        self._local = local
        in_container = image is not None and places.wants_container(image)
        self._vessel = (container if in_container and container is not None else local)(self.port)
        self._paused = False
        at_session_end(self.close)

    @property
    def place(self) -> str:
        """`container` or `private process`."""
        return self._vessel.place

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @abstractmethod
    def handshake(self) -> str:
        """The server's version, or an OSError while it can't serve a client."""

    def launch(self) -> Self:
        """The first start; falls back to a private process where a container was taken by choice of `auto`."""
        try:
            self.start()
        except Exception as error:  # An engine can fail in any way of its own; what isn't forgiven is passed on.
            if self._image is None or self.place != "container" or places.mode() != "auto":
                self.close()
                raise
            places.fell_back(self._image, error)
            self._vessel.discard()
            self._vessel = self._local(self.port)
            self.start()
        places.used[f"{self.label} {self.version} ({self.place})"] += 1
        return self

    def start(self) -> None:
        """Begins the server, if it isn't running, and returns when it serves clients."""
        self._vessel.launch()
        self._paused = False
        self.wait_ready()

    def wait_ready(self) -> None:
        """Returns when the server serves clients; a server that ended is reported at once, with its output."""

        def ready() -> bool:
            if not self._vessel.alive:
                raise ServerFailed(f"{self.label} ended while starting:\n{self._vessel.last_output()}")
            self.version = self.handshake()
            return True

        try:
            wait_until(ready, timeout_s=self.ready_timeout_s, interval_s=0.05, message=f"{self.label} is ready")
        except NotInTime as error:
            raise ServerFailed(f"{error}\n{self._vessel.last_output()}") from error

    def kill(self) -> None:
        """SIGKILL to the server and all its children; returns when they are gone."""
        self._vessel.kill()
        self._paused = False

    def stop(self) -> None:
        """An orderly end."""
        self._vessel.stop()
        self._paused = False

    def restart(self) -> None:
        """An orderly end and a start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freezes the server: its connections stay open and nobody answers."""
        self._vessel.pause()
        self._paused = True

    def resume(self) -> None:
        """Ends a pause."""
        if self._paused:
            self._vessel.resume()
            self._paused = False

    def heal(self) -> None:
        """Brings the server back to service, whatever a test did to it."""
        self.resume()
        if not self._vessel.alive:
            self.start()
        self.wait_ready()

    def close(self) -> None:
        """Ends the server and removes its data. Harmless when repeated."""
        self._vessel.discard()

    async def start_async(self) -> None:
        """`start` in a thread."""
        await asyncio.to_thread(self.start)

    async def kill_async(self) -> None:
        """`kill` in a thread."""
        await asyncio.to_thread(self.kill)

    async def stop_async(self) -> None:
        """`stop` in a thread."""
        await asyncio.to_thread(self.stop)

    async def restart_async(self) -> None:
        """`restart` in a thread."""
        await asyncio.to_thread(self.restart)

    async def pause_async(self) -> None:
        """`pause` in a thread."""
        await asyncio.to_thread(self.pause)

    async def resume_async(self) -> None:
        """`resume` in a thread."""
        await asyncio.to_thread(self.resume)
