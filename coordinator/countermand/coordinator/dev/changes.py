"""Notices that a project's files have changed, by looking at them.

Looking costs some milliseconds and works everywhere: the kernel's notices don't come from network folders and from
containers' mounted ones, run out of watches in large projects, and would need one more library.
"""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

PAUSE_S: Final = 0.3
# However large the project is: looking takes at most a twentieth of one processor.
PAUSE_FOR_LOOKING: Final = 20
# An editor that saves several files, or a branch that is changed: one restart, when it is quiet again.
QUIET_S: Final = 0.1
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})

Snapshot = dict[str, tuple[int, int]]


class Changes:
    """Looks at the Python files below a folder, and at some `others`.

    Hidden folders and virtual environments are left out. Other files than those named don't count: a service that
    writes one must not be restarted by that.
    """

    def __init__(self, folder: Path, others: Collection[Path] = ()) -> None:
        self._folder = str(folder)
        self._others = [str(path.absolute()) for path in others]
        self._seen = self._look()

    async def next(self) -> list[str]:
        """The files that have changed, relative to the folder, once they stop changing."""
        while True:
            began = time.monotonic()
            now = await asyncio.to_thread(self._look)
            if now != self._seen:
                return await self._settled(now)
            await asyncio.sleep(max(PAUSE_S, PAUSE_FOR_LOOKING * (time.monotonic() - began)))

    async def _settled(self, now: Snapshot) -> list[str]:
        before = self._seen
        while True:
            await asyncio.sleep(QUIET_S)
            later = await asyncio.to_thread(self._look)
            if later == now:
                break
            now = later
        self._seen = now
        changed = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
        return sorted(path.removeprefix(self._folder + os.sep) for path in changed)

    def _look(self) -> Snapshot:
        found: Snapshot = {}
        for path in itertools.chain(_python_files(self._folder), self._others):
            with contextlib.suppress(FileNotFoundError):  # An editor's temporary file, or one between two versions.
                status = os.stat(path)
                found[path] = (status.st_mtime_ns, status.st_size)
        return found


def _python_files(folder: str) -> Iterator[str]:
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                listed = list(entries)
        except (FileNotFoundError, PermissionError):
            continue
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                if not _is_skipped(entry):
                    waiting.append(entry.path)
            elif entry.name.endswith(".py"):
                yield entry.path


def _is_skipped(entry: "os.DirEntry[str]") -> bool:
    return entry.name.startswith(".") or entry.name in SKIPPED or os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
