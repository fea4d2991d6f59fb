"""A lane of the timeline in characters: the width of the terminal is all there is."""

from collections.abc import Sequence
from typing import Final

import msgspec

from countermand.coordinator.operate.timeline import Span, SpanEnd


class Glyphs(msgspec.Struct, frozen=True):
    """The characters of one kind of terminal."""

    attempt: str
    wait: str
    out: str
    done: str
    failed: str
    unknown: str
    by_hand: str
    undo: str
    no_limit: str


UNICODE: Final = Glyphs("━", "·", "▸", "✓", "✗", "?", "☞", "↩", "∞")
ASCII: Final = Glyphs("=", ".", ">", "+", "x", "?", "@", "<-", "any")


def glyphs_for(encoding: str | None) -> Glyphs:
    """What this terminal can show."""
    try:
        "".join(getattr(UNICODE, field) for field in UNICODE.__struct_fields__).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


class Scale(msgspec.Struct, frozen=True):
    """Where a moment stands on a line of `width` characters that goes from one moment to another."""

    from_ms: int
    to_ms: int
    width: int

    def cell(self, at_ms: int) -> int:
        length = max(1, self.to_ms - self.from_ms)
        return min(self.width - 1, max(0, (at_ms - self.from_ms) * self.width // length))


def lane(spans: Sequence[Span], scale: Scale, glyphs: Glyphs) -> str:
    """One lane. An end stays visible under what follows it in the same cell: it says more."""
    cells = [" "] * scale.width
    marks: set[int] = set()
    for span in spans:
        first, last = scale.cell(span.from_ms), scale.cell(scale.to_ms if span.to_ms is None else span.to_ms)
        line = glyphs.attempt if span.kind == "attempt" else glyphs.wait
        for place in range(first, last + 1):
            if place not in marks:
                cells[place] = line
        if span.kind == "attempt":
            cells[last] = glyphs.out if span.to_ms is None else _end(span.ended, glyphs)
            marks.add(last)
    return "".join(cells).rstrip()


def legend(glyphs: Glyphs) -> str:
    """What the characters mean, in one line."""
    return (
        f"{glyphs.attempt} asked  {glyphs.wait} waits  {glyphs.done} done  {glyphs.failed} failed  "
        f"{glyphs.unknown} no reply  {glyphs.by_hand} by hand  {glyphs.out} still out"
    )


def _end(ended: SpanEnd | None, glyphs: Glyphs) -> str:
    match ended:
        case "succeeded":
            return glyphs.done
        case "rejected" | "failed" | "unroutable":
            return glyphs.failed
        case "skipped" | "settled":
            return glyphs.by_hand
        case "timed_out" | "given_up" | None:
            return glyphs.unknown
