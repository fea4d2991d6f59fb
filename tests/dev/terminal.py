"""`countermand` as a person runs it, in a folder, without any server in the environment."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from countermand.coordinator.session_file import SessionFile, read_session
from support import eventually
from support.processes import OwnedProcess, descendants

COUNTERMAND = (sys.executable, "-m", "countermand.coordinator.cli.main")
ANY_PORTS = ("--amqp-port", "0", "--redis-port", "0")
STARTED_S = 30.0  # A start takes about a second; a machine on which all tests run takes longer.


def environment() -> dict[str, str]:
    """Ours, without what would lead to other servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")}


def countermand(folder: Path, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [*COUNTERMAND, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class Session:
    """A `countermand dev` in a folder of a project."""

    def __init__(self, project: Path, log: Path, process: OwnedProcess) -> None:
        self.project = project
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    async def says(self, *texts: str, since: int = 0) -> None:
        """Waits until all of these were printed, after the first `since` characters."""

        def said() -> bool:
            output = self.output[since:]
            missing = [text for text in texts if text not in output]
            assert not missing, f"{missing} in:\n{output}"
            return True

        await eventually(said, timeout_s=STARTED_S)

    @property
    def servers(self) -> SessionFile:
        found = read_session(self.project / ".countermand")
        assert found is not None, self.output
        return found

    @property
    def coordinator_pid(self) -> int:
        found = re.search(r"kill -9 (\d+) loses nothing", self.output)
        assert found, self.output
        return int(found[1])

    def family(self) -> list[int]:
        """Everything that it has started, directly or not."""
        return descendants(self.process.pid)

    def kill(self) -> list[int]:
        """SIGKILL to the session alone; the processes that it leaves to its guardian."""
        left = self.family()
        os.kill(self.process.pid, signal.SIGKILL)
        return left

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command, in another terminal."""
        return await asyncio.to_thread(countermand, self.project, *arguments)


@contextmanager
def started(project: Path, *arguments: str) -> Iterator[Session]:
    """A session on any free ports; killed at the end, if it still runs, with all that it started."""
    number = len(list(project.parent.glob("dev-*.log")))
    log = project.parent / f"dev-{number}.log"
    process = OwnedProcess(
        [*COUNTERMAND, "dev", *ANY_PORTS, *arguments], environment=environment(), log=log, folder=project
    )
    try:
        yield Session(project, log, process)
    finally:
        process.kill()


@asynccontextmanager
async def session(project: Path, *arguments: str, says: tuple[str, ...] = ()) -> AsyncIterator[Session]:
    """A session that has started, and has said this."""
    with started(project, *arguments) as running:
        await running.says("DEVELOPMENT ONLY", *says)
        yield running


def runs(pid: int) -> bool:
    """Whether a process does anything; one that has ended and that nobody collects doesn't."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()
