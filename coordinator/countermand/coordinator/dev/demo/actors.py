"""The processes of the demo: started, killed, started again, and in the end all gone."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from countermand.coordinator.dev.processes import ChildProcess, Guardian
from countermand.schemas.errors import CountermandError

# Services finish what they have begun within three seconds; a hanging carrier takes nearly that long.
STOP_S: Final = 6.0
COUNTERMAND: Final = (sys.executable, "-m", "countermand.coordinator.cli.main")
# What decides about servers comes from the demo alone, whatever the terminal's environment says.
DECIDED: Final = ("AMQP_URL", "AMQP_URL_FILE", "REDIS_URL", "REDIS_URL_FILE", "READY_FILE")

# How Python ends when a module, or something in one, isn't there.
MISSING: Final = ("\nModuleNotFoundError: ", "\nImportError: ")

Condition = Literal["away", "up", "killed"]


class DemoFailed(CountermandError):
    """The demo can't go on; the text says why."""

    code = "demo_failed"


class BrokenInstall(DemoFailed):
    """A process of the demo lacks a module; its last words say which, and nothing else is worth keeping."""


class Actor:
    """A child process that is killed and started again while somebody watches.

    With `on_event` it speaks a line of JSON for everything that happens; whatever else it says goes to its log.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log: Path,
        guardian: Guardian,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.name = name
        self.condition: Condition = "away"
        self._log = log
        self._child = ChildProcess(
            name,
            [str(argument) for argument in arguments],
            guardian,
            environment=environment,
            log=log,
            on_line=None if on_event is None else partial(self._hear, on_event),
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    async def start(self) -> None:
        await self._child.start()
        self.condition = "up"

    async def kill(self) -> None:
        """SIGKILL: no clean-up, no last words. Returns when it is gone."""
        self.condition = "killed"
        await self._child.kill()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for whoever doesn't listen."""
        self.condition = "away"
        await self._child.stop(STOP_S)

    async def was_killed(self) -> bool:
        """Whether somebody else has killed it.

        Raises:
            DemoFailed: it has ended by itself, and not well; has its last words. BrokenInstall: for want of a module.
        """
        if self.condition != "up" or self._child.running:
            return False
        status = await self._child.wait()
        self.condition = "killed" if status < 0 else "away"
        if status > 0:
            words = self._child.last_words()
            kind = BrokenInstall if any(map(words.__contains__, MISSING)) else DemoFailed
            raise kind(f"{self.name} has ended with status {status}; its last words:\n{words}")
        return status < 0

    def _hear(self, on_event: Callable[[dict[str, Any]], None], line: str) -> None:
        try:
            event = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            # A traceback or a warning, or a line that a kill has cut in two.
            with self._log.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
        else:
            on_event(event)


class Cast:
    """Everybody who takes part, by name. Use it as a context manager: on leaving, all of them end."""

    def __init__(self) -> None:
        self.actors: dict[str, Actor] = {}

    def add(self, actor: Actor) -> None:
        self.actors[actor.name] = actor

    async def __aenter__(self) -> "Cast":
        return self

    async def __aexit__(self, *_: object) -> None:
        # All at once: each may take some seconds to finish what it has begun.
        await asyncio.gather(*(actor.stop() for actor in self.actors.values()))


def environment_for(amqp_url: str, redis_url: str, prefix: str, namespace: str) -> dict[str, str]:
    """What every process of the demo is told about its surroundings."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.removeprefix("COUNTERMAND_") not in DECIDED or not name.startswith("COUNTERMAND_")
    }
    return inherited | {
        "COUNTERMAND_AMQP_URL": amqp_url,
        "COUNTERMAND_REDIS_URL": redis_url,
        "COUNTERMAND_PREFIX": prefix,
        "COUNTERMAND_NAMESPACE": namespace,
        "COUNTERMAND_LOG_FORMAT": "console",
        # How long a killed coordinator's unfinished wake-ups wait for another one. The default suits production,
        # where nobody is watching a clock.
        "COUNTERMAND_LEASE_MS": "5000",
        "COUNTERMAND_GUARD_MS": "5000",
    }
