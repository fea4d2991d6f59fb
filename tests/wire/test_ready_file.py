"""Readiness told through a file: fresh while ready, absent otherwise."""

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from countermand.schemas.errors import SettingsError
from countermand.wire import keep_ready_file, ready_file
from support import eventually


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_file, "TOUCH_INTERVAL_S", 0.02)


async def test_the_file_is_there_while_it_is_ready(tmp_path: Path) -> None:
    """It comes with readiness, goes with it, comes back with it, and is gone when the block ends."""
    file, ready = tmp_path / "ready", asyncio.Event()
    async with keep_ready_file(file, ready.is_set):
        assert not file.exists()
        ready.set()
        await eventually(file.exists)
        ready.clear()
        await eventually(lambda: not file.exists())
        ready.set()
        await eventually(file.exists)
    assert not file.exists()


async def test_the_file_is_kept_fresh(tmp_path: Path) -> None:
    """What isn't touched any more is no sign of life, so it is touched again and again."""
    file = tmp_path / "ready"
    async with keep_ready_file(str(file), lambda: True):
        await eventually(file.exists)
        os.utime(file, (0, 0))
        await eventually(lambda: file.stat().st_mtime > 0)


async def test_the_check_may_be_asynchronous(tmp_path: Path) -> None:
    """A check that asks a server is awaited: its coroutine alone is no readiness."""
    file, answer = tmp_path / "ready", False

    async def ready() -> bool:
        return answer

    async with keep_ready_file(file, ready):
        file.touch()
        await eventually(lambda: not file.exists())
        answer = True
        await eventually(file.exists)


async def test_a_leftover_is_removed_at_once(tmp_path: Path) -> None:
    """A process that was killed leaves its file; the next one isn't ready because of it."""
    file = tmp_path / "ready"
    file.touch()
    async with keep_ready_file(file, lambda: False):
        assert not file.exists()


async def test_the_file_is_removed_when_the_block_fails(tmp_path: Path) -> None:
    """However a process leaves, as long as it can leave."""
    file = tmp_path / "ready"

    async def fail() -> None:
        async with keep_ready_file(file, lambda: True):
            await eventually(file.exists)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert not file.exists()


async def test_without_a_path_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to have a ready file."""
    monkeypatch.chdir(tmp_path)
    for nothing in (None, ""):
        async with keep_ready_file(nothing, lambda: True):
            pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", ["nowhere/ready", "taken"])
async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    """A process that could never say that it is ready doesn't start."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(SettingsError, match=str(tmp_path)):
        async with keep_ready_file(tmp_path / place, lambda: True):
            pass


async def test_a_check_that_fails_is_not_ready(tmp_path: Path) -> None:
    """A bug in a check is told, doesn't pass for readiness, and doesn't end the looking."""
    file, failing = tmp_path / "ready", False

    def ready() -> bool:
        if failing:
            raise ValueError("a bug")
        return True

    with capture_logs() as logs:
        async with keep_ready_file(file, ready):
            await eventually(file.exists)
            failing = True
            await eventually(lambda: not file.exists())
            failing = False
            await eventually(file.exists)
    assert "ready_check_failed" in {each["event"] for each in logs}


async def test_a_folder_that_vanishes_is_told_and_survived(tmp_path: Path) -> None:
    """A file that can't be written is no reason to stop working; it is written again when it can be."""
    folder = tmp_path / "run"
    folder.mkdir()
    file = folder / "ready"
    with capture_logs() as logs:
        async with keep_ready_file(file, lambda: True):
            await eventually(file.exists)
            file.unlink()
            folder.rmdir()
            await eventually(lambda: any(each["event"] == "ready_file_failed" for each in logs))
            folder.mkdir()
            await eventually(file.exists)
