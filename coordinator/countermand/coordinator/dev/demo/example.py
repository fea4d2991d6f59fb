"""Where the order example's files are: in an installed wheel beside this module, in a checkout under `examples/`."""

import importlib.util
import json
from pathlib import Path
from typing import Any, Final

from countermand.coordinator.dev.demo.actors import DemoFailed

SERVICES: Final = ("inventory", "payments", "shipping")
# What the example's services import beyond countermand itself.
NEEDED: Final = ("sqlalchemy", "aiosqlite")


def example_folder(chosen: Path | None = None) -> Path:
    """The folder with the example's scripts.

    Raises:
        DemoFailed: the example isn't there, or what its services import isn't installed.
    """
    here = Path(__file__).resolve()
    candidates = (
        [chosen] if chosen else [here.with_name("order-fulfilment"), here.parents[5] / "examples" / "order-fulfilment"]
    )
    for folder in candidates:
        if (folder / "shop.py").is_file():
            break
    else:
        raise DemoFailed(f"the example's shop.py is not in {' or '.join(map(str, candidates))}")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise DemoFailed(f"the example needs {' and '.join(missing)}: pip install 'countermand[dev]'")
    return folder


def orders_of(example: Path, count: int) -> list[dict[str, Any]]:
    """The first `count` orders, or all of them if there are fewer."""
    with (example / "orders.jsonl").open("rb") as lines:
        return [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
