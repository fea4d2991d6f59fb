"""Processes of a development session: known by id, ended for certain, also when the session is killed."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

from countermand.schemas.errors import CountermandError

# A session promises to be gone within five seconds of Ctrl-C, and ends first its clients, then its servers.
STOP_S: Final = 2.0
LINE_BYTES_MAX: Final = 1 << 16  # A line of output beyond this is cut: somebody prints data, and nobody reads it.
LAST_LINES: Final = 15
POLL_S: Final = 0.02
ANSWER_S: Final = 0.5  # It takes less than a millisecond; whoever is too late is asked again.
# Some days of development. What is older than that is kept once, beside it.
LOG_BYTES_MAX: Final = 20_000_000
# A process that has left its group may hold the pipe for as long as it likes; nobody waits for its words.
OUTPUT_S: Final = 0.5


class DevelopmentError(CountermandError):
    """Something that development needs is missing, taken or doesn't start; says what to do."""

    code = "development_error"


class Guardian:
    """A small process that ends what it was told of when this process ends, however it ends.

    `holds` is a file descriptor that it keeps open until then: a lock, so that nobody takes the place of processes that
    are still there. Use it as a context manager.
    """

    def __init__(self, *, holds: int | None = None) -> None:
        self._process = subprocess.Popen(  # noqa: S603  Our own script.
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # Whoever reads ours must not wait for it.
            pass_fds=() if holds is None else (holds,),
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal must not reach it.
        )

    def watch_process(self, pid: int) -> None:
        """The leader of a process group, which is ended as a whole."""
        self._tell(f"add process {pid}")

    def forget_process(self, pid: int) -> None:
        self._tell(f"forget process {pid}")

    def watch_folder(self, folder: Path) -> None:
        """A folder to remove in the end."""
        self._tell(f"add folder {folder}")

    def forget_folder(self, folder: Path) -> None:
        """It is to stay, or is gone already."""
        self._tell(f"forget folder {folder}")

    def close(self) -> None:
        """Lets it see to whatever is left, and end."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, line: str) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            return
        # Whoever has killed the guardian has taken the risk; the session itself still ends its children.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


class ChildProcess:
    """One child, in a process group of its own, that can be started again after it ended.

    Its output goes to the file `log`, or line by line to `on_line`.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        guardian: Guardian,
        *,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._arguments = list(arguments)
        self._guardian = guardian
        self._environment = None if environment is None else dict(environment)
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._log_began = 0
        self._seen_to = True

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, *, holds: Sequence[int] = ()) -> None:
        """Starts it. Raises DevelopmentError if the program can't be run.

        `holds` are file descriptors that it keeps open for as long as it lives, such as locks.
        """
        with contextlib.ExitStack() as files:
            if self._on_line is None:
                output = files.enter_context(_log_file(self.log or Path(os.devnull)))
                self._log_began = output.tell()
            else:
                # Not asyncio's own pipe: with that, waiting for the process waits for whoever else holds the pipe.
                readable, writable = os.pipe()
                output = files.enter_context(os.fdopen(writable, "wb"))
                reading = _read(os.fdopen(readable, "rb"), self._on_line)
                self._reading = asyncio.create_task(reading, name=f"output of {self.name}")
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._arguments,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=holds,
                    start_new_session=True,  # Ctrl-C in the terminal is for the session, which ends them in order.
                )
            except OSError as error:
                raise DevelopmentError(f"{self.name}: {self._arguments[0]} can't be run: {error.strerror}") from error
        self._guardian.watch_process(self._process.pid)
        self._seen_to = False

    async def wait(self) -> int:
        """Its exit code, once it has ended and its output was read; negative if a signal ended it."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        code = await self._process.wait()
        if not self._seen_to:
            self._seen_to = True
            # Whatever it started and left behind: a group lives as long as one of its processes does.
            self._signal(signal.SIGKILL)
            self._guardian.forget_process(self._process.pid)
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=OUTPUT_S)
            self._reading.cancel()
        return code

    async def stop(self, grace_s: float = STOP_S) -> None:
        """SIGTERM, and SIGKILL for whoever takes longer than `grace_s`. Harmless when repeated."""
        if self._process is None:
            return
        if self.running:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
            except TimeoutError:
                self._signal(signal.SIGKILL)
        await self.wait()

    async def kill(self) -> None:
        """SIGKILL: no clean-up, no last words."""
        if self.running:
            self._signal(signal.SIGKILL)
            await self.wait()

    def words(self) -> str:
        """What it has written to its log since it was started."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            return log.read().decode(errors="replace")

    def last_words(self) -> str:
        """The end of that, for an error message."""
        return "\n".join(self.words().splitlines()[-LAST_LINES:])

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _log_file(path: Path) -> IO[bytes]:
    if path.is_file() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".old"))
    return path.open("ab")


async def _read(pipe: IO[bytes], on_line: Callable[[str], None]) -> None:
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while True:
            try:
                line = await reader.readline()
            except ValueError:  # Longer than the limit; asyncio has dropped what it had of it.
                continue
            if not line:
                return
            on_line(line.decode(errors="replace").rstrip("\n"))
    finally:
        transport.close()


async def until_ready(child: ChildProcess, is_ready: Callable[[], Awaitable[bool]], *, timeout_s: float) -> None:
    """Returns when the child serves.

    Raises:
        DevelopmentError: it has ended, or does not serve within the time; with its last words.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not await is_ready():
                if not child.running:
                    raise DevelopmentError(f"{child.name} has ended while starting: {child.last_words()}")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise DevelopmentError(f"{child.name} does not serve after {timeout_s:g} s: {child.last_words()}") from None


async def answers(port: int, question: bytes, *expected: bytes) -> bool:
    """Whether a server on this machine answers with these, one after another; False while it doesn't listen."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        async with asyncio.timeout(ANSWER_S):
            writer.write(question)
            for answer in expected:
                await reader.readuntil(answer)
            return True
    except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
        return False
    finally:
        writer.close()


def ending(code: int) -> str:
    """An exit code in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
