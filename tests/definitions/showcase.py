"""One definition with every sort of node, branches and loops inside each other: the one that the documents show."""

from pathlib import Path
from typing import Any

from countermand.coordinator.operate.definitions.sources import read_sources
from countermand.schemas.definition import Definition

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"


def node(node: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"node": node, "name": name, **fields}


def path(text: str) -> dict[str, str]:
    return {"$": text}


def showcase() -> Definition:
    [source] = read_sources(str(PICTURES / "nodes.yaml"))
    return source.definition
