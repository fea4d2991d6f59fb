"""Definitions drawn: every step stands somewhere, nothing overlaps, and no text becomes markup."""

import re
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.definitions import plans
from countermand.coordinator.operate.definitions.drawing import (
    CardItem,
    Drawing,
    ForkItem,
    FrameItem,
    Item,
    Mark,
    NoteItem,
    cards,
    drawing,
    items,
    mark_of,
)
from countermand.coordinator.operate.definitions.layout import Box, layout
from countermand.coordinator.operate.definitions.mermaid import mermaid
from countermand.coordinator.operate.definitions.svg import svg
from countermand.coordinator.operate.step_stories import LaneStory, StepStory
from countermand.schemas.definition import Definition, SequenceNode, StepNode, decode_definition
from definitions.trees import trees
from schemas.documents import document, parallel, sequence, step

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*nodes: dict[str, Any]) -> Drawing:
    return drawing(decode_definition(msgspec.json.encode(document(*nodes))))


ORDER = (
    step("reserve"),
    parallel(sequence(step("pay"), step("check", compensation=False, because="reads")), parallel(step("x"), step("y"))),
    step("capture", kind="pivot"),
    step("ship", kind="retriable"),
)


def names(found: Drawing) -> dict[str, str]:
    """What an id stands for."""
    return {each.id: name_of(each) for each in items(found.chain)}


def name_of(item: Item) -> str:
    match item:
        case CardItem(node=node):
            return node.name
        case FrameItem(title=title):
            return title.partition(":")[0]
        case ForkItem(head=head):
            return f"fork {head.node.name}"
        case NoteItem(text=text):
            return text


def test_edges_forward_and_back() -> None:
    """Back leads what is compensated, in reverse order: from the pivot, over what can't be undone, never after it."""
    found = drawn(*ORDER)
    named = names(found)
    assert [(named[each.source], named[each.target]) for each in found.forward] == [
        ("reserve", "parallel"),
        ("parallel", "capture"),
        ("capture", "ship"),
        ("pay", "check"),
    ]
    assert [(named[each.source], named[each.target]) for each in found.back] == [
        ("parallel", "reserve"),
        ("capture", "parallel"),
        ("check", "pay"),
    ]
    nothing = drawn(step("look", compensation=False, because="reads"), step("a"), step("b"))
    named = names(nothing)
    assert [(named[each.source], named[each.target]) for each in nothing.back] == [("b", "a")]


def test_mermaid() -> None:
    """Solid and dashed edges, the pivot in another shape, a box for a parallel, ids that are no words of Mermaid's."""
    text = mermaid(drawn(*ORDER, step("end", kind="retriable", action="other")))
    assert text.startswith('---\ntitle: "order@1"\n---\nflowchart TD\n')
    assert '    s1["<b>reserve</b><br/>shop"]\n    subgraph g2["parallel"]\n        direction TB\n' in text
    assert '{{"<b>capture</b><br/>shop<br/>pivot"}}' in text
    assert '["<b>check</b><br/>shop<br/>no compensation"]' in text
    assert '["<b>end</b><br/>shop · other<br/>retriable"]' in text
    assert "    s1 --> g2\n" in text
    assert '    s1 -. "undo ↑" .- g2\n' in text


EVIL = '</text><script>alert("1")</script>&]{}|#`;\n%%{init}'


def test_text_never_becomes_markup() -> None:
    """An unsound definition can be drawn too, whatever its names are."""
    node = StepNode(EVIL, EVIL, "a", compensation=False, because=EVIL)
    found = drawing(Definition(1, "x", 1, SequenceNode((node,))), {EVIL: Mark("done", EVIL)}, title=EVIL)
    text = svg(found)
    assert "<script" not in text
    ElementTree.fromstring(text)  # noqa: S314  our own text
    chart = mermaid(found)
    assert "<script" not in chart
    assert "%%" not in chart
    assert len(chart.splitlines()) == 7
    [label] = re.findall(r'\["(.*)"\]', chart)
    assert not set('"`') & set(label)


