"""Gathers what the sagas say, and writes it beside the ledgers for `balance.py` to judge."""

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from balance import LEDGERS
from contracts import Order, Receipt
from stage import Stage

from countermand.coordinator.operate.reading import detail
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.participants.client import SagaOutcome

# Longer than the longest timeout of the saga: whatever was still under way has come by then.
QUIET_S = 2.5
POLL_S = 0.25
LISTED_MAX = 1_000


async def quiet_ledgers(folder: Path) -> None:
    """Returns when no ledger and no inbox has changed for a while."""
    seen: list[int] = []
    since_s = time.monotonic()
    while time.monotonic() - since_s < QUIET_S:
        if (now := [count for name in LEDGERS for count in _row_counts(folder / f"{name}.sqlite")]) != seen:
            seen, since_s = now, time.monotonic()
        await asyncio.sleep(POLL_S)


def _row_counts(path: Path) -> list[int]:
    queries = ("SELECT count(*) FROM ledger", "SELECT count(*) FROM countermand_inbox")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return [database.execute(query).fetchone()[0] for query in queries]


async def write_evidence(
    folder: Path, stage: Stage, orders: list[Order], told: Mapping[str, SagaOutcome[Receipt]]
) -> None:
    """Writes `orders.jsonl` and `outcomes.jsonl`: what the client was told, what the store holds, what it lists."""
    stored = await _stored(stage, [order.id for order in orders])
    listed = _listed(stage)
    outcomes = [
        {"saga_id": saga_id, "told": told.get(saga_id), "stored": stored.get(saga_id), "listed": listed.get(saga_id)}
        for saga_id in sorted({order.id for order in orders} | listed.keys())
    ]
    _write_lines(folder / "orders.jsonl", orders)
    _write_lines(folder / "outcomes.jsonl", outcomes)


async def _stored(stage: Stage, saga_ids: list[str]) -> dict[str, Any]:
    store = open_store(load_settings(stage.environment))
    try:
        found = [detail(loaded.saga, []) for loaded in await store.load(saga_ids) if loaded is not None]
    finally:
        await store.close()
    return {
        saga["saga_id"]: {"phase": saga["phase"], "steps": {step["step"]: step for step in saga["steps"]}}
        for saga in found
    }


def _listed(stage: Stage) -> dict[str, str]:
    """What an operator sees."""
    printed = stage.countermand("list", "--limit", str(LISTED_MAX), "--output", "jsonl")
    return {row["saga_id"]: row["phase"] for row in map(json.loads, printed.splitlines())}


def _write_lines(path: Path, values: list[Any]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(value) + b"\n" for value in values))
