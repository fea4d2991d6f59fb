"""What `countermand doctor` found, for people: worst first, what is in order in one line."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from countermand.coordinator.cli.output import console
from countermand.coordinator.operate.doctor import Area, Examination, Severity
from countermand.coordinator.operate.doctor.examination import SEVERITIES

_AREAS: Final[tuple[Area, ...]] = ("RabbitMQ", "Redis", "coordinators", "participants")
_STYLES: Final[dict[Severity, str]] = {
    "critical": "bold red",
    "warning": "bold yellow",
    "notice": "bold cyan",
    "ok": "green",
}
_WORD_WIDTH: Final = len("  critical")
_WIDTH_MAX: Final = 110  # Longer lines are hard to read.


def print_examinations(found: Sequence[Examination], *, verbose: bool) -> None:
    """All of them, by area."""
    screen = console()
    screen.width = min(screen.width, _WIDTH_MAX)
    for area in _AREAS:
        here = [each for each in found if each.area == area]
        if here:
            screen.print(Text(area, style="bold underline"))
            screen.print(_table(here, verbose=verbose))
            screen.print()
    counts = Counter(each.severity for each in found)
    screen.print(Text(", ".join(_counted(counts[each], each) for each in reversed(SEVERITIES) if counts[each])))


def _counted(count: int, severity: Severity) -> str:
    return f"{count} {severity}{'s' if count > 1 and severity in ('warning', 'notice') else ''}"


def _table(here: list[Examination], *, verbose: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=_WORD_WIDTH)
    table.add_column(overflow="fold")
    for each in sorted(here, key=lambda one: -SEVERITIES.index(one.severity)):
        word = Text(f"  {each.severity}", style=_STYLES[each.severity])
        if each.severity != "ok":
            table.add_row(word, _trouble(each))
        elif verbose:
            table.add_row(word, Text.assemble((f"{each.title}: ", "bold"), each.found))
    fine = [each.title for each in here if each.severity == "ok"]
    if fine and not verbose:
        table.add_row(Text("  ok", style=_STYLES["ok"]), Text(", ".join(fine)))
    return table


def _trouble(each: Examination) -> Text:
    parts = ((f"{each.title}:", each.found), ("why:", each.why), ("mend:", each.mend))
    return Text("\n").join(Text.assemble((label, "bold"), " ", text) for label, text in parts if text)
