"""The folder of a development session: its data, its logs, and the lock that keeps a second session out."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from countermand.coordinator.dev.guardian import runs
from countermand.coordinator.dev.processes import DevelopmentError
from countermand.coordinator.session_file import LOCK_FILE

# The guardian of a session that was killed needs a moment to end its processes, and holds the lock until then.
TAKE_OVER_S: Final = 8.0
POLL_S: Final = 0.05
PRIVATE: Final = 0o700


@asynccontextmanager
async def locked(folder: Path) -> AsyncIterator[int]:
    """Holds the folder's lock; gives its file descriptor, for whoever must hold it beyond our death.

    Raises:
        DevelopmentError: another session runs there; says which.
    """
    lock = _opened(folder)
    try:
        await _take(lock, folder)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _opened(folder: Path) -> int:
    try:
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        _make_private(folder)
        # Data doesn't belong into a project's repository, and nobody should have to think of that.
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        return os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DevelopmentError(f"--folder {folder}: can't be used: {error.strerror}") from error


def _make_private(folder: Path) -> None:
    """Addresses with their passwords and everybody's data are nobody else's: a folder of ours is closed to others."""
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise DevelopmentError(f"--folder {folder}: it belongs to another user; say another --folder")
    if not found.st_mode & ~PRIVATE & 0o777:
        return
    if not (folder / LOCK_FILE).exists() and any(folder.iterdir()):
        # Somebody's own folder, with other things in it: they decide who may read these.
        raise DevelopmentError(f"--folder {folder}: others may read it; say a folder of its own, or `chmod 700` it")
    folder.chmod(PRIVATE)


async def _take(lock: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(TAKE_OVER_S):
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
                if holder.isdigit() and runs(int(holder)):
                    raise DevelopmentError(
                        f"--folder {folder}: another `countermand dev` runs here (process {holder}); "
                        "stop it, or say another --folder"
                    )
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise DevelopmentError(
            f"--folder {folder}: processes of an earlier session are still there after {TAKE_OVER_S:g} s"
        ) from None
