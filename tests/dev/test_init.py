"""`countermand init`: what it writes works at once, and is clean by the tools that it names."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from countermand.coordinator.dev.processes import DevelopmentError
from countermand.coordinator.dev.scaffold import NAME_MAX, write_project
from countermand.schemas.errors import InvalidIdentifier
from dev.terminal import countermand, environment
from support.files import ROOT


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    portions = [str(ROOT / portion) for portion in ("coordinator", "participants", "schemas", "wire")]
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**environment(), "MYPYPATH": os.pathsep.join(portions), "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_its_tests_pass_without_servers(project: Path) -> None:
    """A newcomer's first command in the new folder succeeds, with nothing installed and nothing running."""
    done = run(project, "pytest", "-q")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_its_tests_can_fail(project: Path) -> None:
    """They test something: a compensation that forgets its work is found."""
    inventory = project / "shop" / "inventory.py"
    inventory.write_text(inventory.read_text().replace("shelf.left += 1", "shelf.left += 0"))
    done = run(project, "pytest", "-q", "-k", "undone_once")
    assert done.returncode == 1, done.stdout
    assert "test_a_reservation_is_undone_once" in done.stdout


def test_types_and_style_are_clean(tmp_path: Path) -> None:
    """Strict types, the linter and the formatter have nothing to say, also when the name is as long as it may be."""
    name = "s" * NAME_MAX
    write_project(name, tmp_path)
    # What mypy has read of the libraries is kept for the next time.
    cache = str(ROOT / ".mypy_cache" / "scaffold")
    for tool in (["mypy", "--cache-dir", cache], ["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        done = run(tmp_path / name, *tool)
        assert done.returncode == 0, f"{tool}: {done.stdout}{done.stderr}"


def test_every_placeholder_is_filled_in(tmp_path: Path) -> None:
    """A name of two words becomes a package that can be imported, everywhere."""
    written = write_project("my-shop", tmp_path)
    assert Path("my_shop/saga.py") in written
    assert {Path(".gitignore"), Path("compose.yaml"), Path("README.md"), Path("pyproject.toml")} <= set(written)
    texts = [(tmp_path / "my-shop" / path).read_text() for path in written]
    assert not [text for text in texts if "{{" in text]
    assert "my_shop.saga" in (tmp_path / "my-shop" / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "name", ["", "Shop", "1shop", "my shop", "-shop", "shop-", "../shop", "json", "redis", "s" * 33]
)
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    """What can't be a package, or would hide one, isn't written."""
    with pytest.raises(InvalidIdentifier, match="NAME"):
        write_project(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_name_begins_with_is_said(tmp_path: Path) -> None:
    """The rule that a name breaks stands in the refusal."""
    with pytest.raises(InvalidIdentifier, match="beginning with a letter"):
        write_project("1shop", tmp_path)


def test_what_comes_next_can_be_typed(tmp_path: Path) -> None:
    """In the new folder, also where the environment's commands are not on the PATH."""
    done = subprocess.run(
        [sys.executable, "-m", "countermand.coordinator.cli.main", "init", "shop"],
        cwd=tmp_path,
        env={**environment(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    commands = [line.split("   ")[0].strip() for line in done.stderr.splitlines()[2:]]
    assert [command.rpartition(" ")[2] for command in commands] == ["pytest", "dev"]
    for command in commands:
        subprocess.run([*shlex.split(command), "--help"], cwd=tmp_path / "shop", capture_output=True, check=True)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that holds something is left alone; the exit code says that it was refused."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("mine")
    with pytest.raises(DevelopmentError, match="not empty"):
        write_project("shop", tmp_path)
    done = countermand(tmp_path, "init", "shop")
    assert done.returncode == 4
    assert "not empty" in done.stderr
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["mine.txt"]
    assert countermand(tmp_path, "init", "Shop").returncode == 2
