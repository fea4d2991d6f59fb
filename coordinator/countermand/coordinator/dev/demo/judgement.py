"""What the sagas say, written beside the ledgers; and the verdict of the example's own check on both."""

import asyncio
import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from countermand.coordinator.core.state import SagaState
from countermand.coordinator.dev.demo.actors import DemoFailed
from countermand.coordinator.dev.demo.example import SERVICES
from countermand.coordinator.ports import SagaQuery, SagaStore
from countermand.schemas.messages import Phase

# Longer than the longest timeout of the saga: whatever was still under way has come by then.
QUIET_S: Final = 2.5
POLL_S: Final = 0.1
PAGE: Final = 500


class Total(msgspec.Struct, frozen=True):
    """What an account of a ledger should hold, by the orders that were completed, and what it holds."""

    ledger: str
    account: str
    unit: str
    expected: int
    holds: int


class Verdict(msgspec.Struct, frozen=True):
    """Everything in which ledgers, store and client don't agree, and the totals."""

    totals: list[Total]
    differences: list[str]


async def quiet_ledgers(folder: Path) -> None:
    """Returns when no ledger and no inbox has changed for a while."""
    seen: list[int] = []
    since_s = time.monotonic()
    while time.monotonic() - since_s < QUIET_S:
        if (now := [count for name in SERVICES for count in _row_counts(folder / f"{name}.sqlite")]) != seen:
            seen, since_s = now, time.monotonic()
        await asyncio.sleep(POLL_S)


def _row_counts(path: Path) -> list[int]:
    queries = ("SELECT count(*) FROM ledger", "SELECT count(*) FROM countermand_inbox")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return [database.execute(query).fetchone()[0] for query in queries]


async def write_evidence(
    folder: Path, store: SagaStore, orders: list[dict[str, Any]], told: Mapping[str, dict[str, Any]]
) -> None:
    """Writes `orders.jsonl` and `outcomes.jsonl`: what the shop was told, what the store holds, what it lists."""
    stored = await _stored(store, [order["id"] for order in orders])
    listed = await _listed(store)
    outcomes = [
        {"saga_id": saga_id, "told": told.get(saga_id), "stored": stored.get(saga_id), "listed": listed.get(saga_id)}
        for saga_id in sorted({order["id"] for order in orders} | listed.keys())
    ]
    _write_lines(folder / "orders.jsonl", orders)
    _write_lines(folder / "outcomes.jsonl", outcomes)


async def _stored(store: SagaStore, saga_ids: list[str]) -> dict[str, Any]:
    found = [loaded.saga.state for loaded in await store.load(saga_ids) if loaded is not None]
    return {state.saga_id: {"phase": state.phase, "steps": _steps(state)} for state in found}


def _steps(state: SagaState) -> dict[str, dict[str, str | None]]:
    return {
        name: {"action": step.do.status, "compensation": None if step.undo is None else step.undo.status}
        for name, step in state.steps.items()
    }


async def _listed(store: SagaStore) -> dict[str, str]:
    """Under which phase an operator finds each saga: the indexes' word, not the sagas' own."""
    listed: dict[str, str] = {}
    for phase in get_args(Phase):
        query: SagaQuery | None = SagaQuery(phase=phase, limit=PAGE)
        while query is not None:
            page = await store.sagas(query)
            listed |= {state.saga_id: phase for state in page.states}
            query = None if page.next is None else msgspec.structs.replace(query, after=page.next)
    return listed


def _write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


async def judged(example: Path, folder: Path) -> Verdict:
    """The verdict of the example's own check, which runs as a program of its own.

    Raises:
        DemoFailed: it could not judge.
    """
    check = await asyncio.create_subprocess_exec(
        sys.executable,
        example / "balance.py",
        folder,
        "--json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await check.communicate()
    try:
        return msgspec.json.decode(printed, type=Verdict)
    except msgspec.DecodeError as error:
        raise DemoFailed(f"balance.py has no verdict: {complaints.decode(errors='replace')}") from error
