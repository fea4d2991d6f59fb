"""A story on the screen. What it says it says in words; colour only repeats it."""

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from countermand.coordinator.cli.gantt import Glyphs, Scale, glyphs_for, lane, legend
from countermand.coordinator.cli.moments import ago, ahead, clock, moment, span
from countermand.coordinator.cli.output import printable
from countermand.coordinator.operate.document import payloads_of
from countermand.coordinator.operate.story import LaneStory, StepStory, Story

if TYPE_CHECKING:
    from rich.console import Console

    from countermand.coordinator.core.state import Saga

NAME_WIDTH_MAX: Final = 24
LANE_WIDTH_MIN: Final = 8  # Below that it shows nothing.
LANE_WIDTH_MAX: Final = 72  # Wider than that, the eye loses the line.
INDENT: Final = 2
GAP: Final = 2

# Of the terminal's own sixteen colours, those that can be read on light and on dark.
_PHASE_STYLES: Final = {
    "running": "bold cyan",
    "compensating": "bold magenta",
    "completed": "bold green",
    "compensated": "bold blue",
    "compensated_with_exceptions": "bold magenta",
    "abandoned": "bold red",
}
_LANE_STYLES: Final = {
    "succeeded": "green",
    "settled": "green",
    "skipped": "magenta",
    "rejected": "red",
    "not_done": "red",
    "unknown": "red",
    "exhausted": "bold red",
    "asked": "cyan",
    "waiting": "magenta",
    "not_yet": "dim",
    "never": "dim",
}


def screen(story: Story, console: "Console") -> Group:
    """Everything but payloads, laid out for the width of the console."""
    width, glyphs = console.width, glyphs_for(console.encoding)
    lines = [*_header(story, width), Text(), *_timeline(story, width, glyphs)]
    lines += [*_trouble(story, width), *_possible(story, width)]
    lines += [Text(), _flat(f"history: countermand history {story.saga_id}", "dim")]
    return Group(*lines)


def payloads(saga: "Saga") -> Group:
    """Input, results and outcome, each as indented JSON."""
    lines: list[Text] = []
    for name, value in payloads_of(saga).items():
        lines += [Text(), Text(name, style="bold")]
        lines += [_flat(line) for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines()]
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
    yield from _joined(facts, width)
    if story.turned_back is not None:
        verb = "turns back" if story.phase == "running" else "turned back"
        yield from _wrapped(f"{verb}: {story.turned_back}", width)


# --- the timeline


def _timeline(story: Story, width: int, glyphs: Glyphs) -> Iterator[Text]:
    shortest = len(glyphs.undo) + len(" undo") + INDENT
    name_width = min(NAME_WIDTH_MAX, max(shortest, *(len(_name(step)) for step in story.steps)))
    every = [each for step in story.steps for each in (step.do, step.undo) if each is not None]
    words_width = max(len("state"), *(len(each.words) for each in every))
    tries_width = max(5, *(len(_tries(each, glyphs)) for each in every))
    lane_width = min(LANE_WIDTH_MAX, width - name_width - words_width - tries_width - 3 * GAP)
    # What became of a step says more than when: on a narrow terminal the picture gives way to the words.
    scale = Scale(story.started_ms, _end_of(story), lane_width) if lane_width >= LANE_WIDTH_MIN else None
    if scale is None:
        if shortest + words_width + tries_width + 2 * GAP > width:
            tries_width = 0
        name_width = max(shortest, min(name_width, width - words_width - tries_width - 2 * GAP))
    axis = "" if scale is None else f"0{span(scale.to_ms - scale.from_ms).rjust(lane_width - 1)}{' ' * GAP}"
    heading = f"{'tries':>{tries_width}}{' ' * GAP}" if tries_width else ""
    yield Text(f"{'step':<{name_width}}  {axis}{heading}state", style="bold")
    widths = (name_width, tries_width)
    for step in story.steps:
        yield from _step(step, story, scale, widths, width, glyphs)
    if scale is not None:
        yield _flat(legend(glyphs), "dim")
    if story.more_history:
        yield _flat("older entries of the history are not drawn", "dim")


def _step(
    step: StepStory, story: Story, scale: Scale | None, widths: tuple[int, int], width: int, glyphs: Glyphs
) -> Iterator[Text]:
    yield _row(_cut(_name(step), widths[0]), step.do, scale, widths, glyphs)
    yield from _notes(step.do, story, width)
    if step.undo is not None:
        yield _row(f"{' ' * INDENT}{glyphs.undo} undo", step.undo, scale, widths, glyphs)
        yield from _notes(step.undo, story, width)


