"""Where everything of a drawing stands, in pixels.

A chain runs downwards, its items centred below each other; a group holds its branches side by side, in rows. So every
edge is a straight line between neighbours. A chain that would get too tall goes on in the next column.
"""

from typing import Final

import msgspec

from countermand.coordinator.operate.definitions.drawing import Chain, Drawing, GroupItem, Item, StepItem

STEP_HEIGHT: Final = 52
MARK_HEIGHT: Final = 16  # The line that says how a step stands.
GAP: Final = 38  # Room for the arrow heads of both directions.
COLUMN_GAP: Final = 64
BRANCH_GAP: Final = 20
PADDING: Final = 16
GROUP_TITLE: Final = 20
BRANCHES_A_ROW_MAX: Final = 4  # A screen's width of steps.
COLUMN_HEIGHT_MAX: Final = 1_100  # About a screen and a half; what is shorter than that stays in one column.
STEP_WIDTH_MIN: Final = 170
CHARACTER_WIDTH: Final = 8.2  # Of bold text in the widest of the usual fonts.
NAME_SHOWN_MAX: Final = 34  # A longer name is cut; the whole of it is in the tooltip.


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
    placing = _Placing(_step_width(drawing.chain))
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


class _Placing:
    def __init__(self, step_width: float) -> None:
        self._step_width = step_width
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
            if isinstance(item, GroupItem):
                self._place_branches(item, box)
            top += own_height + GAP

    def _place_branches(self, group: GroupItem, box: Box) -> None:
        top = box.top + PADDING + GROUP_TITLE
        for row in _rows(group):
            sizes = [self.chain_size(branch) for branch in row]
            x = box.left + (box.width - sum(width for width, _ in sizes) - BRANCH_GAP * (len(row) - 1)) / 2
            for branch, (width, _) in zip(row, sizes, strict=True):
                self.place(branch, x, top, width)
                x += width + BRANCH_GAP
            top += max(height for _, height in sizes) + BRANCH_GAP

    def _size(self, item: Item) -> tuple[float, float]:
        if item.id not in self._sizes:
            self._sizes[item.id] = self._measured(item)
        return self._sizes[item.id]

    def _measured(self, item: Item) -> tuple[float, float]:
        match item:
            case StepItem(mark=mark):
                return self._step_width, STEP_HEIGHT + (MARK_HEIGHT if mark else 0)
            case GroupItem():
                rows = [[self.chain_size(branch) for branch in row] for row in _rows(item)]
                widths = [sum(width for width, _ in row) + BRANCH_GAP * (len(row) - 1) for row in rows]
                heights = [max(height for _, height in row) for row in rows]
                inner = sum(heights) + BRANCH_GAP * max(0, len(rows) - 1)
                return max(widths, default=self._step_width) + 2 * PADDING, inner + 2 * PADDING + GROUP_TITLE


def _rows(group: GroupItem) -> list[tuple[Chain, ...]]:
    branches = group.branches
    count = -(-len(branches) // BRANCHES_A_ROW_MAX)
    length = -(-len(branches) // count) if count else 1
    return [branches[index : index + length] for index in range(0, len(branches), length)]


def _step_width(chain: Chain) -> float:
    longest = max((_text_length(item) for item in _steps(chain)), default=0)
    return max(STEP_WIDTH_MIN, longest * CHARACTER_WIDTH + 2 * PADDING)


def _steps(chain: Chain) -> list[StepItem]:
    found: list[StepItem] = []
    for item in chain:
        match item:
            case StepItem():
                found.append(item)
            case GroupItem(branches=branches):
                found += [step for branch in branches for step in _steps(branch)]
    return found


def _text_length(item: StepItem) -> float:
    name = min(len(item.step.name), NAME_SHOWN_MAX) + len(tag_of(item)) * 0.9 + (2 if tag_of(item) else 0)
    return max(name, len(below_of(item)) * 0.86, len(item.mark.words) * 0.86 if item.mark else 0)


def tag_of(item: StepItem) -> str:
    """What is special about a step, in a word or two."""
    if item.step.kind != "compensatable":
        return item.step.kind
    return "" if item.step.compensation else "no undo"


def below_of(item: StepItem) -> str:
    """Who carries a step out."""
    step = item.step
    participant, action = step.participant[:NAME_SHOWN_MAX], step.action[:NAME_SHOWN_MAX]
    return participant if step.action == step.name else f"{participant} · {action}"
