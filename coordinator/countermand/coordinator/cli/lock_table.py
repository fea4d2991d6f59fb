"""Locks on the screen."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from countermand.coordinator.cli.moments import span
from countermand.coordinator.cli.output import console, printable
from countermand.coordinator.operate.locks import LockStory, Place


def print_locks(stories: Sequence[LockStory], now_ms: int) -> None:
    """A line for each lock; what is wrong with its holder stands below."""
    terminal = console()
    if not stories:
        terminal.print("no saga holds a lock, and none waits for one")
        return
    table = _table("lock", "key", "held by", "for", "waiting")
    for story in stories:
        first = story.holders[0] if story.holders else None
        more = f" and {story.holding - 1:,} more" if story.holding > 1 else ""
        table.add_row(
            printable(story.lock),
            printable(story.key),
            "nobody" if first is None else f"{printable(first.saga_id)}{more}",
            "" if first is None else span(now_ms - first.since_ms),
            f"{story.waiting:,}",
        )
    terminal.print(table)
    for story in stories:
        for problem in story.problems:
            terminal.print(Text(f"PROBLEM: {_named(story)}: {printable(problem)}", style="bold red"))


def print_lock(story: LockStory, now_ms: int) -> None:
    """Everybody at one lock, in the order of asking."""
    terminal = console()
    terminal.print(Text(f"{_named(story)}: held by {story.holding:,} of {story.at_once:,}, {story.waiting:,} waiting"))
    table = _table("", "saga", "step", "for", "the saga is")
    for title, places, total in (("holds", story.holders, story.holding), ("waits", story.waiters, story.waiting)):
        for place in places:
            table.add_row(title, *_cells(place, now_ms))
        if total > len(places):
            table.add_row("", f"and {total - len(places):,} more")
    terminal.print(table)
    for problem in story.problems:
        terminal.print(Text(f"PROBLEM: {printable(problem)}", style="bold red"))


def _cells(place: Place, now_ms: int) -> tuple[str, ...]:
    return printable(place.saga_id), printable(place.step), span(now_ms - place.since_ms), place.standing


def _named(story: LockStory) -> str:
    return f"{printable(story.lock)} for {printable(story.key)}" if story.key else printable(story.lock)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            overflow="fold",
            no_wrap=column in ("for", "waiting", ""),
            justify="right" if column in ("for", "waiting") else "left",
        )
    return table
