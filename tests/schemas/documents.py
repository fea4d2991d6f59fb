"""Definition documents as a team without Python writes them."""

from typing import Any


def step(name: str, **fields: Any) -> dict[str, Any]:
    return {"node": "step", "name": name, "participant": "shop", "action": name, **fields}


def parallel(*branches: dict[str, Any]) -> dict[str, Any]:
    return {"node": "parallel", "branches": list(branches)}


def sequence(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"node": "sequence", "nodes": list(nodes)}


def document(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"countermand": 1, "name": "order", "version": 1, "root": sequence(*nodes), **fields}
