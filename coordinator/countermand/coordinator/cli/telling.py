"""A story on the screen. What it says it says in words; colour only repeats it."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from countermand.coordinator.cli.approval_table import approval_lines
from countermand.coordinator.cli.gantt import glyphs_for
from countermand.coordinator.cli.lines import command_lines, flat, joined, wrapped
from countermand.coordinator.cli.moments import ahead, clock, moment, span
from countermand.coordinator.cli.node_lines import INDENT, timeline
from countermand.coordinator.cli.output import printable
from countermand.coordinator.operate.document import payloads_of
from countermand.coordinator.operate.story import Story

if TYPE_CHECKING:
    from rich.console import Console

    from countermand.coordinator.core.state import Saga

APPROVALS_SHOWN: Final = 5
SHOWN_LINES_MAX: Final = 12  # Of what an approval shows; all of it is in `countermand approvals show`.

# Of the terminal's own sixteen colours, those that can be read on light and on dark.
_PHASE_STYLES: Final = {
    "running": "bold cyan",
    "compensating": "bold magenta",
    "completed": "bold green",
    "compensated": "bold blue",
    "compensated_with_exceptions": "bold magenta",
    "abandoned": "bold red",
}


def screen(story: Story, console: "Console") -> Group:
    """Everything but payloads, laid out for the width of the console."""
    width, glyphs = console.width, glyphs_for(console.encoding)
    lines = [*_header(story, width), Text(), *timeline(story, width, glyphs)]
    lines += [*_approvals(story, width), *_trouble(story, width), *_possible(story, width)]
    lines += [Text(), flat(f"history: countermand history {story.saga_id}", "dim")]
    return Group(*lines)


def payloads(saga: "Saga") -> Group:
    """Input, results and outcome, each as indented JSON."""
    lines: list[Text] = []
    for name, value in payloads_of(saga).items():
        lines += [Text(), Text(name, style="bold")]
        lines += [flat(line) for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines()]
    return Group(*lines)


# --- the header


def _header(story: Story, width: int) -> Iterator[Text]:
    title = Text.assemble((story.saga_id, "bold"), "  ", story.definition, "  ")
    title.append(story.phase_words, _PHASE_STYLES[story.phase])
    if story.hold is not None and story.hold_since_ms is not None:
        by = f" by {printable(story.paused_by)}" if story.paused_by and story.hold == "paused" else ""
        title.append(f"  {story.hold.upper()}{by} for {span(story.now_ms - story.hold_since_ms)}", "bold red")
    yield title
    took = f"ended {moment(story.ended_ms)}, took" if story.ended_ms is not None else "age"
    facts = [f"started {moment(story.started_ms)}", f"{took} {span(story.age_ms)}", f"revision {story.version}"]
    if story.deadline_ms is not None:
        when = moment(story.deadline_ms) if story.ended else ahead(story.deadline_ms, story.now_ms)
        facts.append(f"deadline {when}")
    if story.tags:
        facts.append(f"tags {', '.join(story.tags)}")
    yield from joined(facts, width)
    if story.parent is not None:
        yield from wrapped(
            f"child of {story.parent}, at its step {story.parent_step}: countermand show {story.parent}", width
        )
    if story.turned_back is not None:
        verb = "turns back" if story.phase == "running" else "turned back"
        yield from wrapped(f"{verb}: {story.turned_back}", width)


# --- who has to decide what


def _approvals(story: Story, width: int) -> Iterator[Text]:
    for approval in story.approvals[:APPROVALS_SHOWN]:
        left = ahead(approval.until_ms, story.now_ms)
        yield Text()
        yield Text(f"APPROVAL {approval.step}: given up {left}", style="bold magenta")
        yield from approval_lines(approval, story.now_ms, width, lines_max=SHOWN_LINES_MAX)
        yield from command_lines(story.decide_command(approval, "approve"), width, INDENT)
        yield flat(f"{' ' * INDENT}or the same with deny", "dim")
    if len(story.approvals) > APPROVALS_SHOWN:
        more = len(story.approvals) - APPROVALS_SHOWN
        yield flat(f"and {more:,} approvals more, see --output json", "dim")


# --- why it is stuck, and what can be done


def _trouble(story: Story, width: int) -> Iterator[Text]:
    trouble = story.trouble
    if trouble is None:
        return
    yield Text()
    since = f"{span(story.now_ms - trouble.since_ms)}, since {clock(trouble.since_ms, story.now_ms)}"
    yield Text(f"STUCK for {since}", style="bold red")
    yield from wrapped(f"what happened  {trouble.happened}", width, indent=INDENT, hang=15)
    if trouble.detail:
        yield from wrapped(f"last word      {trouble.detail}", width, indent=INDENT, hang=15)
    yield from wrapped(f"what it means  {trouble.means}", width, indent=INDENT, hang=15)


def _possible(story: Story, width: int) -> Iterator[Text]:
    if not story.possible:
        return
    yield Text()
    if story.hold is None:
        names = ", ".join(dict.fromkeys(each.operation.replace("_", "-") for each in story.possible))
        yield from wrapped(f"possible now: {names}", width)
        return
    yield Text("what you can do now", style="bold")
    for choice in story.possible:
        if choice.operation == "decide":
            continue  # It stands with what is to be decided.
        yield from command_lines(choice.command, width, INDENT)
        yield from wrapped(choice.effect, width, indent=3 * INDENT, style="dim")
