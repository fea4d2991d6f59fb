"""Readiness told through a file, for whoever watches over a process from outside: a container engine, an init system.

A process that hangs can't remove its file. So the file is touched again and again, and only a fresh one counts.
"""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from countermand.schemas.errors import SettingsError
from countermand.wire.tasks import end

TOUCH_INTERVAL_S: Final = 1.0  # A probe takes five seconds for too old, so a busy process may miss a few.

ReadyCheck = Callable[[], bool | Awaitable[bool]]


@asynccontextmanager
async def keep_ready_file(path: str | os.PathLike[str] | None, is_ready: ReadyCheck) -> AsyncIterator[None]:
    """Keeps `path` fresh while `is_ready()` is true, and absent otherwise; without a path it does nothing.

    A file that an earlier process left is removed at once, before the block begins.

    Raises:
        SettingsError: the folder isn't there, or nothing may be written in it.
    """
    if not path:
        yield
        return
    file = Path(path)
    _clear(file)
    keeping = asyncio.create_task(_keep(file, is_ready), name="ready file")
    try:
        yield
    finally:
        await end([keeping])
        _show(file, ready=False)


async def _keep(file: Path, is_ready: ReadyCheck) -> None:
    while True:
        _show(file, ready=await _answer(is_ready))
        await asyncio.sleep(TOUCH_INTERVAL_S)


async def _answer(is_ready: ReadyCheck) -> bool:
    try:
        answer = is_ready()
        return await answer if inspect.isawaitable(answer) else answer
    except Exception:  # A bug in a check, of any kind, must neither pass for readiness nor end the looking.
        _log().exception("ready_check_failed")
        return False


def _clear(file: Path) -> None:
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise SettingsError(f"ready file: {file.parent} is no folder in which files can be written")
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(f"ready file: {file} can't be replaced: {error.strerror}") from error


def _show(file: Path, *, ready: bool) -> None:
    try:
        if ready:
            file.touch()
        else:
            file.unlink(missing_ok=True)
    except OSError as error:
        # Whoever can't say that it is ready counts as not ready; that is no reason to stop working.
        _log().warning("ready_file_failed", path=str(file), error=error.strerror)


def _log() -> Any:
    return structlog.get_logger("countermand.wire")
