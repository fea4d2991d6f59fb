"""Definition documents as a team without Python writes them."""

from typing import Any


def step(name: str, **fields: Any) -> dict[str, Any]:
    return {"node": "step", "name": name, "participant": "shop", "action": name, **fields}


def parallel(*branches: dict[str, Any]) -> dict[str, Any]:
    return {"node": "parallel", "branches": list(branches)}


def sequence(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"node": "sequence", "nodes": list(nodes)}


def when(name: str, condition: Any, then: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"node": "when", "name": name, "condition": condition, "then": then, **fields}


def for_each(name: str, items: Any, body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"node": "for_each", "name": name, "items": items, "body": body, **fields}


def wait_for(name: str, **fields: Any) -> dict[str, Any]:
    return {"node": "wait_for", "name": name, "event": name, "deadline_ms": 60_000, **fields}


def sleep(name: str, **fields: Any) -> dict[str, Any]:
    return {"node": "sleep", "name": name, **fields}


def approval(name: str, **fields: Any) -> dict[str, Any]:
    return {"node": "approval", "name": name, "role": "boss", "deadline_ms": 60_000, **fields}


def child(name: str, **fields: Any) -> dict[str, Any]:
    return {"node": "child", "name": name, "definition": "other", **fields}


def lock(name: str, key: Any, **fields: Any) -> dict[str, Any]:
    return {"node": "lock", "name": name, "lock": "order", "key": key, **fields}


def scope(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"node": "scope", "name": name, "body": body}


def reading(name: str, expression: str, **fields: Any) -> dict[str, Any]:
    """A step whose input is this expression."""
    return step(name, input={"field": {"$": expression}}, **fields)


def document(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"countermand": 1, "name": "order", "version": 1, "root": sequence(*nodes), **fields}