def test_the_state_of_a_saga_is_said_in_words_and_colour() -> None:
    """Each status of a step has a state; what is compensated is drawn by its compensation."""

    def told(do: str, undo: str | None = None) -> Mark:
        lane = None if undo is None else LaneStory(undo, f"words of undo {undo}")
        return mark_of(StepStory("a", "p", "a", "compensatable", LaneStory(do, f"words of {do}"), lane))

    assert told("succeeded", "not_yet") == Mark("done", "words of succeeded")
    assert told("succeeded", "asked") == Mark("undoing", "words of undo asked")
    assert told("unknown", "succeeded").state == "undone"
    assert told("succeeded", "exhausted").state == "trouble"
    assert told("exhausted").state == "trouble"
    assert told("not_yet").state == "plain"
    marks = {"a": told("succeeded", "asked"), "b": told("rejected")}
    found = drawing(decode_definition(msgspec.json.encode(document(step("a"), step("b")))), marks)
    text = svg(found)
    assert "words of undo asked" in text
    assert 'class="step undoing"' in text
    assert 'class="step failed"' in text
    assert "class s1 undoing" in mermaid(found)


def long_saga(count: int) -> Drawing:
    return drawn(*(step(f"s{n}") for n in range(count)), parallel(*(step(f"p{n}") for n in range(count % 11))))


DRAWINGS: st.SearchStrategy[Drawing] = st.one_of(
    trees().map(drawing), plans().map(lambda plan: drawing(plan.definition)), st.integers(1, 80).map(long_saga)
)


@given(DRAWINGS)
def test_everything_has_a_place_of_its_own(found: Drawing) -> None:
    """Steps overlap nothing, groups hold their branches, and all of it lies inside the picture."""
    placed = layout(found, 24, 68)
    everything = list(items(found.chain))
    assert set(placed.boxes) == {each.id for each in everything}
    _check(found.chain, placed.boxes, None)
    for box in placed.boxes.values():
        assert 24 <= box.left <= box.right <= placed.right
        assert 68 <= box.top <= box.bottom <= placed.bottom


def _check(siblings: tuple[Item, ...], boxes: dict[str, Box], outer: Box | None) -> None:
    for index, item in enumerate(siblings):
        box = boxes[item.id]
        assert outer is None or _inside(box, outer)
        assert not any(_overlap(box, boxes[other.id]) for other in siblings[index + 1 :])
        match item:
            case FrameItem(branches=chains):
                _check(tuple(each for chain in chains for each in chain), boxes, box)
            case ForkItem(head=head, branches=branches):
                _check((head, *(each for branch in branches for each in branch.chain)), boxes, box)


def _inside(box: Box, outer: Box) -> bool:
    return outer.left < box.left and box.right < outer.right and outer.top < box.top and box.bottom < outer.bottom


def _overlap(one: Box, other: Box) -> bool:
    apart = one.right <= other.left or other.right <= one.left or one.bottom <= other.top or other.bottom <= one.top
    return not apart


@given(DRAWINGS)
def test_a_picture_is_whole_and_stands_alone(found: Drawing) -> None:
    """Well formed, each step and each edge in it, light and dark, and nothing fetched from anywhere."""
    root = ElementTree.fromstring(svg(found))  # noqa: S314  our own text
    assert [each.text for each in root.iter(f"{SVG}text") if each.get("class") == "name"] == [
        each.node.name for each in cards(found.chain)
    ]
    lines = [each.get("class") for each in root.iter(f"{SVG}path")]
    # One of each kind is the legend's.
    assert (lines.count("forward"), lines.count("back")) == (len(found.forward) + 1, len(found.back) + 1)
    assert lines.count("way") == sum(len(each.branches) for each in items(found.chain) if isinstance(each, ForkItem))
    style = next(root.iter(f"{SVG}style")).text or ""
    assert "prefers-color-scheme:dark" in style
    assert "url(" not in style
    assert not any(name.endswith(("href", "src")) for each in root.iter() for name in each.attrib)


@pytest.mark.parametrize("count", [3, 60, 500])
def test_a_long_saga_goes_on_in_columns(count: int) -> None:
    """No picture is taller than two screens, and the first column begins where the eye does."""
    placed = layout(drawn(*(step(f"s{n}") for n in range(count))), 0, 0)
    assert placed.bottom < 1_300
    assert placed.boxes["s1"].top == placed.boxes["s1"].left == 0
