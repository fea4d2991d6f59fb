"""What a loss of state does to sagas with other nodes than steps, told as stories."""

import msgspec

from core.story import ONCE, Story, both, pivot, saga, step
from core.story_nodes import each, is_open, lock, scope, wait
from core.world import RESULT, World
from countermand.coordinator.core import Plan
from countermand.schemas.messages import Succeeded
from countermand.schemas.operations import RetryStep, SkipStep

OK = Succeeded()


def test_a_scope_that_fails_before_all_is_confirmed_is_undone_all_the_same() -> None:
    """What was done in it and is asked about again is given up with it: the saga doesn't wait for that any more."""
    story = Story(scope("trip", step("hotel"), step("car")), step("bill"))
    story.succeeds("hotel")
    story.rejects("car")
    undo = story.command("hotel")
    story.lose(1)
    story.reply(undo, OK)
    assert story.cause == "state_lost:hotel"
    story.operate(RetryStep())
    assert story.asked == {"hotel", "car"}
    story.rejects("car")
    assert story.asked == {"~hotel"}
    story.succeeds("hotel")
    assert story.asked == {"bill"}


def test_a_step_that_is_skipped_while_it_is_confirmed_counts_as_confirmed() -> None:
    """The saga goes on; the result that others may have read stays, and another one is refused."""
    story = Story(step("reserve"), step("ship"))
    story.succeeds("reserve", result="mine")
    command = story.command("ship")
    story.forge(command, OK, saga_version=9)
    assert story.cause == "state_lost:ship"
    story.operate(RetryStep())
    story.fails("reserve")
    story.operate(SkipStep("reserve", msgspec.Raw(b'"other"')))
    assert story.refused.code == "no_result"
    story.operate(SkipStep("reserve"))
    story.succeeds("ship")
    assert story.phase == "completed"


def test_what_can_not_be_confirmed_after_the_pivot_turns_nothing_back() -> None:
    """A person is told: the pivot may be done, and then there is no way back."""
    story = Story(step("reserve", retry=ONCE), pivot("charge"), lock("turn", kind="retriable"))
    story.succeeds("reserve", "charge")
    command = story.command("turn")
    story.forge(command, OK, saga_version=9)
    story.operate(RetryStep())
    assert story.asked == {"reserve", "charge", "turn"}
    story.fails("reserve")
    assert (story.phase, story.cause) == ("running", "forward_exhausted:reserve")
    story.succeeds("charge", "turn")
    assert story.phase == "running"
    story.operate(RetryStep())
    story.succeeds("reserve")
    assert story.phase == "completed"


def test_nothing_is_put_away_before_the_walk_has_led_past_it() -> None:
    """While a large saga confirms what it did, what is done anew stays in sight: it isn't asked for a second time."""
    loop = each("lines", [1, 2, 3], step("ask"), concurrency=3)
    world = World(Plan(saga(step("open"), loop, step("ship")), over_max=0))
    world.start()
    world.reply(world.pending[0], RESULT)
    world.forge(world.pending[0], RESULT, saga_version=9)
    assert world.state.halted
    world.operate(RetryStep())
    waiting = {command.step: command for command in world.pending}
    assert set(waiting) == {"open", "ask[0]", "ask[1]", "ask[2]"}
    for name in ("ask[0]", "ask[1]", "open"):
        world.reply(waiting[name], RESULT)
    assert {command.step for command in world.pending} == {"ask[2]"}
    world.reply(world.pending[0], RESULT)
    assert {command.step for command in world.pending} == {"ship"}


def test_a_wait_that_was_met_in_a_lost_version_waits_again() -> None:
    """It is open until its time is over, or until the event is told again."""
    story = Story(both(wait("paid"), step("reserve")), step("ship"))
    story.event("paid", "e1")
    story.succeeds("reserve")
    command = story.command("ship")
    story.lose(2)
    story.reply(command, OK)
    assert story.cause == "state_lost:ship"
    assert is_open(story, "paid")
    story.operate(RetryStep())
    story.event("paid", "e1")
    story.succeeds("reserve")
    assert story.asked == {"ship"}
