"""The shapes of a picture's cards and frames, as SVG."""

from html import escape
from typing import Final

from countermand.coordinator.operate.definitions.cards import SLANT, Card
from countermand.coordinator.operate.definitions.layout import Box

CORNER: Final = 8
BEVEL: Final = 10
STACK: Final = 5  # How far the sheet behind a for-each's frame looks out.


def rectangle(names: str, box: Box, corner: float = CORNER) -> str:
    return (
        f'<rect class="{names}" x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{corner:g}"/>'
    )


def outline(card: Card, names: str, box: Box) -> str:
    """The card's outline: each sort of node has its own."""
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    middle, centre = box.middle, box.top + box.height / 2
    match card.shape:
        case "diamond":
            return _polygon(names, (middle, top), (right, centre), (middle, bottom), (left, centre))
        case "flag":
            notch = (left + SLANT, centre)
            return _polygon(names, (left, top), (right, top), (right, bottom), (left, bottom), notch)
        case "pill":
            return rectangle(names, box, box.height / 2)
        case "slanted":
            return _polygon(names, (left + SLANT, top), (right, top), (right - SLANT, bottom), (left, bottom))
        case "nested":
            sides = f"M{left + SLANT / 2:g} {top:g}V{bottom:g}M{right - SLANT / 2:g} {top:g}V{bottom:g}"
            return f'{rectangle(names, box, 2)}<path class="sides" d="{sides}"/>'
        case "bevelled":
            return _polygon(
                names,
                (left + BEVEL, top),
                (right - BEVEL, top),
                (right, top + BEVEL),
                (right, bottom),
                (left, bottom),
                (left, top + BEVEL),
            )
        case "box":
            return rectangle(names, box)


def text(names: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{names}" x="{x:g}" y="{y:g}"{anchored}>{escape(words)}</text>'


def _polygon(names: str, *points: tuple[float, float]) -> str:
    return f'<polygon class="{names}" points="{" ".join(f"{x:g},{y:g}" for x, y in points)}"/>'
