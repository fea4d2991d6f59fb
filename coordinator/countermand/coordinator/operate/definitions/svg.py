"""A drawing as SVG that stands alone: no script, no font, no reference to anything outside.

It follows the reader's light or dark setting. A colour is never the only sign: each state is said in words too.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from countermand.coordinator.operate.definitions.drawing import Chain, Drawing, Edge, GroupItem, StepItem, items
from countermand.coordinator.operate.definitions.layout import (
    GAP,
    MARK_HEIGHT,
    NAME_SHOWN_MAX,
    PADDING,
    Box,
    Layout,
    below_of,
    layout,
    tag_of,
)

MARGIN: Final = 24
HEADER: Final = 44
FOOTER: Final = 34
WIDTH_MIN: Final = 400  # The legend's line.
APART: Final = 6  # How far the two directions are from the middle.
CORNER: Final = 8

_STYLE: Final = """
svg{--paper:#ffffff;--ink:#1d2330;--soft:#5b6472;--line:#8a93a3;--card:#f5f7fa;--group:#eef1f6;--accent:#b4590a;
--running:#1f6fc4;--done:#1f8443;--failed:#a96a00;--undone:#6b4fc0;--trouble:#c43232;--skipped:#727a87;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
@media(prefers-color-scheme:dark){svg{--paper:#14171d;--ink:#e8ebf0;--soft:#a3acba;--line:#78818f;--card:#20252e;
--group:#191d24;--accent:#f0a35e;--running:#6cb0ff;--done:#5fce86;--failed:#e3b04b;--undone:#b09cf5;--trouble:#ff7b7b;
--skipped:#9aa3b0}}
.paper{fill:var(--paper)}.title{font-size:17px;font-weight:600;fill:var(--ink)}
.step{fill:var(--card);stroke:var(--line);stroke-width:1.2}.name{font-size:13px;font-weight:600;fill:var(--ink)}
.below,.legend{font-size:11.5px;fill:var(--soft)}.tag{font-size:11px;fill:var(--soft)}
.group{fill:var(--group);stroke:var(--line);stroke-dasharray:2 3}.grouped{font-size:11px;fill:var(--soft)}
.forward,.back{fill:none;stroke:var(--line);stroke-width:1.5}.back{stroke-dasharray:5 4}.head{fill:var(--line)}
.pivot{stroke:var(--accent);stroke-width:3}.tag.pivot{fill:var(--accent);stroke:none;font-weight:700}
.mark{font-size:11.5px;font-weight:600}
""".strip()
_STATES: Final = {
    "running": "running",
    "done": "done",
    "failed": "failed",
    "undoing": "running",
    "undone": "undone",
    "trouble": "trouble",
    "skipped": "skipped",
}
_HEAD: Final = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path class="head" d="M0 0.5L8 4L0 7.5z"/></marker></defs>'
)


def svg(drawing: Drawing) -> str:
    """The drawing as one SVG document."""
    placed = layout(drawing, MARGIN, MARGIN + HEADER)
    width = max(placed.right + MARGIN, WIDTH_MIN, MARGIN * 2 + len(drawing.title) * 10)
    foot = placed.bottom + (MARGIN if len(placed.gutters) < 2 else MARGIN + GAP)
    height = foot + FOOTER
    title = escape(_printable(drawing.title))
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"',
        f' height="{height:g}" role="img" aria-label="{title}">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}{_state_styles(drawing)}</style>",
        _HEAD,
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>',
        f'<text class="title" x="{MARGIN}" y="{MARGIN + 16}">{title}</text>',
        *_chain(drawing.chain, placed),
        *_edges(drawing, placed),
        *_legend(foot + 10),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _chain(chain: Chain, placed: Layout) -> Iterator[str]:
    for item in chain:
        box = placed.boxes[item.id]
        match item:
            case StepItem():
                yield from _step(item, box)
            case GroupItem():
                yield _rect("group", box)
                yield f'<text class="grouped" x="{box.left + PADDING:g}" y="{box.top + 20:g}">parallel</text>'
                for branch in item.branches:
                    yield from _chain(branch, placed)


def _step(item: StepItem, box: Box) -> Iterator[str]:
    step, tag = item.step, tag_of(item)
    state = f" {item.mark.state}" if item.mark and item.mark.state in _STATES else ""
    pivot = " pivot" if step.kind == "pivot" else ""
    left = box.left + 12
    yield f"<g><title>{escape(_tooltip(item))}</title>"
    yield _rect(f"step{pivot}{state}", box)
    yield f'<text class="name" x="{left:g}" y="{box.top + 22:g}">{escape(_cut(step.name))}</text>'
    if tag:
        place = f'x="{box.right - 12:g}" y="{box.top + 22:g}" text-anchor="end"'
        yield f'<text class="tag{pivot}" {place}>{escape(tag)}</text>'
    yield f'<text class="below" x="{left:g}" y="{box.top + 40:g}">{escape(_printable(below_of(item)))}</text>'
    if item.mark is not None:
        words = escape(_printable(item.mark.words))
        y = box.top + 40 + MARK_HEIGHT
        yield f'<text class="mark{state}" x="{left:g}" y="{y:g}">{words}</text>'
    yield "</g>"


def _edges(drawing: Drawing, placed: Layout) -> Iterator[str]:
    for edge in drawing.forward:
        yield _line("forward", edge, placed, -APART)
    for edge in drawing.back:
        yield _line("back", Edge(edge.target, edge.source), placed, APART)


def _line(kind: str, edge: Edge, placed: Layout, aside: float) -> str:
    """A line between neighbours; the way back is the same line with its head at the other end."""
    head = 'marker-end="url(#head)"' if kind == "forward" else 'marker-start="url(#head)"'
    upper, lower = placed.boxes[edge.source], placed.boxes[edge.target]
    start, end = upper.middle + aside, lower.middle + aside
    if lower.top >= upper.bottom:
        return f'<path class="{kind}" d="M{start:g} {upper.bottom:g}V{lower.top:g}" {head}/>'
    # From the foot of one column to the head of the next, through the room between them.
    between = placed.gutters[edge.target] + aside
    foot, top = upper.bottom + GAP / 2 - aside, lower.top - GAP / 2 - aside
    way = f"M{start:g} {upper.bottom:g}V{foot:g}H{between:g}V{top:g}H{end:g}V{lower.top:g}"
    return f'<path class="{kind}" d="{way}" {head}/>'


def _legend(y: float) -> Iterator[str]:
    x = MARGIN
    yield f'<path class="forward" d="M{x} {y:g}h34" marker-end="url(#head)"/>'
    yield f'<text class="legend" x="{x + 42}" y="{y + 4:g}">then</text>'
    yield f'<path class="back" d="M{x + 90} {y:g}h34" marker-end="url(#head)"/>'
    yield f'<text class="legend" x="{x + 132}" y="{y + 4:g}">undone in this order, before the pivot</text>'


def _rect(names: str, box: Box) -> str:
    return (
        f'<rect class="{names}" x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{CORNER}"/>'
    )


def _state_styles(drawing: Drawing) -> str:
    used = {item.mark.state for item in items(drawing.chain) if isinstance(item, StepItem) and item.mark}
    return "".join(
        f".step.{state}{{stroke:var(--{colour});stroke-width:2.5}}.mark.{state}{{fill:var(--{colour})}}"
        + (".step.undoing{stroke-dasharray:5 4}" if state == "undoing" else "")
        for state, colour in _STATES.items()
        if state in used
    )


def _tooltip(item: StepItem) -> str:
    step = item.step
    said = f"{step.name}: {step.participant}, {step.action}; {step.kind}"
    if step.kind == "compensatable" and not step.compensation:
        said += f", no compensation: {step.because}"
    return _printable(said)


def _cut(name: str) -> str:
    name = _printable(name)
    return name if len(name) <= NAME_SHOWN_MAX else name[: NAME_SHOWN_MAX - 1] + "…"


def _printable(text: str) -> str:
    """XML takes no control characters, and nobody could read them."""
    return "".join(each if each.isprintable() else "�" for each in text)
