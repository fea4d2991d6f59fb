"""Ends what a development session started when the session itself dies without a chance to do so (kill -9).

A process of its own that reads, line by line, what exists and what is gone, and acts when the pipe closes. The
kernel's parent-death signal won't do: macOS has none, and on Linux it follows the thread that started the child.

This file is run as a script and imports the standard library only, so that it starts in some milliseconds.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import time

POLITE_S = 2.0  # A session that was killed is started again soon, and waits for us.
POLL_S = 0.02


def main() -> None:
    """Reads `add|forget process|folder VALUE` until the pipe closes, then ends and removes what is left."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    left: list[tuple[str, str]] = []
    for line in sys.stdin:
        verb, kind, value = line.rstrip("\n").split(" ", 2)
        if verb == "add":
            left.append((kind, value))
        elif (kind, value) in left:
            left.remove((kind, value))
    _end([int(value) for kind, value in left if kind == "process"])
    for kind, value in left:
        if kind == "folder":
            shutil.rmtree(value, ignore_errors=True)


def _end(groups: list[int]) -> None:
    for group in groups:
        _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + POLITE_S
    while any(map(runs, groups)) and time.monotonic() < deadline:
        _pause()
    for group in groups:
        _signal(group, signal.SIGKILL)
    deadline = time.monotonic() + POLITE_S
    while any(map(runs, groups)) and time.monotonic() < deadline:
        _pause()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def runs(process: int) -> bool:
    """Whether a process of ours does anything; one that has ended, and that nobody has collected yet, doesn't."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stat:
            # A zombie holds no file and no port; whoever adopted it collects it when it likes (proc(5): the state).
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        # It has ended meanwhile, or this system has no /proc; then it collects its orphans at once.
        return not os.path.isdir("/proc/self")


def _pause() -> None:
    select.select([], [], [], POLL_S)


if __name__ == "__main__":
    main()
