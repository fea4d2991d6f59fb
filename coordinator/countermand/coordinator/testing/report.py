"""What an exhaustive test has found, as a value and as a text of at most 100 columns."""

import textwrap
from typing import Final

import msgspec

from countermand.coordinator.testing.blame import Fault
from countermand.coordinator.testing.cases import Case
from countermand.coordinator.testing.timeline import COLUMNS, Happening, written

STEP_COLUMNS_MAX: Final = 24
TROUBLE_COLUMNS_MAX: Final = 36
# One mistake shows in many cases; nobody reads more of them.
ROWS_MAX: Final = 40


class Finding(msgspec.Struct, frozen=True):
    """A case that ended neither all done nor all undone."""

    case: Case
    fault: Fault
    happenings: tuple[Happening, ...]

    @property
    def timeline(self) -> str:
        """What happened in it."""
        return written(list(self.happenings))


class Report(msgspec.Struct, frozen=True):
    """What came of all cases. `complete` is false if it stopped at a number of findings; `notes`: what wasn't tried."""

    label: str
    cases: int
    findings: tuple[Finding, ...]
    complete: bool = True
    notes: tuple[str, ...] = ()

    @property
    def smallest(self) -> Finding | None:
        """The finding with the shortest timeline."""
        return min(self.findings, key=lambda each: (each.case.weight, len(each.happenings)), default=None)

    @property
    def why(self) -> dict[str, list[str]]:
        """What is wrong with each step, each reason once, those of the most cases first."""
        counts: dict[tuple[str, str], int] = {}
        for finding in self.findings:
            for step, why in finding.fault.why.items():
                counts[step, why] = counts.get((step, why), 0) + 1
        found: dict[str, list[str]] = {}
        for step, why in sorted(counts, key=lambda each: -counts[each]):
            found.setdefault(step, []).append(why)
        return found

    @property
    def text(self) -> str:
        """The table of what was found, the reasons, and the timeline of the smallest case."""
        tried = f"{self.label}: {self.cases} cases" + ("" if self.complete else ", then stopped")
        smallest = self.smallest
        if smallest is None:
            return "\n".join((f"{tried}; each ended all done or all undone", *self._noted()))
        found = f"{tried}; {len(self.findings)} ended neither all done nor all undone"
        lines = [found, *self._noted(), "", *self._table(), ""]
        for step, reasons in self.why.items():
            for reason in reasons:
                lines += textwrap.wrap(f"{step}: {reason}.", COLUMNS, subsequent_indent="  ")
        lines += ["", f"The smallest case ({smallest.case.step}: {smallest.case.words}):", "", smallest.timeline]
        return "\n".join(lines)

    def check(self) -> None:
        """Passes if there are no findings.

        Raises:
            AssertionError: with the text.
        """
        __tracebackhide__ = True
        if self.findings:
            raise AssertionError(self.text)

    def _noted(self) -> list[str]:
        return [line for note in self.notes for line in textwrap.wrap(f"- {note}", COLUMNS, subsequent_indent="  ")]

    def _table(self) -> list[str]:
        rows = [("step", "trouble", "found")]
        rows += [(each.case.step, each.case.words, each.fault.found) for each in self.findings[:ROWS_MAX]]
        widths = (
            min(max(len(row[0]) for row in rows), STEP_COLUMNS_MAX),
            min(max(len(row[1]) for row in rows), TROUBLE_COLUMNS_MAX),
        )
        rest = COLUMNS - sum(widths) - 4
        lines: list[str] = []
        for row in rows:
            cells = [textwrap.wrap(cell, width) for cell, width in zip(row, (*widths, rest), strict=True)]
            for number in range(max(map(len, cells))):
                parts = [cell[number] if number < len(cell) else "" for cell in cells]
                lines.append(f"{parts[0]:<{widths[0]}}  {parts[1]:<{widths[1]}}  {parts[2]}".rstrip())
        if len(self.findings) > ROWS_MAX:
            lines.append(f"… and {len(self.findings) - ROWS_MAX} more")
        return lines
