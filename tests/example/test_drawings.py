"""Every example's README draws its sagas as they are."""

import importlib
import tomllib
from pathlib import Path

import pytest

from countermand.coordinator.operate.definitions.drawing import drawing
from countermand.coordinator.operate.definitions.mermaid import mermaid
from countermand.participants.saga import Saga
from support.files import ROOT

# Each is a project of its own; the order example's drawing is made by hand.
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_drawing_is_up_to_date(example: Path) -> None:
    """What `countermand definitions graph` writes stands there, for every saga that `countermand dev` serves."""
    targets = tomllib.loads((example / "pyproject.toml").read_text())["tool"]["countermand"]["dev"]
    modules = {importlib.import_module(target.partition(":")[0]) for target in targets}
    sagas = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Saga)}
    assert sagas
    readme = (example / "README.md").read_text()
    missing = [
        saga.name for saga in sagas.values() if f"```mermaid\n{mermaid(drawing(saga.definition))}```" not in readme
    ]
    assert missing == []
