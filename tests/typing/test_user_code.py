"""What type checkers tell the users of countermand: the right types, and their mistakes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SNIPPETS = tuple(f"snippets{about}_{kind}.py" for about in ("", "_models", "_nodes") for kind in ("good", "bad"))
PORTIONS = ("schemas", "wire", "participants", "coordinator")
CHECKER_TIMEOUT_S = 300


def run(arguments: list[str], folder: Path) -> None:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=CHECKER_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_sees_the_types_and_finds_the_mistakes() -> None:
    """`mypy --strict` accepts good code, and each mistake of `snippets_bad` is found, with its error code."""
    files = [str(HERE / name) for name in SNIPPETS]
    run([sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", *files], ROOT)


def test_pyright_sees_the_types_and_finds_the_mistakes(tmp_path: Path) -> None:
    """Pyright in strict mode agrees: no error in good code, and no ignore that isn't needed."""
    pyright = Path(sys.executable).with_name("pyright")
    for name in SNIPPETS:
        shutil.copy(HERE / name, tmp_path)
    settings = {
        "include": list(SNIPPETS),
        "extraPaths": [str(ROOT / portion) for portion in PORTIONS],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    run([str(pyright), "--pythonpath", sys.executable, "--project", str(tmp_path)], tmp_path)
