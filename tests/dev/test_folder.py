"""The folder of a session is its user's alone."""

import os
from pathlib import Path

import pytest

from countermand.coordinator.dev.folder import locked
from countermand.coordinator.dev.processes import DevelopmentError


def mode_of(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


async def test_nobody_else_reads_it(tmp_path: Path) -> None:
    """A new one is private, and one that an earlier release left open is closed."""
    folder = tmp_path / "deep" / ".countermand"
    async with locked(folder):
        assert mode_of(folder) == 0o700
    folder.chmod(0o755)
    async with locked(folder):
        assert mode_of(folder) == 0o700


async def test_a_folder_of_somebodys_own_is_not_touched(tmp_path: Path) -> None:
    """One that others may read, with other things in it, is refused as it is; closed by its owner, it is taken."""
    (tmp_path / "thesis.txt").touch()
    os.chmod(tmp_path, 0o755)  # noqa: S103  As a folder is where nobody thought of it.
    with pytest.raises(DevelopmentError, match="others may read it; say a folder of its own, or `chmod 700` it"):
        async with locked(tmp_path):
            raise AssertionError
    assert mode_of(tmp_path) == 0o755
    os.chmod(tmp_path, 0o700)
    async with locked(tmp_path):
        assert mode_of(tmp_path) == 0o700
