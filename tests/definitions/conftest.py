"""A coordinator, a terminal, and a folder with one saga in three notations."""

from pathlib import Path

import pytest

from definitions.shop import PYTHON, YAML
from operate.conftest import coordinator, terminal

__all__ = ["coordinator", "terminal", "folder"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(PYTHON)
    (tmp_path / "order.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    return tmp_path
