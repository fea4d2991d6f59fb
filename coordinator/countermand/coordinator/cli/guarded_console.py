"""The console on which everything of ours is drawn, and on which nobody else draws.

What participants, operators and strangers wrote stands in tables, stories and letters. Whatever way it got there, it
reaches the terminal as text: an escape sequence in it would move the cursor, or fill the clipboard (OSC 52).
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from countermand.coordinator.cli.output import printable_lines


class GuardedConsole(Console):
    """Styles and cursor movements come from rich alone; text holds none."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.is_control else Segment(printable_lines(segment.text), segment.style)

    def render_str(self, text: str, **options: Any) -> Any:
        """As rich does, but of what can be shown, so that columns are as wide as they look."""
        return super().render_str(printable_lines(text), **options)
