"""Every sort of node drawn: its own shape, its branches with the word that says when, and the way back around it."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given

from countermand.coordinator.operate.definitions.cards import CHARACTER, NAME_CHARACTER, PADDING, card_of, diamond_top
from countermand.coordinator.operate.definitions.drawing import (
    Drawing,
    ForkItem,
    FrameItem,
    Mark,
    State,
    cards,
    drawing,
    items,
    marks_of,
)
from countermand.coordinator.operate.definitions.layout import layout, title_of
from countermand.coordinator.operate.definitions.mermaid import mermaid
from countermand.coordinator.operate.definitions.svg import svg
from countermand.coordinator.operate.node_stories import NodeStory
from countermand.coordinator.operate.step_stories import LaneStory, StepStory
from countermand.schemas.definition import Definition
from definitions.showcase import PICTURES, node, path, showcase
from definitions.test_drawing import drawn, names
from definitions.trees import trees
from schemas.documents import sequence, step


def edges(found: Drawing) -> tuple[list[str], list[str]]:
    named = names(found)
    forward = [f"{named[each.source]} > {named[each.target]}" for each in found.forward]
    return forward, [f"{named[each.source]} > {named[each.target]}" for each in found.back]


def test_the_edges_of_every_sort_of_node() -> None:
    """What has branches is one stop on the way, forward and back; after the pivot no way leads back."""
    forward, back = edges(drawing(showcase()))
    assert forward == [
        "hold_customer > reserve_stock",
        "reserve_stock > quotes",
        "quotes > fork is_large",
        "fork is_large > parallel",
        "parallel > release",
        "release > capture_payment",
        "capture_payment > fork picked_up",
        "fork picked_up > send_invoice",
        "ask_quote > fork is_cheap",
        "fork fraud_review > cool_down",
        "authorise_payment > check_risk",
        "reserve_gift > wrap",
    ]
    assert back == [
        "quotes > reserve_stock",
        "fork is_large > quotes",
        "parallel > fork is_large",
        "release > parallel",
        "capture_payment > release",
        "cool_down > fork fraud_review",
        "check_risk > authorise_payment",
        "wrap > reserve_gift",
    ]


def test_branches_say_when_they_are_taken() -> None:
    """A branch in which nothing is done is drawn too: the saga goes on."""
    found = drawing(showcase())
    named = names(found)
    told = {
        each.head.node.name: {branch.label: named[branch.chain[0].id] for branch in each.branches}
        for each in items(found.chain)
        if isinstance(each, ForkItem)
    }
    assert told == {
        "is_cheap": {"holds": "hold_quote", "otherwise": "goes on"},
        "is_large": {"holds": "fork fraud_review", "otherwise": "until_opening"},
        "fraud_review": {"approved": "goes on", "otherwise": "note_refusal"},
        "picked_up": {"came": "goes on", "timed out": "call_carrier"},
    }
    words = re.findall('<text class="label"[^>]*>([^<]*)', svg(found))
    assert sorted(words) == sorted(label for branches in told.values() for label in branches)


@pytest.mark.parametrize(
    ("inner", "shape", "text"),
    [
        (node("when", "x", condition=path("input.a > 1"), then=step("y")), "{", "input.a #gt; 1"),
        (
            node("wait_for", "x", event="paid", deadline_ms=60_000),
            ">",
            "waits for paid<br/>at most 1m, else turns back",
        ),
        (node("wait_for", "x", event="paid", key=path("input.id")), ">", "waits for paid<br/>key input.id"),
        (node("sleep", "x", duration_ms=1_000), "([", "sleeps for 1s"),
        (node("sleep", "x", until=path("input.at")), "([", "sleeps until input.at"),
        (node("approval", "x", role="boss", assignees=["ann"]), "[/", "asks role boss or ann<br/>else turns back"),
        (node("approval", "x", requester=path("input.by")), "[/", "asks nobody<br/>not input.by"),
        (node("child", "x", definition="trip", version=2), "[[", "saga trip@2"),
        (node("child", "x", definition="trip", kind="pivot"), "{{", "saga trip<br/>pivot"),
        (node("child", "x", definition="t", compensation=False), "[[", "saga t<br/>no compensation"),
        (node("lock", "x", lock="order", key=path("input.id")), "[(", "lock order, key input.id<br/>at most 1h"),
        (step("x", on_unknown="probe"), "[", "shop<br/>in doubt: asked what became of it"),
    ],
)
def test_each_sort_has_its_own_shape_in_mermaid(inner: dict[str, object], shape: str, text: str) -> None:
    assert f'{shape}"<b>x</b><br/>{text}' in mermaid(drawn(inner))


def test_frames_in_mermaid() -> None:
    loop = node("for_each", "all", items=path("input.lines"), concurrency=3, body=step("a"))
    text = mermaid(drawn(loop, node("scope", "trip", body=sequence(step("b"), loop | {"name": "more"}))))
    assert 'subgraph g1["all: for each (3 at once) of input.lines"]' in text
    assert 'subgraph g3["scope trip: undone alone"]' in text
    assert text.count("subgraph") == text.count("    end\n") == 3
    fork = mermaid(drawn(node("when", "w", condition=path("input.a"), then=step("a"))))
    assert '    s2 -- "holds" --> s3\n    s2 -- "otherwise" --> n4\n' in fork
    inner = node("approval", "x", otherwise=step("a"))
    assert '    s2 -- "holds" --> s4\n' in mermaid(drawn(node("when", "w", condition=path("input.a"), then=inner)))
    assert fork.endswith("classDef note fill:none,stroke:none\n")


def test_each_sort_has_its_own_shape_in_svg() -> None:
    """A diamond, a flag, a slanted card, one with sides, one without corners, a pill; two sheets for a loop."""
    root = ElementTree.fromstring(svg(drawing(showcase())))  # noqa: S314  our own text
    corners = [len((each.get("points") or "").split()) for each in root.iter() if each.tag.endswith("polygon")]
    assert sorted(corners) == [4, 4, 4, 4, 5, 6]  # Two diamonds, two approvals, a wait, a lock.
    classes = [each.get("class") or "" for each in root.iter()]
    assert classes.count("sides") == 2
    assert classes.count("group for_each") == 2
    assert classes.count("group scope") == 1
    assert classes.count("group fork") == 4
    assert classes.count("step pivot") == 1
    texts = [each.text for each in root.iter() if each.get("class") == "below"]
    assert "deadline 7d; 5 at once for each input.customer.id, waiting up to 1h" in texts


def test_a_child_can_be_the_pivot() -> None:
    found = drawn(step("a"), node("child", "c", definition="d", kind="pivot"), node("wait_for", "w", event="e"))
    assert 'class="step pivot"' in svg(found)
    assert edges(found) == (["a > c", "c > w"], ["c > a"])


def test_items_of_a_loop_are_counted_on_one_card() -> None:
    """The one that needs the reader most gives the colour."""

    def story(step_: str, status: str) -> StepStory:
        return StepStory(step_, "p", "a", "compensatable", LaneStory(status, status))

    marks = marks_of(
        [story("a", "succeeded"), story("b[0]", "asked"), story("b[1]", "succeeded"), story("b[2]", "asked")]
    )
    assert marks == {"a": Mark("done", "succeeded"), "b": Mark("running", "2 asked; 1 succeeded")}
    assert marks_of([story("b[0]", "exhausted"), story("b[1]", "rejected")])["b"].state == "trouble"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("open", "running"),
        ("met", "done"),
        ("missed", "failed"),
        ("approved", "done"),
        ("denied", "failed"),
        ("timed_out", "failed"),
        ("dropped", "skipped"),
        ("otherwise", "done"),
        ("not_taken", "plain"),
    ],
)
def test_waits_approvals_and_conditions_say_how_they_stand(status: str, state: State) -> None:
    told = marks_of([], [NodeStory("w[3]", "wait_for", LaneStory(status, f"words of {status}"))])
    assert told == {"w": Mark(state, f"words of {status}")}


@given(trees())
def test_every_text_fits_on_its_card(definition: Definition) -> None:
    """By the width of the widest usual font; in a diamond a line's ends stay between its sides."""
    found = drawing(definition, {"n1": Mark("done", "some words about it")})
    placed = layout(found, 0, 0)
    for item in cards(found.chain):
        card, box = card_of(item), placed.boxes[item.id]
        assert box.height >= card.height
        assert box.width >= card.width
        rows = [(card.name, NAME_CHARACTER), *((each, CHARACTER) for each in (*card.lines, card.mark) if each)]
        if card.shape == "diamond":
            for index, (text, width) in enumerate(rows):
                foot = diamond_top(card) + 16 * index
                reach = max(abs(foot), abs(foot - 11)) / (box.height / 2)
                assert len(text) * width <= box.width * (1 - reach)
        else:
            assert all(len(text) * width <= box.width - 2 * card.inset for text, width in rows)
            assert 22 + 16 * (len(rows) - 1) < box.height
    for frame in items(found.chain):
        if isinstance(frame, FrameItem):
            assert len(title_of(frame)) * CHARACTER <= placed.boxes[frame.id].width - 2 * PADDING


def test_long_conditions_are_cut_on_the_card_and_whole_in_the_tooltip() -> None:
    condition = " && ".join(f"input.quite_a_long_field_{number} > {number}" for number in range(5))
    text = svg(drawn(node("when", "w", condition=path(condition), then=step("a"))))
    assert "quite_a_long_field_4" not in "".join(re.findall('<text class="below"[^>]*>([^<]*)', text))
    assert "quite_a_long_field_4 &gt; 4" in "".join(re.findall("<title>([^<]*)", text))


def test_the_picture_in_the_documents_is_the_one_that_is_drawn() -> None:
    """Write it anew with the command that stands at the top of nodes.yaml."""
    assert (PICTURES / "nodes.svg").read_text() == svg(drawing(showcase()))
