"""An author's participants and sagas in a process of their own, so that to load them again is to start again."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Final

from countermand.coordinator.dev.endings import Endings
from countermand.coordinator.dev.invocation import command_name
from countermand.coordinator.dev.processes import STOP_S, ChildProcess, Guardian
from countermand.wire import end

# Named and not imported: the coordinator's side never imports the participants' side.
MODULE: Final = "countermand.participants.serve"
# Its exit codes when trying again without a change can't help: a target that can't be loaded, wrong usage.
HOPELESS: Final = frozenset({1, 2})
# What it says last of its start, with --debug.
READY: Final = "ready: all is served and registered"
# What it says of every start, and what is no news when it is the same as last time.
HINT: Final = "  countermand "
USUAL: Final = ("serving ", "registered ", HINT)
# Below the grace after which it is killed. What it has not answered by then comes again to the next one.
DRAIN_S: Final = STOP_S / 2


class App:
    """One target of `countermand dev`; what it prints is told line by line, behind its name."""

    def __init__(
        self, target: str, environment: Mapping[str, str], guardian: Guardian, tell: Callable[[str], None]
    ) -> None:
        self.target = target
        self._tell = tell
        self.ready = asyncio.Event()
        self._wanted = asyncio.Event()
        self._endings = Endings()
        self._comes_back = False  # After an end of its own, until it is ready.
        self._said: set[str] = set()
        self._process = ChildProcess(
            target,
            [sys.executable, "-m", MODULE, target, "--debug", "--drain", f"{DRAIN_S:g}"],
            guardian,
            # Connections that open and close are no news to an author, unless they ask.
            environment={"COUNTERMAND_LOG_LEVEL": "warning", **environment},
            on_line=self._hear,
        )

    def load_again(self) -> None:
        """Ends the process, if there is one, and starts it with what the files say now."""
        self._endings, self._comes_back = Endings(), False
        self.ready.clear()
        self._wanted.set()

    async def run(self) -> None:
        """Keeps it running until this is cancelled; a target that can't be loaded waits for `load_again`."""
        while True:
            self._wanted.clear()
            await self._process.start()
            self._endings.started()
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
        self.ready.clear()
        if code in HOPELESS:
            self._say("waiting for a change of its files")
            await wanted
        else:
            self._say(self._endings.ended(code))
            self._comes_back = True
            await asyncio.wait((wanted,), timeout=self._endings.pause_s)

    def _hear(self, line: str) -> None:
        if line == READY:
            self.ready.set()
            if self._comes_back:
                self._say("runs again")
            self._comes_back = False
        elif not line.startswith(USUAL):
            self._say(line)
        elif line not in self._said:
            self._said.add(line)
            self._say(line.replace(HINT, f"  {command_name()} ") if line.startswith(HINT) else line)

    def _say(self, line: str) -> None:
        self._tell(f"{self.target}: {line}")
