"""The table of `countermand list`: one line for a saga that fits, more for one that doesn't."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from countermand.coordinator.cli.output import console, printable
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
STUCK_ON: Final = HEADERS.index("stuck on")
RIGHT: Final = ("done", "age")
GAP: Final = 2
REST_MIN: Final = 40  # The state, folded at its words, the steps and the age.


def print_list(rows: Sequence[dict[str, Any]]) -> None:
    """The sagas of a page."""
    terminal = console()
    lines = [_cells(row) for row in rows]
    stuck_on = any(line[3].plain for line in lines)
    every = [at for at in range(len(HEADERS)) if stuck_on or at != STUCK_ON]
    room = terminal.width - GAP * (len(every) - 1) - sum(_widths(lines)[at] for at in every[1:])
    if room < _widths(lines)[0]:
        # What each saga is stuck on moves below it first: ids are there to be copied.
        every = [at for at in every if at != STUCK_ON]
        room = terminal.width - GAP * (len(every) - 1) - sum(_widths(lines)[at] for at in every[1:])
    fitting = [line[0].cell_len for line in lines if line[0].cell_len <= room]
    if not fitting or terminal.width < max(line[0].cell_len for line in lines):
        terminal.print(_narrow(lines, terminal.width))
        return
    widths = _widths(lines)
    widths[0] = max(len(HEADERS[0]), *fitting)
    for line in [tuple(Text(header, style="bold") for header in HEADERS), *lines]:
        for part in _row(line, every, widths, terminal.width):
            terminal.print(part, soft_wrap=True)


def _widths(lines: Sequence[tuple[Text, ...]]) -> list[int]:
    return [max(cell_len(header), *(line[at].cell_len for line in lines)) for at, header in enumerate(HEADERS)]


def _row(line: tuple[Text, ...], columns: Sequence[int], widths: Sequence[int], width: int) -> Iterator[Text]:
    """A saga on one line; a long id stands above it, and what it is stuck on below where it has no column."""
    saga = line[0]
    if saga.cell_len > widths[0]:
        yield saga
        saga = Text()
    cells = []
    for at in columns:
        cell = (saga if at == 0 else line[at]).copy()
        blanks = " " * (widths[at] - cell.cell_len)
        cells.append(Text(blanks) + cell if HEADERS[at] in RIGHT else cell + Text(blanks))
    joined = Text(" " * GAP).join(cells)
    joined.rstrip()
    yield joined
    if STUCK_ON not in columns and line[0].plain != HEADERS[0] and line[STUCK_ON].plain:
        below = Text(" " * GAP) + line[STUCK_ON]
        below.truncate(width, overflow="ellipsis")
        yield below


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
    standing, total = ("?" if row[name] is None else row[name] for name in ("steps_standing", "steps_total"))
    return (
        Text(row["saga_id"]),
        Text(row["definition"]),
        state,
        Text(printable(on)),
        Text(f"{standing}/{total}" if (standing, total) != ("?", "?") else "many"),
        Text(short(row["age_ms"])),
    )


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
