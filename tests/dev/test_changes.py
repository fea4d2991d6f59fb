"""What counts as a change of a project, and what doesn't."""

import asyncio
import os
from pathlib import Path

import pytest

from countermand.coordinator.dev.changes import Changes

AT_ONCE_S = 5.0


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def test_changes_are_noticed(tmp_path: Path) -> None:
    """Python files that are changed, new or gone, and the documents that were named; several saves are one change."""
    put(tmp_path / "shop" / "saga.py", "1")
    put(tmp_path / "gone.py", "1")
    put(tmp_path / "trade.json", "{}")
    changes = Changes(tmp_path, [tmp_path / "trade.json"])
    put(tmp_path / "shop" / "saga.py", "22")
    put(tmp_path / "shop" / "new.py", "1")
    put(tmp_path / "trade.json", '{"a": 1}')
    (tmp_path / "gone.py").unlink()
    async with asyncio.timeout(AT_ONCE_S):
        assert await changes.next() == ["gone.py", "shop/new.py", "shop/saga.py", "trade.json"]
        os.utime(tmp_path / "shop" / "saga.py", ns=(1, 1))
        assert await changes.next() == ["shop/saga.py"]


@pytest.mark.parametrize("place", [".git/x.py", "__pycache__/x.py", "env/lib/x.py", "node_modules/a/x.py", "data.json"])
async def test_what_is_not_the_authors_is_left_alone(tmp_path: Path, place: str) -> None:
    """Libraries, caches, and data that a service writes don't restart it."""
    put(tmp_path / "env" / "pyvenv.cfg", "")
    put(tmp_path / "saga.py", "1")
    changes = Changes(tmp_path)
    put(tmp_path / place, "changed")
    put(tmp_path / "saga.py", "22")
    async with asyncio.timeout(AT_ONCE_S):
        assert await changes.next() == ["saga.py"]
