"""Writes a small project to begin with, from the files in `templates/`."""

import keyword
import re
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from countermand.coordinator.dev.processes import DevelopmentError
from countermand.schemas.errors import InvalidIdentifier

# The longest whose import lines still fit into 120 columns.
NAME_MAX: Final = 32
_NAME: Final = re.compile(rf"(?=.{{1,{NAME_MAX}}}\Z)[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*\Z")
# A package of this name would hide what the project itself imports.
TAKEN: Final = frozenset(
    {"aio_pika", "aiosqlite", "countermand", "msgspec", "mypy", "pytest", "redis", "ruff", "sqlalchemy", "tests"}
)
# In templates every file ends with this, so that no tool takes them for the code of countermand.
SUFFIX: Final = ".txt"
HIDDEN: Final = {"gitignore": ".gitignore", "dockerignore": ".dockerignore"}
PACKAGE_FOLDER: Final = "package"


def write_project(name: str, parent: Path) -> list[Path]:
    """Writes the project `name` into a new folder of that name; gives its files, relative to the folder.

    Raises:
        InvalidIdentifier: the name can't be that of a project and of a Python package.
        DevelopmentError: the folder isn't empty, or can't be written to.
    """
    package = checked_package(name)
    folder = parent / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DevelopmentError(f"{folder}: is there and not empty; nothing was written")
    written: list[Path] = []
    try:
        _write(files(__package__) / "templates", folder, {"{{name}}": name, "{{package}}": package}, written)
    except OSError as error:
        raise DevelopmentError(f"{error.filename}: can't be written: {error.strerror}") from error
    return sorted(path.relative_to(folder) for path in written)


def checked_package(name: str) -> str:
    """The name of the Python package of a project. Raises InvalidIdentifier."""
    package = name.replace("-", "_")
    if not _NAME.match(name):
        raise InvalidIdentifier(
            "NAME",
            name,
            "words of lower-case letters and digits joined by '-', beginning with a letter, at most "
            f"{NAME_MAX} characters, such as my-shop",
        )
    if package in TAKEN or package in sys.stdlib_module_names or keyword.iskeyword(package):
        raise InvalidIdentifier("NAME", name, f"a name that isn't taken: `import {package}` means something else")
    return package


def _write(source: Traversable, target: Path, names: dict[str, str], written: list[Path]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir():
            folder = names["{{package}}"] if entry.name == PACKAGE_FOLDER else entry.name
            _write(entry, target / folder, names, written)
        elif entry.name.endswith(SUFFIX):
            plain = entry.name.removesuffix(SUFFIX)
            path = target / HIDDEN.get(plain, plain)
            text = entry.read_text(encoding="utf-8")
            for word, meaning in names.items():
                text = text.replace(word, meaning)
            path.write_text(text, encoding="utf-8")
            written.append(path)
