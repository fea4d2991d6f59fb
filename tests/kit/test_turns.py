"""Those whom a saga waits for really do in an exhaustive test what each case says of them."""

import pytest

from countermand.coordinator.testing.attendant import Turn
from countermand.coordinator.testing.play import Play, Played, play
from countermand.coordinator.testing.timeline import written
from countermand.schemas.codec import encode
from kit.market import BASKET, errand, market

PUBLISHED = "publishes payment_received with the key b-1"
WAITS = "paid waits for payment_received"


async def played(**turns: Turn) -> Played:
    keys = {"paid": ("payment_received", "b-1")}
    return await play(Play(market, encode(BASKET), (), None, 0), "saga-1", (), turns, keys)


def told(story: Played) -> str:
    return written(list(story.happenings))


@pytest.mark.parametrize(
    ("turn", "ends", "marks"),
    [
        ({}, "completed", (WAITS, PUBLISHED, "paid has what it waited for", "review was approved by decider-1")),
        ({"paid": "early"}, "completed", (PUBLISHED, WAITS, "paid has what it waited for")),
        ({"paid": "twice"}, "completed", (PUBLISHED, "paid has what it waited for", PUBLISHED)),
        ({"paid": "missed"}, "completed", (WAITS, "paid waited in vain", "asks post for remind")),
        (
            {"review": "twice"},
            "completed",
            ("decider-1 decides review: approved", "decider-1 decides review: approved"),
        ),
        ({"review": "denied"}, "compensated", ("review was denied by decider-1", "compensating (approval_denied")),
        ({"review": "undecided"}, "compensated", ("managers may", "compensating (approval_timed_out")),
    ],
)
async def test_each_turn_is_taken(turn: dict[str, Turn], ends: str, marks: tuple[str, ...]) -> None:
    """Each leaves its marks in the timeline, in this order, and the saga ends as it should."""
    story = await played(**turn)
    assert story.verdict is not None
    assert story.verdict.phase == ends
    rest = told(story)
    for mark in marks:
        before, found, rest = rest.partition(mark)
        assert found, f"{mark} is not told after: {before}"
    assert ("remind" in story.reached) is (turn.get("paid") == "missed")


async def test_an_event_for_a_saga_itself_may_be_early_too() -> None:
    """It is kept by the saga; and an assignee decides where no role may."""
    story = await play(
        Play(errand, encode(BASKET), (), None, 0), "saga-1", (), {"called": "early"}, {"called": ("called", "")}
    )
    assert story.verdict is not None
    assert story.verdict.phase == "completed"
    assert told(story).index("signals called") < told(story).index("ann decides go") < told(story).index("called waits")


async def test_the_requester_never_decides() -> None:
    """Somebody else does."""
    basket = encode({"id": "b-1", "skus": [], "cents": 2_000, "buyer": "decider-1"})
    story = await play(Play(market, basket, (), None, 0), "saga-1")
    assert "review was approved by decider-2" in told(story)
