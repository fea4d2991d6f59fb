"""Copies of the order example whose source text has been patched, imported in the place of the example."""

import importlib
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from countermand.coordinator.testing import Report, exhaustive_async
from countermand.participants import Participant
from kit.bugs import Patch
from support.files import ROOT

EXAMPLE = ROOT / "examples" / "order-fulfilment"


def copy_of_example(folder: Path, patches: Iterable[Patch]) -> Path:
    """The example's modules in this folder, patched; each patch has to find its place exactly once."""
    for module in [*EXAMPLE.glob("*.py"), EXAMPLE / "tests" / "shelves.py"]:
        shutil.copy(module, folder / module.name)
    for name, old, new in patches:
        text = (folder / name).read_text()
        assert text.count(old) == 1, f"{name}: {old!r} stands there {text.count(old)} times"
        (folder / name).write_text(text.replace(old, new))
    return folder


@contextmanager
def imported(folder: Path) -> Iterator[None]:
    """While this lasts, the bare names of the example's modules mean those in this folder."""
    names = {path.stem for path in folder.glob("*.py")}
    hidden = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)


async def examined(folder: Path, order: dict[str, Any], **more: Any) -> Report:
    """What the exhaustive test finds in the shop that stands in this folder, its bank included."""
    with imported(folder):
        saga, shelves, world = (importlib.import_module(name) for name in ("saga", "shelves", "world"))
        async with shelves.open_shop(folder) as shop:

            def fresh() -> list[Participant]:
                getattr(world, "HELD", {}).clear()
                return list(shop)

            return await exhaustive_async(
                saga.fulfil,
                order,
                participants=fresh,
                effects=partial(_effects, shelves, world, folder),
                **more,
            )


def _effects(shelves: ModuleType, world: ModuleType, folder: Path) -> dict[str, int]:
    held: dict[str, int] = shelves.holdings(folder)
    return held | getattr(world, "HELD", {})
