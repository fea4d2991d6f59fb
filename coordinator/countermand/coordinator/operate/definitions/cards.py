"""What is written on a card of a picture, in lines that fit, and how large that makes it."""

import textwrap
from math import ceil
from typing import Final, Literal

import msgspec

from countermand.coordinator.operate.definitions.drawing import CardItem
from countermand.coordinator.operate.definitions.words import facts_of, kind_of, role_of, what_of
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    LockNode,
    NamedNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)

Shape = Literal["box", "diamond", "flag", "pill", "slanted", "nested", "bevelled"]

NAME_SHOWN_MAX: Final = 34  # A longer name is cut; the whole of it is in the tooltip.
LINE_MAX: Final = 38  # As wide as the longest name with its tag.
FACT_LINES_MAX: Final = 3  # What is longer is cut; the whole of it is in the tooltip.
CONDITION_LINES_MAX: Final = 3  # With more, a diamond would fill the screen.

NAME_CHARACTER: Final = 8.2  # The width of a character of bold text in the widest of the usual fonts.
CHARACTER: Final = 7.05
NAME_LINE: Final = 22  # From the upper edge to the foot of the name.
LINE: Final = 16
PADDING: Final = 16
FOOT: Final = 14
WIDTH_MIN: Final = 170
SLANT: Final = 12  # What a shape's slanted or round sides take away on each side.
TAG_GAP: Final = 2  # In characters.
DIAMOND_HEIGHT: Final = 66  # And for each line below the name:
DIAMOND_LINE: Final = 26  # with less, a diamond would have to be far wider.


class Card(msgspec.Struct, frozen=True):
    """A card's texts, and the least size that holds them. `inset` is where text begins, from the left."""

    shape: Shape
    name: str
    tag: str
    lines: tuple[str, ...]
    mark: str
    tooltip: str
    width: float
    height: float
    inset: float


def card_of(item: CardItem) -> Card:
    """The card of a node."""
    node, shape = item.node, _shape(item.node)
    name, tag, mark = _cut(node.name), tag_of(node), "" if item.mark is None else item.mark.words
    mark = wrapped(printable(mark), 1)[0] if mark.strip() else mark
    lines_max = CONDITION_LINES_MAX if shape == "diamond" else FACT_LINES_MAX
    lines = tuple(line for fact in facts_of(node) for line in wrapped(printable(fact), lines_max))
    inset = 12 if shape in ("box", "bevelled") else 12 + SLANT
    height = NAME_LINE + LINE * len(lines) + FOOT + (LINE if item.mark else 0)
    heading = len(name) * NAME_CHARACTER + (len(tag) + TAG_GAP) * CHARACTER if tag else len(name) * NAME_CHARACTER
    width = max(heading, *(len(line) * CHARACTER for line in (*lines, mark))) + 2 * inset + 8
    if shape == "diamond":
        height = DIAMOND_HEIGHT + DIAMOND_LINE * (len(lines) + (1 if mark else 0))
        width = _diamond_width(name, lines, mark, height)
    return Card(shape, name, tag, lines, mark, _tooltip(item), max(WIDTH_MIN, ceil(width)), height, inset)


def wrapped(text: str, lines_max: int) -> tuple[str, ...]:
    """The text in lines: broken where it has blanks, a word longer than a line anywhere; cut where it goes on."""
    return tuple(textwrap.wrap(text, LINE_MAX, max_lines=lines_max, placeholder=" …", break_on_hyphens=False))


def diamond_top(card: Card) -> float:
    """The foot of a diamond's first line, from its middle: all lines together stand in the middle."""
    lines = len(card.lines) + (1 if card.mark else 0)
    return 4 - LINE * lines / 2


def tag_of(node: NamedNode) -> str:
    """What sort of node it is, or what is special about a step, in a word or two."""
    kind = role_of(node) if isinstance(node, StepNode | ChildNode | LockNode) else ""
    special = "" if kind in ("", "compensatable") else "no undo" if kind == "never undone" else kind
    if isinstance(node, StepNode):
        return special
    if isinstance(node, WhenNode):
        return ""
    return f"{kind_of(node)} · {special}" if special else kind_of(node)


def printable(text: str) -> str:
    """XML takes no control characters, and nobody could read them."""
    return "".join(each if each.isprintable() else "�" for each in text)


def _shape(node: NamedNode) -> Shape:
    match node:
        case WhenNode():
            return "diamond"
        case WaitNode():
            return "flag"
        case SleepNode():
            return "pill"
        case ApprovalNode():
            return "slanted"
        case ChildNode():
            return "nested"
        case LockNode():
            return "bevelled"
        case _:
            return "box"


def _diamond_width(name: str, lines: tuple[str, ...], mark: str, height: float) -> float:
    """So wide that no line touches its sides: they come nearer the higher or lower a line stands."""
    texts = [len(name) * NAME_CHARACTER, *(len(line) * CHARACTER for line in lines)]
    texts += [len(mark) * CHARACTER] if mark else []
    foot = 4 - LINE * (len(texts) - 1) / 2
    widest = 0.0
    for index, width in enumerate(texts):
        line_foot = foot + LINE * index
        reach = max(abs(line_foot), abs(line_foot - 11))  # 11: the height of a letter.
        widest = max(widest, width / max(0.2, 1 - reach / (height / 2)))
    return widest + 8


def _tooltip(item: CardItem) -> str:
    node = item.node
    said = f"{node.name}: {node.participant}, {node.action}" if isinstance(node, StepNode) else ""
    said = said or f"{node.name}: {what_of(node)}"
    if isinstance(node, StepNode | ChildNode | LockNode):
        said += f"; {node.kind}"
    if isinstance(node, StepNode | ChildNode) and node.kind == "compensatable" and not node.compensation:
        said += f", no compensation: {node.because}"
    return printable(said)


def _cut(name: str) -> str:
    name = printable(name)
    return name if len(name) <= NAME_SHOWN_MAX else name[: NAME_SHOWN_MAX - 1] + "…"
