"""Approvals on the screen."""

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from countermand.coordinator.cli.lines import command_lines, flat, wrapped
from countermand.coordinator.cli.moments import ahead, span
from countermand.coordinator.cli.output import console, printable
from countermand.coordinator.operate.approvals import Waiting
from countermand.coordinator.operate.node_stories import ApprovalStory
from countermand.coordinator.operate.story import Story

INDENT: Final = 2
HANG: Final = 12
COLUMNS: Final = ("saga", "approval", "definition", "may decide", "left")
WIDE: Final = 110


def print_approvals(approvals: Sequence[Waiting], now_ms: int) -> None:
    """A line for each."""
    terminal = console()
    if not approvals:
        terminal.print("nothing waits for a decision")
        return
    # An id is there to be copied whole: on a narrow terminal the definition gives way.
    columns = [name for name in COLUMNS if name != "definition" or terminal.width >= WIDE]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column == "left"
        table.add_column(column, overflow="fold", no_wrap=column != "may decide", justify="right" if right else "left")
    for each in approvals:
        left = "paused" if each.paused else span(each.until_ms - now_ms)
        cells = dict(zip(COLUMNS, (each.saga_id, each.step, each.definition, _who(each), left), strict=True))
        table.add_row(*(Text(printable(cells[column])) for column in columns))
    terminal.print(table)
    first = approvals[0]
    terminal.print(
        Text(f"countermand approvals show {first.saga_id} {shlex.quote(first.step)}", style="dim"), soft_wrap=True
    )


def approval_screen(story: Story, approval: ApprovalStory, width: int) -> Group:
    """One approval with everything that is shown, and the commands that decide it."""
    open_ = approval.status == "open"
    state = f"given up {ahead(approval.until_ms, story.now_ms)}" if open_ else approval.status.replace("_", " ")
    title = Text.assemble((approval.step, "bold"), f"  of {story.saga_id}  {story.definition}  ")
    lines = [title.append(state, "bold magenta"), *approval_lines(approval, story.now_ms, width)]
    if approval.by is not None:
        lines += wrapped(f"decided by  {approval.by}", width, indent=INDENT, hang=HANG)
    if approval.comment:
        lines += wrapped(f"comment     {approval.comment}", width, indent=INDENT, hang=HANG)
    if open_:
        lines += [Text(), *(line for verb in ("approve", "deny") for line in _command(story, approval, verb, width))]
    return Group(*lines)


def approval_lines(approval: ApprovalStory, now_ms: int, width: int, *, lines_max: int | None = None) -> Iterator[Text]:
    """Who may decide what, in full: a decision is bound to the digest of what is shown here."""
    yield from wrapped(f"may decide  {approval.who}", width, indent=INDENT, hang=HANG)
    if approval.escalate_ms is not None and approval.status == "open":
        also = f"role {approval.escalate_to}, too, {ahead(approval.escalate_ms, now_ms)}"
        yield from wrapped(f"later       {also}", width, indent=INDENT, hang=HANG)
    shown = json.dumps(json.loads(bytes(approval.shows)), indent=2, ensure_ascii=False).splitlines()
    for number, line in enumerate(shown[:lines_max]):
        yield flat(f"{' ' * INDENT}{'is shown    ' if number == 0 else ' ' * HANG}{line}")
    if lines_max is not None and len(shown) > lines_max:
        yield flat(f"{' ' * (INDENT + HANG)}{len(shown) - lines_max} lines more: countermand approvals show", "dim")
    yield flat(f"{' ' * INDENT}digest      {approval.digest}", "dim")


def _command(story: Story, approval: ApprovalStory, verb: str, width: int) -> Iterator[Text]:
    return command_lines(story.decide_command(approval, verb), width, INDENT)


def _who(waiting: Waiting) -> str:
    may = [f"role {role}" for role in waiting.roles] + list(waiting.assignees)
    return (" or ".join(may) or "nobody") + (f", not {waiting.requester}" if waiting.requester else "")
