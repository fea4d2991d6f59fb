"""Where the demo is watched: on a terminal that is redrawn, or as lines in a pipe or a log."""

import os
from collections.abc import Callable
from typing import Final, Literal, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from countermand.coordinator.dev.demo.frame import WIDTH_MIN, Frame, drawn

Tone = Literal["plain", "good", "bad"]

STYLES: Final[dict[Tone, str]] = {"plain": "", "good": "green", "bad": "bold red"}
# A line in a log for every tenth of the way.
PARTS: Final = 10


class Screen(Protocol):
    """Whoever watches."""

    console: Console

    def tell(self, elapsed_s: float, text: str, tone: Tone = "plain") -> None:
        """A line that stays."""

    def draw(self, frame: Frame) -> None:
        """How it looks now; the next one takes its place."""

    def rest(self, frame: Frame) -> None:
        """The last frame, which stays."""

    def show(self, content: RenderableType) -> None:
        """Something for the end that stays."""

    def close(self) -> None:
        """Gives the terminal back. Harmless when repeated."""


def told(elapsed_s: float, text: str, tone: Tone) -> Text:
    return Text.assemble((f"{elapsed_s:6.1f} s  ", "dim"), (text, STYLES[tone]))


class LiveScreen:
    """A terminal: lines above, and below them a panel that is drawn again and again."""

    def __init__(self, console: Console) -> None:
        self.console = console
        # We draw when there is something new; a thread of its own would only race with us.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def tell(self, elapsed_s: float, text: str, tone: Tone = "plain") -> None:
        self.console.print(told(elapsed_s, text, tone))

    def draw(self, frame: Frame) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(_panel(self.console, frame), refresh=True)

    def rest(self, frame: Frame) -> None:
        self.close()
        self.console.print(_panel(self.console, frame))

    def show(self, content: RenderableType) -> None:
        self.console.print(content)

    def close(self) -> None:
        self._live.stop()


class PlainScreen:
    """Lines, for a pipe, a log or a very narrow terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._part = 0

    def tell(self, elapsed_s: float, text: str, tone: Tone = "plain") -> None:
        self.console.print(told(elapsed_s, text, tone), soft_wrap=True)

    def draw(self, frame: Frame) -> None:
        part = frame.ended * PARTS // len(frame.places)
        if part > self._part:
            self._part = part
            going_on = ", ".join(
                f"{frame.count(place)} {place}" for place in ("completed", "compensated") if frame.count(place)
            )
            rate = f"{frame.rates[-1]:.0f} steps per second"
            self.tell(frame.elapsed_s, f"{frame.ended}/{len(frame.places)} orders ended: {going_on}; {rate}")

    def rest(self, frame: Frame) -> None:
        self.draw(frame)

    def show(self, content: RenderableType) -> None:
        self.console.print(content)

    def close(self) -> None:
        """Nothing was taken."""


def screen_for(console: Console, environment: Callable[[str], str | None] = os.environ.get) -> Screen:
    """Redrawn on a terminal that can be; lines where NO_COLOR is set, where nobody watches, and where it is narrow."""
    redrawn = console.is_terminal and not console.is_dumb_terminal and not environment("NO_COLOR")
    return LiveScreen(console) if redrawn and console.width >= WIDTH_MIN else PlainScreen(console)


def _panel(console: Console, frame: Frame) -> RenderableType:
    return drawn(frame, width=console.width, ascii_only=not console.encoding.lower().startswith("utf"))