def _row(name: str, told: LaneStory, scale: Scale | None, widths: tuple[int, int], glyphs: Glyphs) -> Text:
    style = _LANE_STYLES.get(told.status, "")
    drawn = "" if scale is None else lane(told.spans, scale, glyphs).ljust(scale.width + GAP)
    tries = _tries(told, glyphs)
    row = Text(no_wrap=True, overflow="ellipsis")
    row.append(f"{name:<{widths[0]}}  ", "dim" if style == "dim" else "")
    row.append(drawn, style)
    row.append(f"{tries:>{widths[1]}}{' ' * GAP}" if widths[1] else "")
    row.append(told.words, style)
    return row


def _notes(told: LaneStory, story: Story, width: int) -> Iterator[Text]:
    said: list[str] = []
    if told.error is not None and told.status not in ("succeeded", "settled", "skipped"):
        said.append(f"{told.error}: {told.reason}" if told.reason else told.error)
    if told.next is not None:
        what = "reply overdue" if told.next.what == "reply_overdue" else "next attempt"
        at_ms, now_ms = told.next.at_ms, story.now_ms
        said.append(f"{what} {ago(at_ms, now_ms) if at_ms < now_ms else ahead(at_ms, now_ms)}")
    for text in said:
        yield from _wrapped(text, width, indent=2 * INDENT)


def _name(step: StepStory) -> str:
    return f"{step.step} (pivot)" if step.kind == "pivot" else step.step


def _tries(told: LaneStory, glyphs: Glyphs) -> str:
    if told.attempts == 0:
        return ""
    return f"{told.attempts}/{glyphs.no_limit if told.attempts_max is None else told.attempts_max}"


def _end_of(story: Story) -> int:
    every = [each for step in story.steps for told in (step.do, step.undo) if told is not None for each in told.spans]
    if any(each.to_ms is None for each in every):
        return story.now_ms
    return max([each.to_ms for each in every if each.to_ms is not None], default=story.now_ms)


# --- why it is stuck, and what can be done


def _trouble(story: Story, width: int) -> Iterator[Text]:
    trouble = story.trouble
    if trouble is None:
        return
    yield Text()
    since = f"{span(story.now_ms - trouble.since_ms)}, since {clock(trouble.since_ms, story.now_ms)}"
    yield Text(f"STUCK for {since}", style="bold red")
    yield from _wrapped(f"what happened  {trouble.happened}", width, indent=INDENT, hang=15)
    if trouble.detail:
        yield from _wrapped(f"last word      {trouble.detail}", width, indent=INDENT, hang=15)
    yield from _wrapped(f"what it means  {trouble.means}", width, indent=INDENT, hang=15)


def _possible(story: Story, width: int) -> Iterator[Text]:
    if not story.possible:
        return
    yield Text()
    if story.hold is None:
        names = ", ".join(dict.fromkeys(each.operation.replace("_", "-") for each in story.possible))
        yield from _wrapped(f"possible now: {names}", width)
        return
    yield Text("what you can do now", style="bold")
    for choice in story.possible:
        yield from _command(choice.command, width)
        yield from _wrapped(choice.effect, width, indent=3 * INDENT, style="dim")


def _command(command: str, width: int) -> Iterator[Text]:
    """A command line to copy: where it has to be broken, a shell reads the parts as one."""
    line = " " * INDENT
    for index, part in enumerate(command.split(" --")):
        word = part if index == 0 else f" --{part}"
        if len(line) + len(word) + len(" \\") > width and index > 0:
            yield _flat(f"{line} \\")
            line = " " * 2 * INDENT + word.lstrip()
        else:
            line += word
    yield _flat(line)


# --- lines


def _joined(parts: list[str], width: int) -> Iterator[Text]:
    """The parts side by side, on as many lines as it takes; no part is broken if it fits on a line."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if line and len(longer) > width:
            yield _flat(line)
            line = part
        else:
            line = longer
    if line:
        yield _flat(line)


def _wrapped(text: str, width: int, *, indent: int = 0, hang: int = 0, style: str = "") -> Iterator[Text]:
    # What participants and operators wrote may hold line ends and control characters.
    flat = printable(text)
    lines = textwrap.wrap(
        flat,
        max(20, width),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        drop_whitespace=True,
        break_on_hyphens=False,
    )
    for line in lines:
        yield _flat(line, style)


def _flat(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
