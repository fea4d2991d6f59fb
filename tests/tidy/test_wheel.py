"""The wheel that users get holds the four portions and nothing else."""

import re
import subprocess
import sys
import zipfile

import pytest

from support.files import PORTIONS, ROOT, portion_folder


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("countermand-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_only_countermand_stands_at_the_top(wheel_names: list[str]) -> None:
    """Installing countermand adds one name to a user's environment."""
    top = {name.split("/")[0] for name in wheel_names}
    information = {name for name in top if re.fullmatch(r"countermand-[\w.]+\.dist-info", name)}
    assert len(information) == 1
    assert top - information == {"countermand"}


def test_the_namespace_has_no_init(wheel_names: list[str]) -> None:
    """Other distributions may add portions of their own (PEP 420)."""
    assert "countermand/__init__.py" not in wheel_names


@pytest.mark.parametrize("portion", PORTIONS)
def test_each_portion_is_in_and_typed(wheel_names: list[str], portion: str) -> None:
    """Every file of a portion reaches the user: modules, scripts for the server, and the mark of being typed."""
    assert f"countermand/{portion}/py.typed" in wheel_names
    folder = portion_folder(portion)
    sources = {
        f"countermand/{portion}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".py", ".lua", ".json", ".typed", ".txt")
    }
    assert sources - set(wheel_names) == set()


def test_the_license_is_in(wheel_names: list[str]) -> None:
    """Apache-2.0 asks that its text goes along."""
    assert any(name.endswith("/licenses/LICENSE") for name in wheel_names)


def test_the_example_is_in(wheel_names: list[str]) -> None:
    """`countermand demo` runs it wherever the wheel is installed."""
    example = ROOT / "examples" / "order-fulfilment"
    needed = {path.name for path in example.iterdir() if path.suffix in (".py", ".jsonl")}
    shipped = {name.rpartition("/")[2] for name in wheel_names if "/dev/demo/order-fulfilment/" in name}
    assert needed
    assert needed - shipped == set()
    assert not any(name.endswith(".pyc") for name in shipped)
