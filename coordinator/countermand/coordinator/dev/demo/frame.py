"""The picture of the demo at one moment: every order a mark, every process a line, and how fast it goes."""

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from countermand.coordinator.dev.demo.actors import Condition
from countermand.coordinator.dev.demo.census import Place

# Beyond this the eye has to travel; below the other one the parts don't fit side by side.
WIDTH_MAX: Final = 100
WIDTH_MIN: Final = 76
MARKS_PER_LINE: Final = 50
BARS: Final = "▁▂▃▄▅▆▇█"
BARS_ASCII: Final = "_.-=+*#@"


class Look(msgspec.Struct, frozen=True):
    """How a place is drawn: told apart by shape as well as by colour, and by colours that suit light and dark."""

    mark: str
    ascii: str
    style: str


LOOKS: Final[dict[Place, Look]] = {
    "waiting": Look("·", ".", "dim"),
    "running": Look("»", ">", "cyan"),
    "compensating": Look("«", "<", "magenta"),
    "stuck": Look("!", "!", "bold red"),
    "completed": Look("●", "#", "green"),
    "compensated": Look("○", "o", "magenta"),
}


class ActorLine(msgspec.Struct, frozen=True):
    name: str
    condition: Condition
    pid: int


class Frame(msgspec.Struct, frozen=True):
    """Everything that is on the screen at one moment."""

    elapsed_s: float
    places: Sequence[Place]
    rates: Sequence[float]
    actors: Sequence[ActorLine]

    @property
    def ended(self) -> int:
        return self.count("completed") + self.count("compensated")

    def count(self, place: Place) -> int:
        return sum(each == place for each in self.places)


def drawn(frame: Frame, *, width: int, ascii_only: bool = False) -> Panel:
    """The frame as a panel; `width` in columns, at least WIDTH_MIN."""
    upper = Table.grid(padding=(0, 3), expand=False)
    upper.add_row(_marks(frame, ascii_only), _actors(frame.actors))
    return Panel(
        Group(upper, Text(), _counts(frame, ascii_only), _rate(frame.rates, ascii_only)),
        title=f"{frame.ended} of {len(frame.places)} orders ended",
        title_align="left",
        subtitle=f"{frame.elapsed_s:.1f} s",
        subtitle_align="right",
        width=min(width, WIDTH_MAX),
        border_style="dim",
    )


def _marks(frame: Frame, ascii_only: bool) -> Text:
    text = Text(no_wrap=True)
    for number, place in enumerate(frame.places):
        if number and number % MARKS_PER_LINE == 0:
            text.append("\n")
        look = LOOKS[place]
        text.append(look.ascii if ascii_only else look.mark, look.style)
    return text


def _actors(actors: Sequence[ActorLine]) -> Table:
    table = Table.grid(padding=(0, 1))
    for actor in actors:
        style = {"up": "", "away": "dim", "killed": "bold red"}[actor.condition]
        shown = {"up": str(actor.pid), "away": "done", "killed": "KILLED"}[actor.condition]
        table.add_row(Text(actor.name, style), Text(shown, style or "dim"))
    return table


def _counts(frame: Frame, ascii_only: bool) -> Table:
    table = Table.grid(padding=(0, 3))
    shown = [place for place in LOOKS if place != "stuck" or frame.count(place)]
    marks = [LOOKS[place].ascii if ascii_only else LOOKS[place].mark for place in shown]
    table.add_row(*(Text(f"{mark} {place}", LOOKS[place].style) for mark, place in zip(marks, shown, strict=True)))
    table.add_row(*(Text(f"  {frame.count(place)}", "bold") for place in shown))
    return table


def _rate(rates: Sequence[float], ascii_only: bool) -> Text:
    bars = BARS_ASCII if ascii_only else BARS
    highest = max(rates, default=0.0) or 1.0
    marks = "".join(bars[round(rate / highest * (len(bars) - 1))] for rate in rates)
    return Text.assemble(f"\n{rates[-1] if rates else 0:5.0f} steps per second  ", (marks, "cyan"))
