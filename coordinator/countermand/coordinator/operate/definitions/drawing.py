"""A definition as something to draw: cards, frames around chains, forks, and the edges between them.

Sequences are chains of items. A parallel, a for-each and a scope are frames around chains; a node with branches is a
fork: its card, and below it a chain for each branch. Solid edges lead forward, dashed ones are the way back: what is
compensated, in reverse order.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final, Literal, assert_never

import msgspec

from countermand.coordinator.operate.definitions.words import saga_facts, value_text
from countermand.coordinator.operate.node_stories import NodeStory
from countermand.coordinator.operate.step_stories import StepStory
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    Definition,
    ForEachNode,
    LockNode,
    NamedNode,
    Node,
    ParallelNode,
    ScopeNode,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.identifiers import step_name

# How a step of one saga stands; `plain` where no saga is drawn or it hasn't come to the step.
State = Literal["plain", "running", "done", "failed", "undoing", "undone", "trouble", "skipped"]
FrameKind = Literal["parallel", "for_each", "scope"]

GOES_ON: Final = "goes on"

_DO: Mapping[str, State] = {
    "asked": "running",
    "waiting": "running",
    "succeeded": "done",
    "rejected": "failed",
    "not_done": "failed",
    "unknown": "failed",
    "exhausted": "trouble",
    "skipped": "skipped",
}
_UNDO: Mapping[str, State] = {
    "asked": "undoing",
    "waiting": "undoing",
    "succeeded": "undone",
    "settled": "undone",
    "rejected": "trouble",
    "exhausted": "trouble",
    "skipped": "skipped",
}
# Of waits, sleeps and approvals, and which branch a condition took.
_NODE: Mapping[str, State] = {
    "open": "running",
    "met": "done",
    "missed": "failed",
    "approved": "done",
    "denied": "failed",
    "timed_out": "failed",
    "dropped": "skipped",
    "then": "done",
    "otherwise": "done",
}
# Of several items of a for-each, the card has the colour of the one that needs the reader most.
_URGENCY: Final[tuple[State, ...]] = (
    "trouble",
    "failed",
    "undoing",
    "running",
    "undone",
    "skipped",
    "done",
    "plain",
)


class Mark(msgspec.Struct, frozen=True):
    """How a step stands, and the words for it."""

    state: State
    words: str


class CardItem(msgspec.Struct, frozen=True):
    """A node with a name; `id` is unique in the drawing and safe in any notation."""

    id: str
    node: NamedNode
    mark: Mark | None = None


class NoteItem(msgspec.Struct, frozen=True):
    """A branch in which nothing is done."""

    id: str
    text: str = GOES_ON


class FrameItem(msgspec.Struct, frozen=True):
    """Chains side by side in a box; a for-each and a scope have one."""

    id: str
    kind: FrameKind
    title: str
    branches: tuple["Chain", ...]


class Branch(msgspec.Struct, frozen=True):
    """A way on from a fork, and in a word when it is taken."""

    label: str
    chain: "Chain"


class ForkItem(msgspec.Struct, frozen=True):
    """A node after which one of several chains is run."""

    id: str
    head: CardItem
    branches: tuple[Branch, ...]


Item = CardItem | NoteItem | FrameItem | ForkItem
Chain = tuple[Item, ...]


class Edge(msgspec.Struct, frozen=True):
    """From one item's id to another's."""

    source: str
    target: str


class Drawing(msgspec.Struct, frozen=True):
    """A whole definition. `facts` hold for all of it; `back` are the edges of compensation."""

    title: str
    facts: tuple[str, ...]
    chain: Chain
    forward: tuple[Edge, ...]
    back: tuple[Edge, ...]


def drawing(definition: Definition, marks: Mapping[str, Mark] | None = None, *, title: str = "") -> Drawing:
    """What there is to draw; with `marks`, how each node stands, by its name."""
    chain = _Numbered(marks or {}).chain(definition.root)
    pairs = list(_pairs(chain, past_pivot=False))
    return Drawing(
        title=title or definition.label,
        facts=saga_facts(definition),
        chain=chain,
        forward=tuple(Edge(before.id, after.id) for before, after, _ in pairs),
        back=tuple(Edge(after.id, before.id) for before, after, undone in pairs if undone),
    )


def mark_of(story: StepStory) -> Mark:
    """How a step of a saga stands: by its compensation, once that is asked for."""
    undo = story.undo
    if undo is not None and undo.status in _UNDO:
        return Mark(_UNDO[undo.status], undo.words)
    return Mark(_DO.get(story.do.status, "plain"), story.do.words)


def marks_of(steps: Iterable[StepStory], nodes: Iterable[NodeStory] = ()) -> dict[str, Mark]:
    """How each node stands, by the definition's name for it; those of a for-each are counted."""
    marks: dict[str, list[Mark]] = {}
    for step in steps:
        marks.setdefault(step_name(step.step), []).append(mark_of(step))
    for node in nodes:
        lane = node.lane
        marks.setdefault(step_name(node.name), []).append(Mark(_NODE.get(lane.status, "plain"), lane.words))
    return {name: _together(each) for name, each in marks.items()}


