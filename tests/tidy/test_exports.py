"""What the portions say they export, they export."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.files import PORTIONS, ROOT, portion_folder


@pytest.mark.parametrize("portion", PORTIONS)
def test_every_exported_name_exists(portion: str) -> None:
    """An `__all__` lists each name once, and each can be imported."""
    names = exported(portion)
    module = importlib.import_module(f"countermand.{portion}")
    assert len(names) == len(set(names)), "a name stands twice in __all__"
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("portion", PORTIONS)
def test_everything_public_is_exported(portion: str) -> None:
    """A public name that a portion's `__init__` imports or defines is one that it promises."""
    tree = ast.parse((portion_folder(portion) / "__init__.py").read_text())
    bound = set()
    for node in tree.body:
        match node:
            case ast.ImportFrom(module=source, names=aliases) if (source or "").startswith("countermand."):
                bound |= {alias.asname or alias.name for alias in aliases}
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case _:
                pass
    assert {name for name in bound if not name.startswith("_")} - set(exported(portion)) == set()


@pytest.mark.parametrize("portion", ["schemas", "wire", "participants"])
def test_a_library_exports_something(portion: str) -> None:
    """These portions are imported by name; the coordinator is a program."""
    assert exported(portion) != []


def exported(portion: str) -> list[str]:
    names: list[str] = getattr(importlib.import_module(f"countermand.{portion}"), "__all__", [])
    return names


def test_countermand_stays_a_namespace() -> None:
    """A `countermand/__init__.py` in one portion would hide the other three (PEP 420)."""
    assert [path for portion in PORTIONS if (path := ROOT / portion / "countermand" / "__init__.py").exists()] == []


def test_a_participant_pulls_no_server(tmp_path: Path) -> None:
    """Importing the participants' side loads neither the coordinator nor a store nor a command line."""
    script = (
        "import sys, countermand.participants\n"
        # structlog itself loads rich where it is installed.
        "heavy = ('countermand.coordinator', 'redis', 'sqlalchemy', 'click')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"
