"""Stories of several sagas: children, locks, limits."""

import pytest

from countermand.coordinator.testing import Story, StoryFailed, given
from countermand.coordinator.testing.shared import SagaWorld
from kit.market import BASKET, Basket, Market, Parcel, delivery, shopping, till, vigil

PARCEL = Parcel(shelf="s-b-1")


def shops(*careless: str) -> Story:
    here = Market(*careless)
    return given(shopping, BASKET, participants=here.participants, effects=here.effects)


def test_a_child_is_played_too() -> None:
    """With the same participants, on the same clock; the timeline says which saga does what."""
    story = shops().expect_completed(PARCEL).expect_effects({"fetched": 1, "wrapped": 1, "held": 1, "collected": 1})
    story.expect_ran("delivery/wrap", "mine")
    assert "saga-1           coordinator  delivery starts the child saga saga-1:delivery" in story.timeline
    assert "saga-1:delivery  depot        answers wrap" in story.timeline
    assert max(map(len, story.timeline.splitlines())) <= 100


def test_a_child_that_nobody_gave_answers_by_itself() -> None:
    """As a step without a participant does."""
    alone = given(shopping, BASKET, children=()).answers("delivery", {"shelf": "s-9"})
    alone.expect_completed(Parcel(shelf="s-9"))
    given(shopping, BASKET, children=()).rejects("hold").expect_compensated("delivery")
    given(shopping, BASKET, children=[delivery]).rejects("delivery/wrap").expect_compensated(set())


def test_trouble_in_a_child() -> None:
    """Its nodes stand behind the child's name."""
    shops().rejects("delivery/wrap", "no_paper").expect_compensated(set(), because="no_paper").expect_effects({})
    story = shops().loses_reply("delivery/fetch").fails("delivery/fetch", undo=True).rejects("hold")
    story.expect_compensated("delivery").expect_effects({})
    shops().crashes_coordinator("delivery").duplicates("delivery").expect_completed(PARCEL)
    again = shops().loses_reply("delivery").expect_completed(PARCEL)
    assert "asks the child saga for delivery, attempt 2" in again.timeline
    with pytest.raises(ValueError, match="shopping@1 has no node 'delivery/rap'; did you mean 'delivery/wrap'"):
        shops().rejects("delivery/rap")
    with pytest.raises(ValueError, match="no node 'hold/wrap'"):
        shops().rejects("hold/wrap")


def test_a_child_that_is_stuck_is_said() -> None:
    """Its parent waits for it, and isn't at rest by itself."""
    story = shops().rejects("hold").fails("delivery/wrap", undo=True, times=None)
    story.expect_stuck("compensation_exhausted", "delivery/wrap")


def test_a_lock_is_held_by_one_after_the_other(saga_world: SagaWorld) -> None:
    """The second waits until the first has ended, and says so."""
    here = Market()
    saga_world.plays(*here.participants, effects=here.effects)
    first = saga_world.given(shopping, BASKET).delays("hold", "2s").begins()
    second = saga_world.given(shopping, BASKET).advance("1s").expect_waiting("mine")
    first.expect_completed(PARCEL)
    second.expect_completed(PARCEL)
    told = saga_world.timeline
    assert told.index("releases the lock basket") < told.index("saga-2           countermand  grants mine")


def test_a_lock_that_is_not_got_in_time(saga_world: SagaWorld) -> None:
    """Whoever waits for too long turns back."""
    saga_world.given(vigil, BASKET).advance("1s").expect_waiting("called")
    saga_world.given(shopping, BASKET).expect_compensated(set(), because="lock_timed_out")


def test_another_saga_may_be_started_meanwhile() -> None:
    """It shares the story's world: here it gets the lock after the first one has turned back."""
    story = shops().meanwhile(shopping, BASKET, after="mine").rejects("hold").expect_compensated("delivery")
    story.expect_effects({"fetched": 1, "wrapped": 1, "held": 1, "collected": 1})
    assert "saga-2           coordinator  the saga: completed" in story.timeline


def test_a_limit_lets_one_in_after_the_other(saga_world: SagaWorld) -> None:
    """Sagas of one key, in the order of starting; those of another key don't wait."""
    for buyer in ("bob", "bob", "eve"):
        saga_world.given(till, Basket(buyer=buyer)).advance("1s").begins()
    last = saga_world.given(till, Basket(buyer="bob")).advance("90s").expect_waiting("countermand_limit")
    last.expect_completed(None)
    ended = [line.split()[1] for line in saga_world.timeline.splitlines() if "the saga: completed" in line]
    assert ended == ["saga-1", "saga-3", "saga-2", "saga-4"]


def test_events_reach_children() -> None:
    """A signal goes to the child that is named, once it is there."""
    with pytest.raises(StoryFailed, match="no child saga has been started at delivery"):
        shops().signals("called", child="delivery").expect_completed()
    story = shops().signals("called", child="delivery", after="delivery/fetch").expect_completed()
    assert "signals called to delivery" in story.timeline


async def test_an_asynchronous_story_of_several() -> None:
    """The same in the test's own loop."""
    await shops().rejects("hold").expect_compensated("delivery").expect_effects({})
