"""A saga's nodes in lines, nested as the definition is written; what is in a loop is counted, or told item by item."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from countermand.coordinator.core.plan import Spot
from countermand.coordinator.operate.definitions.words import branch_text, kind_of
from countermand.coordinator.operate.node_stories import NodeStory, node_story
from countermand.coordinator.operate.step_stories import LaneStory, StepStory, step_story
from countermand.coordinator.operate.timeline import Span
from countermand.coordinator.operate.view import View
from countermand.schemas.definition import (
    ForEachNode,
    Node,
    ParallelNode,
    SequenceNode,
    StepNode,
    children_of,
)
from countermand.schemas.errors import InvariantViolated

# Of what is wrong in a loop, so many items are told one by one: whoever wants more asks for the items.
TROUBLED_SHOWN: Final = 5
# Where items are told one by one, so many at most: nobody reads more.
ITEMS_SHOWN: Final = 200

# Of the items of a loop, what is said of each, by how its step stands. The order is that of telling.
_COUNTED: Final[dict[tuple[str, str], str]] = {
    ("do", "succeeded"): "done",
    ("do", "skipped"): "skipped",
    ("undo", "succeeded"): "undone",
    ("undo", "settled"): "undone by hand",
    ("undo", "skipped"): "undo skipped",
    ("do", "asked"): "out",
    ("do", "waiting"): "to be tried again",
    ("undo", "asked"): "being undone",
    ("undo", "waiting"): "undo to be tried again",
    ("undo", "not_yet"): "to be undone",
    ("do", "rejected"): "rejected",
    ("do", "not_done"): "given up",
    ("do", "unknown"): "in doubt",
    ("do", "exhausted"): "need you",
    ("undo", "rejected"): "undo refused",
    ("undo", "exhausted"): "undo needs you",
    ("do", "not_yet"): "to come",
    ("do", "not_taken"): "not taken",
    ("do", "never"): "never asked for",
}
_TROUBLED: Final = {
    ("do", "waiting"),
    ("do", "rejected"),
    ("do", "not_done"),
    ("do", "unknown"),
    ("do", "exhausted"),
    ("undo", "waiting"),
    ("undo", "rejected"),
    ("undo", "exhausted"),
}
# The same of nodes that are no steps; the other statuses are words already.
_NODE_COUNTED: Final = {
    "not_yet": "to come",
    "never": "never reached",
    "undoing": "being undone",
    "missed": "in vain",
    "dropped": "given up",
}
_ABSENT: Final = ("not_yet", "never", "not_taken")

LineSort = Literal["node", "undo", "probe", "label"]


class Line(msgspec.Struct, frozen=True):
    """One line. `step` and `node` are what it is about, null for a label and for what stands for many items."""

    depth: int
    name: str
    sort: LineSort
    lane: LaneStory
    step: StepStory | None = None
    node: NodeStory | None = None


def tree(view: View, steps: Mapping[str, StepStory], nodes: Mapping[str, NodeStory], *, items: bool) -> list[Line]:
    """Every node in the order of writing; with `items`, each item of a loop by itself."""
    return list(_Telling(view, steps, nodes, items=items).lines(view.plan.root, "", 0))


class _Telling:
    def __init__(
        self, view: View, steps: Mapping[str, StepStory], nodes: Mapping[str, NodeStory], *, items: bool
    ) -> None:
        self._view = view
        self._steps = steps
        self._nodes = nodes
        self._items = items

    def lines(self, spot: Spot, place: str | None, depth: int) -> Iterator[Line]:
        """What there is to say of a spot in one place; in all of its places at once, if that is null."""
        if isinstance(spot.node, SequenceNode):
            for child in spot.children:
                yield from self.lines(child, place, depth)
            return
        if isinstance(spot.node, ParallelNode):
            yield _label(depth, "side by side")
            for child in spot.children:
                several = isinstance(child.node, SequenceNode) and len(child.children) > 1
                if several:
                    yield _label(depth + 1, "one after another")
                yield from self.lines(child, place, depth + 1 + several)
            return
        if place is None:
            yield from self._of_all(spot, depth)
        elif spot.step is not None:
            yield from _of_step(self._step(spot, place), depth)
        else:
            node = self._node(spot, place)
            yield Line(depth, node.name, "node", _kind_first(spot.node, node.lane), node=node)
        yield from self._inside(spot, place, depth + 1)

    def _inside(self, spot: Spot, place: str | None, depth: int) -> Iterator[Line]:
        if isinstance(spot.node, ForEachNode):
            yield from self._body(spot, place, depth)
            return
        for child, (at, _) in zip(spot.children, children_of(spot.node), strict=True):
            label = branch_text(spot.node, at)
            if not label:
                yield from self.lines(child, place, depth)
                continue
            if place is not None and self._is_not_taken(child, place):
                yield _label(depth, f"{label}: not taken")
                continue
            yield _label(depth, f"{label}:")
            yield from self.lines(child, place, depth + 1)

    def _body(self, spot: Spot, place: str | None, depth: int) -> Iterator[Line]:
        body = spot.children[0]
        node = None if place is None else self._node(spot, place)
        if not self._items or node is None or node.items is None:
            yield from self.lines(body, None, depth)
            return
        for index in range(min(node.items, ITEMS_SHOWN)):
            yield _label(depth, f"[{index}]")
            yield from self.lines(body, f"{place}[{index}]", depth + 1)
        if node.items > ITEMS_SHOWN:
            yield _label(depth, f"and {node.items - ITEMS_SHOWN:,} more items, see --output json")

    def _of_all(self, spot: Spot, depth: int) -> Iterator[Line]:
        places = self._view.places(spot)
        if not places:
            lane = node_story(self._view, spot, "").lane if spot.step is None else None
            yield Line(depth, spot.name, "node", lane or step_story(self._view, spot, _step(spot), "").do)
            return
        if spot.step is None:
            yield Line(depth, spot.name, "node", self._counted_nodes(spot, places))
            return
        stories = [self._step(spot, place) for place in places]
        yield Line(depth, spot.name, "node", _counted_steps(stories))
        troubled = [each for each in stories if _standing(each) in _TROUBLED]
        stuck = self._view.state.stuck
        troubled.sort(key=lambda each: stuck is None or each.step != stuck.step)
        for each in troubled[:TROUBLED_SHOWN]:
            yield from _of_step(each, depth + 1)
        if len(troubled) > TROUBLED_SHOWN:
            yield _label(depth + 1, f"and {len(troubled) - TROUBLED_SHOWN:,} more of these, see --items")

    def _counted_nodes(self, spot: Spot, places: list[str]) -> LaneStory:
        lanes = [self._node(spot, place).lane for place in places]
        if isinstance(spot.node, ForEachNode):
            opened = sum(self._node(spot, place).items or 0 for place in places)
            return LaneStory("opened" if opened else lanes[0].status, f"for each, {opened:,} items in all")
        words = Counter(_NODE_COUNTED.get(each.status, each.status.replace("_", " ")) for each in lanes)
        status = "open" if any(each.status == "open" for each in lanes) else lanes[-1].status
        return LaneStory(status, _listed([*words.items()], len(lanes)), spans=_together(lanes))

    def _is_not_taken(self, branch: Spot, place: str) -> bool:
        first = _first_named(branch)
        return first is not None and not self._known_in(first, place) and self._view.absent(first, place) == "not_taken"

    def _known_in(self, spot: Spot, place: str) -> bool:
        return spot.ref(place) in self._view.state.steps or spot.ref(place) in self._view.state.marks

    def _step(self, spot: Spot, place: str) -> StepStory:
        return self._steps.get(spot.ref(place)) or step_story(self._view, spot, _step(spot), place)

    def _node(self, spot: Spot, place: str) -> NodeStory:
        return self._nodes.get(spot.ref(place)) or node_story(self._view, spot, place)


def _of_step(story: StepStory, depth: int) -> Iterator[Line]:
    name = f"{story.step} (pivot)" if story.kind == "pivot" else story.step
    yield Line(depth, name, "node", story.do, step=story)
    if story.probe is not None:
        yield Line(depth + 1, "probe", "probe", story.probe, step=story)
    if story.undo is not None:
        yield Line(depth + 1, "undo", "undo", story.undo, step=story)


def _standing(story: StepStory) -> tuple[str, str]:
    return ("do", story.do.status) if story.undo is None else ("undo", story.undo.status)


def _counted_steps(stories: list[StepStory]) -> LaneStory:
    standing = Counter(map(_standing, stories))
    found = [(words, standing[at]) for at, words in _COUNTED.items() if standing[at]]
    every = [lane for story in stories for lane in (story.do, story.undo) if lane is not None]
    # The colour of the line is that of the worst; after that, of what is still going on.
    worst = [status for way, status in reversed(_COUNTED) if (way, status) in _TROUBLED and standing[way, status]]
    going_on = [status for way, status in _COUNTED if status in ("asked", "not_yet") and standing[way, status]]
    status = [*worst, *going_on, stories[0].do.status][0]
    return LaneStory(status, _listed(found, len(stories)), spans=_together(every))


def _listed(found: list[tuple[str, int]], total: int) -> str:
    """`87 of 100 done, 3 out, 10 to come`."""
    (words, count), *rest = found
    first = f"all {total:,} {words}" if count == total > 1 else f"{count:,} of {total:,} {words}"
    return ", ".join((first, *(f"{number:,} {what}" for what, number in rest)))


def _together(lanes: list[LaneStory]) -> tuple[Span, ...]:
    """One span from the first beginning to the last end: of many items more can't be drawn in one line."""
    every = [span for lane in lanes for span in lane.spans]
    if not every:
        return ()
    ends = [span.to_ms for span in every if span.to_ms is not None]
    lasts = len(ends) < len(every) or any(lane.status == "not_yet" for lane in lanes)
    from_ms = min(span.from_ms for span in every)
    return (Span("wait", 0, from_ms, None if lasts else max(ends)),)


def _kind_first(node: Node, lane: LaneStory) -> LaneStory:
    """What sort of node it is, where its words alone don't say so."""
    kind = kind_of(node)
    if lane.status not in _ABSENT and kind not in ("for each", "scope"):
        return lane
    words = f"{kind}{':' if kind != 'scope' else ''} {lane.words}".rstrip()
    return msgspec.structs.replace(lane, words=words)


def _label(depth: int, text: str) -> Line:
    return Line(depth, text, "label", LaneStory("label", ""))


def _step(spot: Spot) -> StepNode:
    if spot.step is None:
        raise InvariantViolated(f"{spot.name} is no step")
    return spot.step


def _first_named(spot: Spot) -> Spot | None:
    if spot.name:
        return spot
    return next((found for child in spot.children if (found := _first_named(child)) is not None), None)
