"""The table of `countermand list`: one line for a saga where they fit, two where they don't."""

from collections.abc import Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from countermand.coordinator.cli.filtering import printable
from countermand.coordinator.cli.output import console
from countermand.coordinator.operate.durations import short

STYLES: Final = {
    "running": "cyan",
    "compensating": "yellow",
    "completed": "green",
    "compensated": "blue",
    "compensated_with_exceptions": "magenta",
    "abandoned": "red",
}

HEADERS: Final = ("saga", "definition", "state", "stuck on", "done", "age")
GAP: Final = 2
REST_MIN: Final = 40  # The state, folded at its words, the steps and the age.


def print_list(rows: Sequence[dict[str, Any]]) -> None:
    """The sagas of a page."""
    terminal = console()
    lines = [_cells(row) for row in rows]
    stuck = any(line[3].plain for line in lines)
    columns = [at for at in range(len(HEADERS)) if stuck or HEADERS[at] != "stuck on"]
    width = sum(max(cell_len(HEADERS[at]), *(line[at].cell_len for line in lines)) for at in columns)
    if width + GAP * (len(columns) - 1) <= terminal.width:
        terminal.print(_wide(lines, columns))
    else:
        terminal.print(_narrow(lines, terminal.width))


def _wide(lines: list[tuple[Text, ...]], columns: list[int]) -> Table:
    table = _table()
    for at in columns:
        table.add_column(HEADERS[at], no_wrap=True, justify="right" if HEADERS[at] in ("done", "age") else "left")
    for line in lines:
        table.add_row(*(line[at] for at in columns))
    return table


def _narrow(lines: list[tuple[Text, ...]], width: int) -> Table:
    """The definition stands under the saga, what it is stuck on under its state."""
    table = _table()
    # An id is there to be copied: as long as the rest has some room, it stays in one piece.
    whole = min(max(line[0].cell_len for line in lines), max(4, width - REST_MIN))
    table.add_column("saga", overflow="fold", min_width=whole)
    table.add_column("state", overflow="fold")
    table.add_column("done", no_wrap=True, justify="right")
    table.add_column("age", no_wrap=True, justify="right")
    for saga, definition, state, stuck_on, done, age in lines:
        below = [Text("  ") + definition]
        table.add_row(Group(saga, *below), Group(state, *([stuck_on] if stuck_on.plain else [])), done, age)
    return table


def _cells(row: dict[str, Any]) -> tuple[Text, ...]:
    holds = [word for word in ("paused", "stuck") if row[word]]
    state = Text(row["phase"].replace("_", " "), style=STYLES[row["phase"]])
    if holds:
        state += Text(f", {' and '.join(holds)}", style="bold red" if row["stuck"] else "bold")
    on = ": ".join(part for part in (row["stuck_step"], row["stuck_error"] or row["stuck"]) if part)
    total = "?" if row["steps_total"] is None else row["steps_total"]
    return (
        Text(row["saga_id"]),
        Text(row["definition"]),
        state,
        Text(printable(on)),
        Text(f"{row['steps_done']}/{total}"),
        Text(short(row["age_ms"])),
    )


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
