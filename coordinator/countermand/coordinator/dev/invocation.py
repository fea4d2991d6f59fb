"""How the commands that we tell people to type are typed here: a virtual environment may not be on the PATH."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

NAME: Final = "countermand"


def command_name(start: Path | None = None) -> str:
    """What works instead of `countermand` in the folder `start`, by default the current one."""
    script = Path(sys.argv[0])
    if script.name != NAME:
        script = Path(sys.executable).with_name(NAME)
        if not script.exists():
            return f"{python_name(start)} -m countermand.coordinator.cli.main"
    return _typed(NAME, script, start or Path.cwd())


def python_name(start: Path | None = None) -> str:
    """What works instead of `python` there."""
    return _typed("python", Path(sys.executable), start or Path.cwd())


def _typed(name: str, program: Path, start: Path) -> str:
    on_path = shutil.which(name)
    # Python's own link leads out of its environment, and must not be followed; the folder's may be.
    if on_path is not None and Path(on_path).parent.resolve() == program.absolute().parent.resolve():
        return name
    absolute = str(program.absolute())
    relative = os.path.relpath(absolute, start)
    # Not up and down again through half of the machine; and a bare name is looked for on the PATH only.
    return shlex.quote(absolute if os.sep not in relative or relative.count(os.pardir) > 1 else relative)
