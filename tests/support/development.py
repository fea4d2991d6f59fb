"""The development broker as a process of its own, to kill and start again like any other server."""

import os
import re
import sys
from pathlib import Path

from support import handshakes
from support.server import HOST, Server
from support.vessels import LocalVessel, Vessel, new_folder


class DevelopmentServer(Server):
    """Our own AMQP server with the user `guest`, reachable at `amqp_url`; durable things survive `kill`."""

    label = "development broker"

    def __init__(self, *options: str) -> None:
        self._options = options
        self.folder: Path
        self.log: Path
        super().__init__(None, self._local_vessel, None)

    @property
    def amqp_url(self) -> str:
        return f"amqp://guest:guest@{self.host}:{self.port}/"

    def handshake(self) -> str:
        return handshakes.amqp_version(self.host, self.port)

    def settle_declarations(self) -> None:
        """Nothing to do: what was declared is on file."""

    async def settle_declarations_async(self) -> None:
        """Nothing to do: what was declared is on file."""

    def output(self) -> str:
        """The last lines that it logged."""
        return self._vessel.last_output()

    def rss_mb(self) -> int:
        """The memory that it takes now. Linux only, as fuzzing is."""
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self._local_one.pid}/status").read_text())
        assert match is not None
        return int(match[1]) // 1024

    def _local_vessel(self, port: int) -> Vessel:
        folder = new_folder("development-broker")
        self.folder = folder / "data"
        self.log = folder / "output.log"
        command = [sys.executable, "-m", "countermand.coordinator.dev.amqp"]
        self._local_one = LocalVessel(
            [*command, "--port", str(port), "--folder", str(self.folder), *self._options],
            folder=folder,
            environment={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
        return self._local_one

    def __repr__(self) -> str:
        return f"<DevelopmentServer {HOST}:{self.port}>"
