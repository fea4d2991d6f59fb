"""A drawing as SVG that stands alone: no script, no font, no reference to anything outside.

It follows the reader's light or dark setting. A colour is never the only sign: each state is said in words too.
"""

from collections.abc import Iterator
from html import escape
from typing import Final, assert_never

from countermand.coordinator.operate.definitions.cards import (
    CHARACTER,
    LINE,
    NAME_LINE,
    PADDING,
    Card,
    card_of,
    diamond_top,
    printable,
)
from countermand.coordinator.operate.definitions.drawing import (
    CardItem,
    Chain,
    Drawing,
    Edge,
    ForkItem,
    FrameItem,
    NoteItem,
    cards,
)
from countermand.coordinator.operate.definitions.layout import GAP, Box, Layout, layout, title_of
from countermand.coordinator.operate.definitions.shapes import STACK, outline, rectangle, text
from countermand.schemas.definition import ChildNode, StepNode

MARGIN: Final = 24
HEADER: Final = 44
FACTS: Final = 20  # A line more, where the whole saga has a deadline or a limit.
FOOTER: Final = 34
WIDTH_MIN: Final = 400  # The legend's line.
APART: Final = 6  # How far the two directions are from the middle.

_STYLE: Final = """
svg{--paper:#ffffff;--ink:#1d2330;--soft:#5b6472;--line:#8a93a3;--card:#f5f7fa;--group:#eef1f6;--accent:#b4590a;
--running:#1f6fc4;--done:#1f8443;--failed:#a96a00;--undone:#6b4fc0;--trouble:#c43232;--skipped:#727a87;--scope:#3b7a8c;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
@media(prefers-color-scheme:dark){svg{--paper:#14171d;--ink:#e8ebf0;--soft:#a3acba;--line:#78818f;--card:#20252e;
--group:#191d24;--accent:#f0a35e;--running:#6cb0ff;--done:#5fce86;--failed:#e3b04b;--undone:#b09cf5;--trouble:#ff7b7b;
--skipped:#9aa3b0;--scope:#6fb6c9}}
.paper{fill:var(--paper)}.title{font-size:17px;font-weight:600;fill:var(--ink)}
.step{fill:var(--card);stroke:var(--line);stroke-width:1.2}.name{font-size:13px;font-weight:600;fill:var(--ink)}
.below,.legend{font-size:11.5px;fill:var(--soft)}.tag{font-size:11px;fill:var(--soft)}
.group{fill:var(--group);stroke:var(--line);stroke-dasharray:2 3}.grouped{font-size:11.5px;fill:var(--soft)}
.group.for_each{stroke-dasharray:none}.group.scope{stroke:var(--scope);stroke-width:1.6;stroke-dasharray:8 4}
.group.fork{fill:none;stroke-dasharray:1 3}.sides{fill:none;stroke:var(--line);stroke-width:1.2}
.label{font-size:11.5px;font-weight:600;fill:var(--soft)}
.forward,.way,.back{fill:none;stroke:var(--line);stroke-width:1.5}.back{stroke-dasharray:5 4}.head{fill:var(--line)}
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
_ARROW: Final = 'marker-end="url(#head)"'


def svg(drawing: Drawing) -> str:
    """The drawing as one SVG document."""
    facts = printable("; ".join(drawing.facts))
    placed = layout(drawing, MARGIN, MARGIN + HEADER + (FACTS if facts else 0))
    title = printable(drawing.title)
    width = max(placed.right + MARGIN, WIDTH_MIN, MARGIN * 2 + max(len(title) * 10, len(facts) * CHARACTER))
    foot = placed.bottom + (MARGIN if len(placed.gutters) < 2 else MARGIN + GAP)
    height = foot + FOOTER
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"',
        f' height="{height:g}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}{_state_styles(drawing)}</style>",
        _HEAD,
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>',
        text("title", MARGIN, MARGIN + 16, title),
        *([text("below", MARGIN, MARGIN + 16 + FACTS, facts)] if facts else []),
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
            case CardItem():
                yield from _card(item, box)
            case NoteItem(text=words):
                yield text("below", box.middle, box.top + LINE, words, "middle")
            case FrameItem():
                yield from _frame(item, box)
                for branch in item.branches:
                    yield from _chain(branch, placed)
            case ForkItem():
                yield rectangle("group fork", box)
                yield from _card(item.head, placed.boxes[item.head.id])
                yield from _ways(item, placed)
                for way in item.branches:
                    yield from _chain(way.chain, placed)
            case _:
                assert_never(item)


def _frame(item: FrameItem, box: Box) -> Iterator[str]:
    if item.kind == "for_each":
        yield rectangle("group for_each", Box(box.left + STACK, box.top + STACK, box.width, box.height))
    yield f"<g><title>{escape(printable(item.title))}</title>"
    yield rectangle(f"group {item.kind}", box)
    yield text("grouped", box.left + PADDING, box.top + 20, printable(title_of(item)))
    yield "</g>"


def _card(item: CardItem, box: Box) -> Iterator[str]:
    card = card_of(item)
    state = f" {item.mark.state}" if item.mark and item.mark.state in _STATES else ""
    pivot = " pivot" if isinstance(item.node, StepNode | ChildNode) and item.node.kind == "pivot" else ""
    yield f"<g><title>{escape(card.tooltip)}</title>"
    yield outline(card, f"step{pivot}{state}", box)
    if card.shape == "diamond":
        yield from _texts(card, box.middle, box.top + box.height / 2 + diamond_top(card), state, "middle")
    else:
        if card.tag:
            yield text(f"tag{pivot}", box.right - card.inset, box.top + NAME_LINE, card.tag, "end")
        yield from _texts(card, box.left + card.inset, box.top + NAME_LINE, state, "start")
    yield "</g>"


def _texts(card: Card, x: float, y: float, state: str, anchor: str) -> Iterator[str]:
    yield text("name", x, y, card.name, anchor)
    for line in card.lines:
        y += LINE
        yield text("below", x, y, line, anchor)
    if card.mark:
        yield text(f"mark{state}", x, y + LINE, card.mark, anchor)


def _ways(fork: ForkItem, placed: Layout) -> Iterator[str]:
    """From a fork's card to each of its branches, with the word that says when."""
    head = placed.boxes[fork.head.id]
    for branch in fork.branches:
        first = placed.boxes[branch.chain[0].id]
        bend, end = head.bottom + 16, first.middle
        yield f'<path class="way" d="M{head.middle:g} {head.bottom:g}V{bend:g}H{end:g}V{first.top:g}" {_ARROW}/>'
        yield text("label", end + 8, bend + LINE, branch.label)


def _edges(drawing: Drawing, placed: Layout) -> Iterator[str]:
    for edge in drawing.forward:
        yield _line("forward", edge, placed, -APART)
    for edge in drawing.back:
        yield _line("back", Edge(edge.target, edge.source), placed, APART)


def _line(kind: str, edge: Edge, placed: Layout, aside: float) -> str:
    """A line between neighbours; the way back is the same line with its head at the other end."""
    head = _ARROW if kind == "forward" else 'marker-start="url(#head)"'
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
    yield f'<path class="forward" d="M{x} {y:g}h34" {_ARROW}/>'
    yield text("legend", x + 42, y + 4, "then")
    yield f'<path class="back" d="M{x + 90} {y:g}h34" {_ARROW}/>'
    yield text("legend", x + 132, y + 4, "undone in this order, before the pivot")


def _state_styles(drawing: Drawing) -> str:
    used = {card.mark.state for card in cards(drawing.chain) if card.mark}
    return "".join(
        f".step.{state}{{stroke:var(--{colour});stroke-width:2.5}}.mark.{state}{{fill:var(--{colour})}}"
        + (".step.undoing{stroke-dasharray:5 4}" if state == "undoing" else "")
        for state, colour in _STATES.items()
        if state in used
    )
