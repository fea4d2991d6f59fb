"""The embedded servers together: a Valkey and an AMQP broker, each a process of its own on loopback."""

import asyncio
import sys
from pathlib import Path
from typing import Final, Self

from countermand.coordinator.dev.ports import HOST, free_port
from countermand.coordinator.dev.processes import ChildProcess, Guardian, answers, until_ready
from countermand.coordinator.dev.store import DevelopmentStore

READY_S: Final = 15.0
BROKER_MODULE: Final = "countermand.coordinator.dev.amqp"
# The protocol header of AMQP 0-9-1 (section 4.2.2), and how the answer's frame begins: a method on channel 0.
AMQP_GREETING: Final = b"AMQP\x00\x00\x09\x01"
AMQP_ANSWER: Final = b"\x01\x00\x00"
LISTENING: Final = "listening on amqp://"


class BrokerProcess:
    """The embedded broker as a process of its own, so that nothing in the session can make it wait."""

    def __init__(self, folder: Path, guardian: Guardian, *, port: int = 0) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.process = ChildProcess(
            "the embedded AMQP broker",
            [sys.executable, "-m", BROKER_MODULE, "--port", str(self.port), "--folder", str(folder.absolute())],
            guardian,
            log=folder / "broker.log",
        )

    @property
    def amqp_url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/"

    async def start(self) -> None:
        """Returns when it serves, with the messages of last time.

        Raises:
            DevelopmentError: it doesn't start; with the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.process.start()
        try:
            await until_ready(self.process, self._serves, timeout_s=READY_S)
        except BaseException:  # Also a cancellation: nothing stays behind, and it is passed on.
            await self.process.kill()
            raise

    async def stop(self) -> None:
        """An orderly end; durable messages stay."""
        await self.process.stop()

    async def _serves(self) -> bool:
        # Its own word first: another server on this port may have answered instead of ours.
        said = LISTENING in self.process.words()
        return said and await answers(self.port, AMQP_GREETING, AMQP_ANSWER)


class DevelopmentServers:
    """The store and the broker, with their data in `folder`; use it as an asynchronous context manager.

    Ports of 0 are any that are free. Without a `guardian` it has one of its own. DEVELOPMENT ONLY: the password is
    known to everybody, and both listen on 127.0.0.1 alone.
    """

    def __init__(
        self, folder: Path, *, amqp_port: int = 0, redis_port: int = 0, guardian: Guardian | None = None
    ) -> None:
        watching = guardian or Guardian()
        self._own_guardian = None if guardian else watching
        try:
            self.store = DevelopmentStore(folder / "store", watching, port=redis_port)
            self.broker = BrokerProcess(folder / "broker", watching, port=amqp_port)
        except BaseException:  # Whatever is missing, the guardian must not wait for us; it is passed on.
            self._close()
            raise

    @property
    def amqp_url(self) -> str:
        return self.broker.amqp_url

    @property
    def redis_url(self) -> str:
        return self.store.redis_url

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.TaskGroup() as starting:
                starting.create_task(self.store.start())
                starting.create_task(self.broker.start())
        except ExceptionGroup as group:
            # As one of them says it, whichever is first. From an `except*`, Python 3.11.2 would raise it in a group.
            await self.__aexit__()
            raise group.exceptions[0] from None
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.gather(self.store.stop(), self.broker.stop())
        finally:
            self._close()

    def _close(self) -> None:
        if self._own_guardian is not None:
            self._own_guardian.close()
