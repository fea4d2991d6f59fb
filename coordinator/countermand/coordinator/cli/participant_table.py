"""The participants on the screen: a line for each, and below it what it does and what is wrong."""

import textwrap
from collections.abc import Sequence

from rich.text import Text

from countermand.coordinator.cli.moments import span
from countermand.coordinator.cli.output import console, printable
from countermand.coordinator.operate.participants import Action, ParticipantStory

NAME_WIDTH_MAX = 28
INDENT = 4


def print_participants(stories: Sequence[ParticipantStory], now_ms: int) -> None:
    """Every participant; problems first stand out by their words."""
    terminal = console()
    if not stories:
        terminal.print("no participant: no definition names one, and none has announced itself")
        return
    width = min(NAME_WIDTH_MAX, max(len("participant"), *(len(each.participant) for each in stories)))
    terminal.print(Text(f"{'participant':<{width}}  waiting  consumers  alive  last seen", style="bold"))
    for story in stories:
        terminal.print(_row(story, width, now_ms))
        for text, style in _below(story):
            lines = textwrap.wrap(
                printable(text), max(20, terminal.width), initial_indent=" " * INDENT, subsequent_indent=" " * INDENT
            )
            for line in lines:
                terminal.print(Text(line, style=style))


def _row(story: ParticipantStory, width: int, now_ms: int) -> Text:
    name = printable(story.participant)
    name = name if len(name) <= width else name[: width - 1] + "…"
    unknown = "none" if story.asked else "?"
    waiting = unknown if story.queue is None else f"{story.queue.messages:,}"
    consumers = unknown if story.queue is None else f"{story.queue.consumers:,}"
    seen = "never" if story.last_seen_ms is None else f"{span(now_ms - story.last_seen_ms)} ago"
    row = Text(f"{name:<{width}}", style="bold")
    return row.append(f"  {waiting:>7}  {consumers:>9}  {story.alive:>5}  {seen}", style="not bold")


def _below(story: ParticipantStory) -> list[tuple[str, str]]:
    lines = [(f"PROBLEM: {problem}", "bold red") for problem in story.problems]
    announced = [_said(action) for action in story.actions if action.announced]
    if announced:
        lines.append((f"does {', '.join(announced)}", ""))
    silent = [action.action for action in story.actions if not action.announced]
    if silent and not announced:
        lines.append((f"needed for {', '.join(silent)}", ""))
    return [*lines, *((note, "dim") for note in story.notes)]


def _said(action: Action) -> str:
    able = [words for words, can in (("undoes it", action.compensation), ("probes it", action.probe)) if can]
    return f"{action.action} (and {' and '.join(able)})" if able else action.action
