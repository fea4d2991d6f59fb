"""The nodes of a saga on the screen: a line for each, nested as its definition is, with its time as a picture."""

import shlex
from collections.abc import Iterator
from typing import Final

from rich.text import Text

from countermand.coordinator.cli.gantt import Glyphs, Scale, lane, legend
from countermand.coordinator.cli.lines import cut, flat, wrapped
from countermand.coordinator.cli.moments import ago, ahead, span
from countermand.coordinator.operate.step_stories import StepStory
from countermand.coordinator.operate.story import Story
from countermand.coordinator.operate.tree import Line

NAME_WIDTH_MAX: Final = 30
WORDS_WIDTH_MAX: Final = 32  # Longer ones stand below their line, unless the terminal is wide.
LANE_WIDTH_MIN: Final = 8  # Below that it shows nothing.
LANE_WIDTH_MAX: Final = 72  # Wider than that, the eye loses the line.
INDENT: Final = 2
GAP: Final = 2

_STYLES: Final = {
    "succeeded": "green",
    "settled": "green",
    "met": "green",
    "approved": "green",
    "skipped": "magenta",
    "rejected": "red",
    "not_done": "red",
    "unknown": "red",
    "denied": "red",
    "timed_out": "red",
    "undoing": "magenta",
    "undone": "magenta",
    "exhausted": "bold red",
    "asked": "cyan",
    "open": "cyan",
    "waiting": "magenta",
    "not_yet": "dim",
    "never": "dim",
    "not_taken": "dim",
    "dropped": "dim",
    "label": "dim",
}
_NEXT: Final = {
    "reply_overdue": "reply overdue",
    "next_attempt": "next attempt",
    "given_up": "given up",
    "goes_on": "goes on",
}


def timeline(story: Story, width: int, glyphs: Glyphs) -> Iterator[Text]:
    """Every line of the story, with what there is to say below it."""
    shown = [(line, _name(line, glyphs)) for line in story.lines]
    shortest = len(glyphs.undo) + len(" undo") + INDENT
    name_width = min(NAME_WIDTH_MAX, max(shortest, *(len(name) for line, name in shown if line.sort != "label")))
    longest = min(max(WORDS_WIDTH_MAX, width * 2 // 5), width - shortest - GAP)
    words = [len(line.lane.words) for line, _ in shown]
    words_width = max(len("state"), *(each for each in words if each <= longest), 0)
    tries_width = max(5, *(len(_tries(line, glyphs)) for line, _ in shown))
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
    for line, name in shown:
        yield from _line(line, name, scale, (name_width, tries_width, words_width), width, glyphs)
        yield from _notes(line, story, width)
    if scale is not None:
        yield flat(legend(glyphs), "dim")
    if story.more_history:
        yield flat("older entries of the history are not drawn", "dim")


def _line(
    line: Line, name: str, scale: Scale | None, widths: tuple[int, int, int], width: int, glyphs: Glyphs
) -> Iterator[Text]:
    told, style = line.lane, _STYLES.get(line.lane.status, "")
    if line.sort == "label":
        yield flat(cut(name, width), "dim")
        return
    below = len(told.words) > widths[2]
    drawn = "" if scale is None else lane(told.spans, scale, glyphs).ljust(scale.width + GAP)
    row = Text(no_wrap=True, overflow="ellipsis")
    row.append(f"{cut(name, widths[0]):<{widths[0]}}  ", "dim" if style == "dim" else "")
    row.append(drawn, style)
    row.append(f"{_tries(line, glyphs):>{widths[1]}}{' ' * GAP}" if widths[1] else "")
    row.append("" if below else told.words, style)
    row.rstrip()
    yield row
    if below:
        yield from wrapped(told.words, width, indent=INDENT * (line.depth + 2), style=style)


def _notes(line: Line, story: Story, width: int) -> Iterator[Text]:
    told = line.lane
    for link in _links(line.step) if line.sort == "node" else ():
        yield from wrapped(link, width, indent=INDENT * (line.depth + 2), style="dim")
    said: list[str] = []
    if told.error is not None and told.status not in ("succeeded", "settled", "skipped"):
        said.append(f"{told.error}: {told.reason}" if told.reason else told.error)
    if told.next is not None and not _answers_by_itself(line):
        what = _NEXT[told.next.what]
        if line.step is not None and line.step.sort in ("lock", "limit") and told.next.what == "reply_overdue":
            what = "given up"
        at_ms, now_ms = told.next.at_ms, story.now_ms
        said.append(f"{what} {ago(at_ms, now_ms) if at_ms < now_ms else ahead(at_ms, now_ms)}")
    for text in said:
        yield from wrapped(text, width, indent=INDENT * (line.depth + 2))


def _answers_by_itself(line: Line) -> bool:
    """A child saga takes as long as it takes: when it will be asked again says nothing."""
    return line.step is not None and line.step.sort == "child" and line.lane.status == "asked"


def _links(step: StepStory | None) -> Iterator[str]:
    """Where to look on: the child saga, or whoever else wants the lock."""
    if step is None:
        return
    if step.child is not None:
        phase = "not known" if step.child.phase is None else step.child.phase.replace("_", " ")
        stuck = ", stuck" if step.child.stuck else ""
        yield f"saga {step.child.saga_id} is {phase}{stuck}: countermand show {step.child.saga_id}"
    if step.lock is not None and step.do.status in ("asked", "succeeded"):
        key = f" {shlex.quote(step.lock.key)}" if step.lock.key else ""
        yield f"countermand locks show {step.lock.lock}{key}"


def _name(line: Line, glyphs: Glyphs) -> str:
    mark = f"{glyphs.undo} " if line.sort == "undo" else "? " if line.sort == "probe" else ""
    return " " * INDENT * line.depth + mark + line.name


def _tries(line: Line, glyphs: Glyphs) -> str:
    told = line.lane
    if told.attempts == 0 or (line.step is not None and line.step.sort != "step" and told.attempts == 1):
        return ""
    return f"{told.attempts}/{glyphs.no_limit if told.attempts_max is None else told.attempts_max}"


def _end_of(story: Story) -> int:
    every = [each for line in story.lines for each in line.lane.spans]
    if any(each.to_ms is None for each in every):
        return story.now_ms
    return max([each.to_ms for each in every if each.to_ms is not None], default=story.now_ms)