def items(chain: Chain) -> Iterator[Item]:
    """Every item, frames and forks before what is in them."""
    for item in chain:
        yield item
        match item:
            case FrameItem(branches=chains):
                for inner in chains:
                    yield from items(inner)
            case ForkItem(head=head, branches=branches):
                yield head
                for branch in branches:
                    yield from items(branch.chain)


def cards(chain: Chain) -> list[CardItem]:
    """Every card, in the order of writing."""
    return [item for item in items(chain) if isinstance(item, CardItem)]


class _Numbered:
    def __init__(self, marks: Mapping[str, Mark]) -> None:
        self._marks = marks
        self._count = 0

    def chain(self, node: Node) -> Chain:
        match node:
            case SequenceNode(nodes=children):
                return tuple(item for child in children for item in self.chain(child))
            case ParallelNode(branches=branches):
                return (self._frame("parallel", "parallel", *branches),)
            case ForEachNode(body=body):
                return (self._frame("for_each", _loop_title(node), body),)
            case ScopeNode(body=body):
                return (self._frame("scope", f"scope {node.name}: undone alone", body),)
            case WhenNode():
                return (self._fork(node, ("holds", node.then), ("otherwise", node.otherwise)),)
            case WaitNode(on_timeout=branch) if branch is not None:
                return (self._fork(node, ("came", None), ("timed out", branch)),)
            case ApprovalNode(otherwise=branch) if branch is not None:
                return (self._fork(node, ("approved", None), ("otherwise", branch)),)
            case StepNode() | WaitNode() | SleepNode() | ApprovalNode() | ChildNode() | LockNode():
                return (self._card(node),)
            case _:
                assert_never(node)

    def _card(self, node: NamedNode) -> CardItem:
        return CardItem(self._id("s"), node, self._marks.get(node.name))

    def _frame(self, kind: FrameKind, title: str, *bodies: Node) -> FrameItem:
        return FrameItem(self._id("g"), kind, title, tuple(self.chain(body) for body in bodies))

    def _fork(self, node: NamedNode, *branches: tuple[str, Node | None]) -> ForkItem:
        id_, head = self._id("g"), self._card(node)
        return ForkItem(id_, head, tuple(Branch(label, self._branch(body)) for label, body in branches))

    def _branch(self, node: Node | None) -> Chain:
        return (self.chain(node) if node is not None else ()) or (NoteItem(self._id("n")),)

    def _id(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"


def _loop_title(node: ForEachNode) -> str:
    return f"{node.name}: for each ({node.concurrency} at once) of {value_text(node.items)}"


def _together(marks: list[Mark]) -> Mark:
    if len(marks) == 1:
        return marks[0]
    counts: dict[str, int] = {}
    for mark in marks:
        counts[mark.words] = counts.get(mark.words, 0) + 1
    said = "; ".join(f"{count:,} {words}" for words, count in counts.items())
    return Mark(min((mark.state for mark in marks), key=_URGENCY.index), said)


def _pairs(chain: Chain, *, past_pivot: bool) -> Iterator[tuple[Item, Item, bool]]:
    """Neighbours in a chain and in all chains inside it, and whether a way back leads from the later one."""
    to_undo, past = False, past_pivot
    for before, after in pairwise(chain):
        to_undo = to_undo or any(map(_undoable, cards((before,))))
        past = past or _decides(before)
        yield before, after, to_undo and not past and _turns_back(after)
    past = past_pivot
    for item in chain:
        inner = item.branches if isinstance(item, FrameItem) else _chains(item)
        for branch in inner:
            yield from _pairs(branch, past_pivot=past)
        past = past or _decides(item)


def _chains(item: Item) -> tuple[Chain, ...]:
    return tuple(branch.chain for branch in item.branches) if isinstance(item, ForkItem) else ()


def _undoable(item: CardItem) -> bool:
    node = item.node
    return isinstance(node, StepNode | ChildNode) and node.kind == "compensatable" and node.compensation


def _decides(item: Item) -> bool:
    return any(_kind(each) == "pivot" for each in cards((item,)))


def _turns_back(item: Item) -> bool:
    """Whether a saga can still turn back here: not in what is done after the pivot."""
    return any(_kind(each) != "retriable" for each in cards((item,)))


def _kind(item: CardItem) -> str | None:
    return item.node.kind if isinstance(item.node, StepNode | ChildNode | LockNode) else None
