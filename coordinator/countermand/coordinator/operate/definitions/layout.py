"""Where everything of a drawing stands, in pixels.

A chain runs downwards, its items centred below each other; a frame holds its branches side by side, in rows, and a
fork below its card, in one row. So every edge is a straight line between neighbours, or a bend from a fork's card. A
chain that would get too tall goes on in the next column.
"""

from math import ceil
from typing import Final, assert_never

import msgspec

from countermand.coordinator.operate.definitions.cards import CHARACTER, PADDING, WIDTH_MIN, card_of
from countermand.coordinator.operate.definitions.drawing import (
    CardItem,
    Chain,
    Drawing,
    ForkItem,
    FrameItem,
    Item,
    NoteItem,
    cards,
)

GAP: Final = 38  # Room for the arrow heads of both directions.
FORK_GAP: Final = 54  # Room for the bend, the label and the arrow head.
COLUMN_GAP: Final = 64
BRANCH_GAP: Final = 20
TITLE: Final = 20  # A frame's title.
TITLE_SHOWN_MAX: Final = 64
NOTE_WIDTH: Final = 176  # Room for the label of its branch, too.
NOTE_HEIGHT: Final = 24
BRANCHES_A_ROW_MAX: Final = 4  # A screen's width of steps.
COLUMN_HEIGHT_MAX: Final = 1_100  # About a screen and a half; what is shorter than that stays in one column.


class Box(msgspec.Struct, frozen=True):
    """Where an item stands: its left upper corner and its size."""

    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def right(self) -> float:
        return self.left + self.width


class Layout(msgspec.Struct, frozen=True):
    """The boxes by item id, and where it all ends on the right and at the bottom.

    `gutters` has the middle of the room to the left of a column, by the id of the first item in it.
    """

    boxes: dict[str, Box]
    right: float
    bottom: float
    gutters: dict[str, float]


def layout(drawing: Drawing, left: float, top: float) -> Layout:
    """Places everything, the left upper corner at the given point."""
    placing = _Placing(_card_width(drawing.chain))
    columns = placing.columns(drawing.chain)
    x, bottom = left, top
    gutters: dict[str, float] = {}
    for column in columns:
        width, height = placing.chain_size(column)
        placing.place(column, x, top, width)
        gutters[column[0].id] = x - COLUMN_GAP / 2
        x += width + COLUMN_GAP
        bottom = max(bottom, top + height)
    return Layout(placing.boxes, x - COLUMN_GAP if columns else left, bottom, gutters)


def title_of(frame: FrameItem) -> str:
    """A frame's title, cut to what fits."""
    title = frame.title
    return title if len(title) <= TITLE_SHOWN_MAX else title[: TITLE_SHOWN_MAX - 1] + "…"


class _Placing:
    def __init__(self, card_width: float) -> None:
        self._card_width = card_width
        self._sizes: dict[str, tuple[float, float]] = {}
        self.boxes: dict[str, Box] = {}

    def columns(self, chain: Chain) -> list[Chain]:
        """The chain in parts of about the same height."""
        heights = [self._size(item)[1] + GAP for item in chain]
        count = -(-int(sum(heights)) // COLUMN_HEIGHT_MAX)
        target = sum(heights) / max(1, count)
        columns: list[list[Item]] = []
        filled = target
        for item, height in zip(chain, heights, strict=True):
            if filled + height / 2 > target:
                columns.append([])
                filled = 0
            columns[-1].append(item)
            filled += height
        return [tuple(column) for column in columns]

    def chain_size(self, chain: Chain) -> tuple[float, float]:
        sizes = [self._size(item) for item in chain]
        height = sum(height for _, height in sizes) + GAP * max(0, len(sizes) - 1)
        return max((width for width, _ in sizes), default=0), height

    def place(self, chain: Chain, left: float, top: float, width: float) -> None:
        """Puts a chain into a space of this width."""
        for item in chain:
            own_width, own_height = self._size(item)
            box = Box(left + (width - own_width) / 2, top, own_width, own_height)
            self.boxes[item.id] = box
            match item:
                case FrameItem():
                    self._place_frame(item, box)
                case ForkItem():
                    self._place_fork(item, box)
            top += own_height + GAP

    def _place_frame(self, frame: FrameItem, box: Box) -> None:
        top = box.top + PADDING + TITLE
        for row in _rows(frame):
            top += self._place_row(row, box, top) + BRANCH_GAP

    def _place_fork(self, fork: ForkItem, box: Box) -> None:
        top = box.top + PADDING
        self.place((fork.head,), box.left, top, box.width)
        top += self._size(fork.head)[1] + FORK_GAP
        self._place_row([branch.chain for branch in fork.branches], box, top)

    def _place_row(self, row: list[Chain], box: Box, top: float) -> float:
        """Puts chains side by side into the middle of a box; answers how tall they are."""
        sizes = [self.chain_size(branch) for branch in row]
        x = box.left + (box.width - _row_width(sizes)) / 2
        for branch, (width, _) in zip(row, sizes, strict=True):
            self.place(branch, x, top, width)
            x += width + BRANCH_GAP
        return max(height for _, height in sizes)

    def _size(self, item: Item) -> tuple[float, float]:
        if item.id not in self._sizes:
            self._sizes[item.id] = self._measured(item)
        return self._sizes[item.id]

    def _measured(self, item: Item) -> tuple[float, float]:
        match item:
            case CardItem():
                card = card_of(item)
                return card.width if card.shape == "diamond" else self._card_width, card.height
            case NoteItem():
                return NOTE_WIDTH, NOTE_HEIGHT
            case FrameItem():
                return self._frame_size(item)
            case ForkItem():
                width, height = self._size(item.head)
                sizes = [self.chain_size(branch.chain) for branch in item.branches]
                below = max(height for _, height in sizes)
                return max(width, _row_width(sizes)) + 2 * PADDING, height + FORK_GAP + below + 2 * PADDING
            case _:
                assert_never(item)

    def _frame_size(self, frame: FrameItem) -> tuple[float, float]:
        rows = [[self.chain_size(branch) for branch in row] for row in _rows(frame)]
        widths = [_row_width(row) for row in rows]
        heights = [max(height for _, height in row) for row in rows]
        inner = sum(heights) + BRANCH_GAP * max(0, len(rows) - 1)
        width = max(max(widths, default=self._card_width), ceil(len(title_of(frame)) * CHARACTER))
        return width + 2 * PADDING, inner + 2 * PADDING + TITLE


def _row_width(sizes: list[tuple[float, float]]) -> float:
    return sum(width for width, _ in sizes) + BRANCH_GAP * (len(sizes) - 1)


def _rows(frame: FrameItem) -> list[list[Chain]]:
    branches = frame.branches
    count = -(-len(branches) // BRANCHES_A_ROW_MAX)
    length = -(-len(branches) // count) if count else 1
    return [list(branches[index : index + length]) for index in range(0, len(branches), length)]


def _card_width(chain: Chain) -> float:
    """All cards are as wide as the widest; only a diamond has a width of its own."""
    widths = [card.width for card in map(card_of, cards(chain)) if card.shape != "diamond"]
    return max(widths, default=WIDTH_MIN)
