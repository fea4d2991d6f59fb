"""An author's participants and sagas in a process of their own, so that to load them again is to start again."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Final

from countermand.coordinator.dev.processes import STOP_S, ChildProcess, Guardian, ending
from countermand.wire import end

# Named and not imported: the coordinator's side never imports the participants' side.
MODULE: Final = "countermand.participants.serve"
# Its exit codes when trying again without a change can't help: a target that can't be loaded, wrong usage.
HOPELESS: Final = frozenset({1, 2})
RESTART_PAUSE_S: Final = 1.0
# Below the grace after which it is killed. What it has not answered by then comes again to the next one.
DRAIN_S: Final = STOP_S / 2


class App:
    """One target of `countermand dev`; what it prints is told line by line, behind its name."""

    def __init__(
        self, target: str, environment: Mapping[str, str], guardian: Guardian, tell: Callable[[str], None]
    ) -> None:
        self.target = target
        self._tell = tell
        self._wanted = asyncio.Event()
        self._process = ChildProcess(
            target,
            [sys.executable, "-m", MODULE, target, "--drain", f"{DRAIN_S:g}"],
            guardian,
            # Connections that open and close are no news to an author, unless they ask.
            environment={"COUNTERMAND_LOG_LEVEL": "warning", **environment},
            on_line=self._say,
        )

    def load_again(self) -> None:
        """Ends the process, if there is one, and starts it with what the files say now."""
        self._wanted.set()

    async def run(self) -> None:
        """Keeps it running until this is cancelled; a target that can't be loaded waits for `load_again`."""
        while True:
            self._wanted.clear()
            await self._process.start()
            ended = asyncio.create_task(self._process.wait())
            wanted = asyncio.create_task(self._wanted.wait())
            try:
                await asyncio.wait((ended, wanted), return_when=asyncio.FIRST_COMPLETED)
                if ended.done() and not wanted.done():
                    await self._after(ended.result(), wanted)
            finally:
                await end([ended, wanted])
            await self.stop()

    async def stop(self) -> None:
        """Ends the process; commands that it has not answered come again."""
        await self._process.stop()

    async def _after(self, code: int, wanted: "asyncio.Task[bool]") -> None:
        if code in HOPELESS:
            self._say("waiting for a change of its files")
            await wanted
        else:
            self._say(f"has ended ({ending(code)}); starting it again")
            await asyncio.wait((wanted,), timeout=RESTART_PAUSE_S)

    def _say(self, line: str) -> None:
        self._tell(f"{self.target}: {line}")
