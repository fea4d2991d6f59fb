"""What is shown when all is over: how the orders ended, the balance, the story of one saga, and what to do next."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from countermand.coordinator.core.state import Saga
from countermand.coordinator.dev.demo.actors import COUNTERMAND, DemoFailed
from countermand.coordinator.dev.demo.judgement import Total, Verdict
from countermand.coordinator.dev.demo.screen import Screen
from countermand.coordinator.dev.invocation import command_name
from countermand.coordinator.ports import SagaStore

# Enough to see what is wrong; the ledgers have the rest.
DIFFERENCES_MAX: Final = 20

NEXT: Final = (
    ("init shop", "a project of your own, with its tests"),
    ("dev", "servers and a coordinator while you write"),
    ("demo --kill 40:shop", "another storm, or kill -9 what you like"),
)
# `show` ends with what to type next, which would find no servers any more.
FURTHER: Final = "history: "


def outcomes_table(outcomes: Iterable[dict[str, Any]]) -> Table:
    """How many orders ended how, and why."""
    counted: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        failure = outcome["failure"]
        why = "" if failure is None else f"{failure['step'] or 'the saga'}: {failure['code']}"
        counted[outcome["phase"], why] += 1
    table = _table("orders", "ended", "because")
    table.columns[0].justify = "right"
    for (phase, why), count in sorted(counted.items(), key=lambda each: (-each[1], each[0])):
        table.add_row(str(count), Text(phase, "green" if phase == "completed" else "magenta"), why)
    return table


def balance_table(totals: list[Total]) -> Table:
    """What each account should hold, and what it holds."""
    table = _table("ledger", "account", "by the sagas", "in the ledger", "")
    for column in table.columns[2:4]:
        column.justify = "right"
    for total in totals:
        agrees = total.expected == total.holds
        table.add_row(
            total.ledger,
            total.account,
            _amount(total.expected, total.unit),
            Text(_amount(total.holds, total.unit), "" if agrees else "bold red"),
            Text("equal", "green") if agrees else Text("DIFFERENT", "bold red"),
        )
    return table


def show_verdict(screen: Screen, verdict: Verdict, orders: int) -> None:
    """The balance; then every difference, or that there is none."""
    screen.show(Text())
    screen.show(balance_table(verdict.totals))
    screen.show(Text())
    for difference in verdict.differences[:DIFFERENCES_MAX]:
        screen.show(Text(f"DIFFERENCE {difference}", "bold red"))
    if len(verdict.differences) > DIFFERENCES_MAX:
        screen.show(Text(f"and {len(verdict.differences) - DIFFERENCES_MAX} more", "bold red"))
    if not verdict.differences:
        balanced = f"The ledgers balance: each of the {orders} orders is all done or all undone."
        screen.show(Text(balanced, "bold green"))


async def show_a_saga(screen: Screen, saga_id: str, environment: Mapping[str, str]) -> None:
    """What `countermand show` prints, as long as there are servers to ask. Raises DemoFailed."""
    screen.show(Text.assemble("\n", ("$ ", "dim"), (f"countermand show {saga_id}", "bold")))
    shown = Text.from_ansi(await _printed(screen, ("show", saga_id), environment)).split("\n")
    lasting = [line for line in shown if not line.plain.startswith(FURTHER)]
    while lasting and not lasting[-1].plain.strip():
        lasting.pop()
    screen.show(Text("\n").join(lasting))


def show_next(screen: Screen) -> None:
    table = Table.grid(padding=(0, 3))
    for command, what in NEXT:
        table.add_row(Text(f"{command_name()} {command}", "bold"), what)
    screen.show(Text("\nWhat to do next", "bold"))
    screen.show(table)


async def a_story(store: SagaStore, told: Mapping[str, dict[str, Any]], interrupted: Collection[str]) -> str | None:
    """The compensated saga that has most to tell: interrupted by the kill if there is such a one, and much undone."""
    compensated = sorted(saga_id for saga_id, outcome in told.items() if outcome["phase"] == "compensated")
    loaded = await store.load(compensated) if compensated else []
    sagas = [each.saga for each in loaded if each is not None]
    ranked = max(sagas, key=lambda saga: (_undone(saga), saga.state.saga_id in interrupted), default=None)
    return None if ranked is None else ranked.state.saga_id


def _undone(saga: Saga) -> int:
    return sum(step.undo is not None for step in saga.state.steps.values())


async def _printed(screen: Screen, arguments: tuple[str, ...], environment: Mapping[str, str]) -> str:
    console = screen.console
    seen = {"FORCE_COLOR": "1", "COLUMNS": str(console.width)} if console.is_terminal and not console.no_color else {}
    process = await asyncio.create_subprocess_exec(
        *COUNTERMAND,
        *arguments,
        env={**environment, **seen},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    if process.returncode != 0:
        words = complaints.decode(errors="replace")
        raise DemoFailed(f"countermand {' '.join(arguments)} ended with {process.returncode}: {words}")
    return printed.decode()


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _amount(amount: int, unit: str) -> str:
    return f"{amount / 100:,.2f}" if unit == "cents" else f"{amount:,} {unit}"
