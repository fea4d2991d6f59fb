"""Dead letters for people, by rich."""

import json
import time
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from countermand.coordinator.cli.output import console, printable_lines
from countermand.coordinator.operate.counting import counted

_BODY_LINES_MAX = 60  # Two screens; `--output json` has the rest.


def print_letters(lines: list[dict[str, Any]], *, prefix: str) -> None:
    """A line for each letter; queues without the prefix that all of them have."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("letter", "died", "from", "saga", "bytes"):
        table.add_column(column, overflow="fold", no_wrap=column in ("letter", "died", "bytes"))
    table.add_column("why", overflow="fold", ratio=1)
    for line in lines:
        table.add_row(
            line["id"],
            _ago(line["died"]),
            _shown((line["queue"] or "?").removeprefix(f"{prefix}.").removeprefix("participant.")),
            _shown(line["saga_id"] or "-"),
            str(line["bytes"]),
            _shown(line["reason"]),
        )
    console().print(table)


def print_letter(found: dict[str, Any]) -> None:
    """A letter with all that it holds."""
    screen = console()
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("letter", found["id"])
    facts.add_row("died", found["died"] or "unknown")
    facts.add_row("from", _shown(found["queue"] or "unknown"))
    facts.add_row("why", _shown(found["reason"]))
    facts.add_row("saga", _shown(f"{found['saga_id']}: {found['saga']}" if found["saga_id"] else found["saga"]))
    if found["redriven_by"]:
        facts.add_row("sent back before", _shown(f"by {found['redriven_by']}"))
    facts.add_row("can be sent back", _shown(f"no: {found['refusal']}" if found["refusal"] else "yes"))
    screen.print(facts)
    for title in ("properties", "headers"):
        table = Table(box=None, pad_edge=False, show_header=False, title=title, title_justify="left")
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in sorted(found[title].items()):
            table.add_row(
                _shown(name), _shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            )
        screen.print(table)
    body = found["body"]
    lines = (body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)).splitlines()
    screen.print(Text(f"body, {counted(found['bytes'], 'byte')}", style="italic"))
    screen.print(_shown("\n".join(lines[:_BODY_LINES_MAX])))
    if found["body_cut"] or len(lines) > _BODY_LINES_MAX:
        screen.print(Text("(cut here: there is more)", style="dim"))


def _shown(text: str) -> Text:
    # Before it is laid out: a column is as wide as what can be seen of it.
    return Text(printable_lines(text))


def _ago(moment: str | None) -> str:
    if moment is None:
        return "?"
    seconds = max(0, int(time.time() - datetime.fromisoformat(moment).timestamp()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"
