"""The list of everything that must not outlive the test session."""

import atexit
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Kind = Literal["group", "container", "folder"]


class Watchdog:
    """Tells a process of its own what exists, so that it is ended even if this process is killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def add(self, kind: Kind, value: str | int) -> None:
        self._tell(f"add {kind} {value}")

    def forget(self, kind: Kind, value: str | int) -> None:
        self._tell(f"forget {kind} {value}")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-E", str(Path(__file__).with_name("watchdog.py"))],
                    stdin=subprocess.PIPE,
                    text=True,
                    start_new_session=True,  # Ctrl-C in the terminal must not reach it.
                )
            assert self._process.stdin is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """Lets the watchdog see to what is still there, and end."""
        with self._lock:
            if self._process is not None:
                assert self._process.stdin is not None
                self._process.stdin.close()
                self._process.wait()
                self._process = None


watchdog = Watchdog()

_closers: list[Callable[[], None]] = []


def at_session_end(close: Callable[[], None]) -> None:
    """Registers what `close_everything` calls. Closing twice must be harmless."""
    _closers.append(close)


def close_everything() -> None:
    """Ends every server of this process, in reverse order of creation, and whatever one of them failed to end."""
    try:
        if _closers:
            _closers.pop()()
    finally:
        if _closers:
            close_everything()
        watchdog.close()


atexit.register(close_everything)
