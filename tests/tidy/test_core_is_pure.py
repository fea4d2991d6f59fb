"""The core's allow-list: no clock, no randomness, no I/O, no logging, so that deciding twice gives the same."""

import ast
from pathlib import Path

import pytest

from support.files import ROOT, portion_folder, shown

CORE = portion_folder("coordinator") / "core"

ALLOWED_MODULES = {
    "__future__",
    "collections",
    "countermand.coordinator.core",
    "countermand.schemas",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "math",
    "msgspec",
    "re",
    "typing",
}
FORBIDDEN_CALLS = {"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"}
# Pure modules may still hold names that read the clock or draw numbers: the schemas do, for their callers' sake.
FORBIDDEN_NAMES = {"new_saga_id", "new_secret"}


def violations(source: str, name: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source, name)):
        match node:
            case ast.Import(names=aliases):
                found += [f"{name}:{node.lineno}: imports {a.name}" for a in aliases if not allowed(a.name)]
            case ast.ImportFrom(module=module, level=level, names=aliases):
                if level == 0 and not allowed(module or ""):
                    found += [f"{name}:{node.lineno}: imports from {module}"]
                elif level > 1:
                    found += [f"{name}:{node.lineno}: a relative import that leaves the core"]
                found += [f"{name}:{node.lineno}: uses {a.name}" for a in aliases if a.name in FORBIDDEN_NAMES]
            case ast.Call(func=ast.Name(id=called)) if called in FORBIDDEN_CALLS:
                found += [f"{name}:{node.lineno}: calls {called}()"]
            case ast.Attribute(attr=attribute) if attribute in FORBIDDEN_NAMES:
                found += [f"{name}:{node.lineno}: uses {attribute}"]
            case ast.AsyncFunctionDef() | ast.Await():
                found += [f"{name}:{node.lineno}: awaits"]
            case _:
                pass
    return found


def allowed(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:length]) in ALLOWED_MODULES for length in range(1, len(parts) + 1))


def modules() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=shown)
def test_the_core_imports_only_what_is_pure(path: Path) -> None:
    """Each module of the core keeps to the allow-list."""
    assert violations(path.read_text(), shown(path)) == []


def test_the_core_is_where_this_test_looks() -> None:
    """A moved core must not pass by not being found."""
    assert modules(), f"no module in {CORE.relative_to(ROOT)}"


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "from random import random",
        "from countermand.coordinator import ports",
        "from countermand.schemas import new_saga_id",
        "from .. import ports",
        "open('file')",
        "print(1)",
        "async def decide(): ...",
    ],
)
def test_the_test_sees_what_is_impure(source: str) -> None:
    """The check itself finds each kind of impurity."""
    assert violations(source, "core.py") != []
