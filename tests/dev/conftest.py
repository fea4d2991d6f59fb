"""A project that `countermand init` wrote, and a guardian."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from countermand.coordinator.dev.processes import Guardian
from countermand.coordinator.dev.scaffold import write_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh project named shop."""
    write_project("shop", tmp_path)
    return tmp_path / "shop"


@pytest.fixture
def guardian() -> Iterator[Guardian]:
    with Guardian() as watching:
        yield watching
