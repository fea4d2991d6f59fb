"""The repository's files, as a reader of a clone sees them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORTIONS = ("schemas", "wire", "participants", "coordinator")
SKIPPED = {".git", ".venv", "build", "dist", "node_modules", "__pycache__"}


def repository_files(*patterns: str) -> list[Path]:
    """Every file that is committed or about to be, of these name patterns; without what .gitignore names."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return sorted({path for name in names if (path := ROOT / name).is_file()})
    # An unpacked archive has no git; then everything counts that isn't plainly generated.
    found = {
        path
        for pattern in patterns or ("*",)
        for path in ROOT.rglob(pattern)
        if path.is_file() and not SKIPPED & set(path.relative_to(ROOT).parts)
    }
    return sorted(found)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def portion_folder(portion: str) -> Path:
    return ROOT / portion / "countermand" / portion
