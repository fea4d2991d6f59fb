"""A process of ours and everything that it started, known by process id and never by name."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.cleanup import watchdog
from support.waiting import wait_until

DEATH_TIMEOUT_S = 10.0  # After SIGKILL the kernel needs milliseconds; a busy disk may hold a process for seconds.


@dataclass(frozen=True)
class Account:
    """The user under which a process runs; None of it for our own."""

    user: int
    group: int


class OwnedProcess:
    """One child in a process group of its own, with its output in a file."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        folder: Path,
        account: Account | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(arguments),
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=None if account is None else account.user,
                group=None if account is None else account.group,
                extra_groups=None if account is None else [],
            )
        self.pid = self._popen.pid
        watchdog.add("group", self.pid)
        self._ended = False

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def signal_family(self, number: signal.Signals) -> None:
        """Signals the group and every descendant that left it (PostgreSQL's children are groups of their own)."""
        if self._ended:
            return
        family = descendants(self.pid)
        for send, target in [(os.killpg, self.pid), *((os.kill, pid) for pid in family)]:
            with contextlib.suppress(ProcessLookupError):
                send(target, number)

    def terminate(self, number: signal.Signals, *, timeout_s: float) -> None:
        """Asks the process to end and, when it doesn't, kills it."""
        if not self._ended and self.alive:
            self._popen.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole family; returns when none of it is left."""
        if self._ended:
            return
        family = descendants(self.pid)
        self.signal_family(signal.SIGKILL)
        self._popen.wait(DEATH_TIMEOUT_S)
        wait_until(
            lambda: not any(_running(pid) for pid in family) and not _group_exists(self.pid),
            timeout_s=DEATH_TIMEOUT_S,
            message=f"the children of process {self.pid} end",
        )
        watchdog.forget("group", self.pid)
        self._ended = True

    def last_output(self, lines_max: int = 30) -> str:
        """The end of what the process printed, for a failure message."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines_max:])


def descendants(pid: int) -> list[int]:
    """Every living process below `pid`, children first."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def _parents() -> list[tuple[int, int]]:
    if sys.platform == "linux":
        # `ps` is not part of a minimal Debian, /proc is.
        pairs = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                fields = _stat(int(entry.name))
                if fields is not None:
                    pairs.append((int(entry.name), int(fields[1])))
        return pairs
    table = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [(int(pid), int(parent)) for pid, parent in (line.split() for line in table.splitlines())]


def _stat(pid: int) -> list[str] | None:
    """State, parent, group … of a process (proc(5)), or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _running(pid: int) -> bool:
    if sys.platform == "linux":
        fields = _stat(pid)
        # A zombie holds no file and no port any more; whoever adopted it collects it when it likes.
        return fields is not None and fields[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _group_exists(group: int) -> bool:
    if sys.platform == "linux":
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                fields = _stat(int(entry.name))
                if fields is not None and int(fields[2]) == group and fields[0] not in "ZX":
                    return True
        return False
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
