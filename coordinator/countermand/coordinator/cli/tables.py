"""Sagas as tables for people, by rich."""

from typing import Any

from rich.console import Console
from rich.table import Table

STYLES = {
    "running": "cyan",
    "compensating": "yellow",
    "completed": "green",
    "compensated": "blue",
    "compensated_with_exceptions": "magenta",
    "abandoned": "red",
}


# What machines need and people don't: `--output json` has it all.
HIDDEN = ("at", "version", "entry", "cause", "saga_id", "definition_hash", "content", "until_ms", "deadline_ms")


def print_list(rows: list[dict[str, Any]]) -> None:
    """A line for each saga."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("saga", "definition", "phase", "stuck", "done", "started"):
        table.add_column(column, overflow="fold", no_wrap=column in ("phase", "done", "started"))
    for row in rows:
        table.add_row(
            row["saga_id"],
            row["definition"],
            f"[{STYLES[row['phase']]}]{row['phase']}[/]",
            row["stuck"] or "",
            str(row["steps_done"]),
            _shorter(row["started"]),
        )
    Console(highlight=False).print(table)
    if not rows:
        Console(stderr=True).print("no saga matches")


def print_detail(found: dict[str, Any]) -> None:
    """A saga's header, its steps and its history."""
    console = Console(highlight=False)
    console.print(f"[bold]{found['saga_id']}[/]  {found['definition']}  [{STYLES[found['phase']]}]{found['phase']}[/]")
    deadline = f"  deadline {_shorter(found['deadline'])}" if found["deadline"] else ""
    console.print(f"started {_shorter(found['started'])}  updated {_shorter(found['updated'])}{deadline}")
    if found["failure"]:
        failure = found["failure"]
        step = f" in step {failure['step']}" if failure.get("step") else ""
        console.print(f"turned back: {failure['code']}{step} {failure.get('reason', '')}", markup=False)
    if found["stuck_because"]:
        console.print(f"STUCK: {found['stuck_because']}", style="bold red", markup=False)
    steps = Table(box=None, pad_edge=False, header_style="bold", title="steps", title_justify="left")
    for column in ("step", "action", "attempts", "compensation", "attempts", "error"):
        steps.add_column(column)
    for row in found["steps"]:
        steps.add_row(
            row["step"],
            row["action"],
            str(row["attempts"]),
            row["compensation"] or "",
            str(row["compensation_attempts"] or ""),
            row["compensation_error"] or row["error"] or "",
        )
    console.print(steps)
    history = Table(box=None, pad_edge=False, header_style="bold", title="history", title_justify="left")
    for column in ("at", "v", "entry", "what"):
        history.add_column(column, overflow="fold", no_wrap=column in ("at", "v"))
    for line in found["history"]:
        what = " ".join(_said(key, value) for key, value in line.items() if key not in HIDDEN)
        history.add_row(line["at"][11:23], str(line["version"]), line["entry"].replace("_", " "), what)
    console.print(history)


def _shorter(moment: str) -> str:
    """A moment without its milliseconds: `2026-01-31 12:00:00Z`."""
    return f"{moment[:10]} {moment[11:19]}Z"


def _said(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(_said(inner, part) for inner, part in value.items() if part is not None)
    return str(value) if key in ("step", "direction", "phase", "code") else f"{key}={value}"
