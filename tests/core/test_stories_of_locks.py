"""What `lock` and a definition's own limit do, told as stories. A saga waits ten seconds for its turn."""

import msgspec
import pytest

from core.story import Story, pivot, saga, step
from core.story_nodes import body_of, lock, scope, tidings
from core.world import World
from countermand.coordinator.core.journal import SagaEnded
from countermand.schemas.coordination import ReleaseMessage
from countermand.schemas.definition import Concurrency
from countermand.schemas.operations import AbandonSaga

LIMIT = "countermand_limit"


def test_a_lock_is_asked_of_the_coordinator_and_nothing_goes_on_before_it_is_granted() -> None:
    """By its name and the business key, one at a time."""
    story = Story(lock("turn"), step("ship"))
    command = story.command("turn")
    assert (command.participant, command.action) == ("countermand", "lock")
    assert body_of(story, "turn") == {"lock": "order", "key": "1", "at_once": 1}
    assert story.asked == {"turn"}
    story.succeeds("turn")
    assert story.asked == {"ship"}


def test_a_turn_that_does_not_come_in_time_turns_the_saga_back() -> None:
    """It is asked for once, and the failure says what it waited for; there is nothing to undo of a lock."""
    story = Story(step("open"), lock("turn"), step("ship"))
    story.succeeds("open")
    story.waits(10_000)
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("lock_timed_out", "turn")


@pytest.mark.parametrize("end", ["completed", "compensated", "abandoned", "never_granted"])
def test_a_lock_is_released_when_the_saga_has_ended_whatever_the_end(end: str) -> None:
    """Not before; also one that was asked for and never granted, so that nobody waits behind it for ever."""
    story = Story(lock("turn"), step("ship"))
    assert tidings(story, ReleaseMessage) == []
    if end == "never_granted":
        story.waits(10_000)
    else:
        story.succeeds("turn")
    if end == "completed":
        story.succeeds("ship")
    elif end == "compensated":
        story.rejects("ship")
    elif end == "abandoned":
        story.operate(AbandonSaga(), expected_version=story.state.version)
    assert story.state.ended
    (told,) = tidings(story, ReleaseMessage)
    assert (told.lock, told.key, told.step, told.saga_id) == ("order", "1", "turn", "order-1")
    assert told.command_id == story.sent["turn", "do", 1].command_id


def test_a_lock_is_kept_while_a_scope_turns_back_and_while_the_saga_does() -> None:
    """What is being undone is still the saga's own."""
    story = Story(scope("trip", lock("turn"), step("hotel"), step("car")), step("bill"))
    story.succeeds("turn", "hotel")
    story.rejects("car")
    assert story.asked == {"~hotel"}
    assert tidings(story, ReleaseMessage) == []
    story.succeeds("hotel")
    story.rejects("bill")
    assert story.phase == "compensated"
    assert len(tidings(story, ReleaseMessage)) == 1


def test_a_lock_after_the_pivot_is_waited_for_without_end() -> None:
    """There is no way back, so it is asked for again."""
    story = Story(pivot("pay"), lock("turn", kind="retriable"))
    story.succeeds("pay")
    story.waits(12_000)
    assert (story.phase, story.cause) == ("running", None)
    assert story.command("turn").attempt == 2


def test_a_lock_is_no_effect_that_remains() -> None:
    """Whoever abandons a saga isn't told that its lock stays: it doesn't."""
    story = Story(lock("turn"), step("ship"))
    story.succeeds("turn")
    story.operate(AbandonSaga(), expected_version=story.state.version)
    (ended,) = [entry for entry in story.last if isinstance(entry, SagaEnded)]
    assert ended.remaining == ("ship: may have been done",)


def test_a_definitions_limit_is_a_lock_before_everything_else() -> None:
    """Many at once, per key; the first step waits for it, and a late turn costs nothing but the wait."""
    limited = msgspec.structs.replace(
        saga(step("ship")), concurrency=Concurrency(5, {"$": "input.order.id"}, timeout_ms=10_000)
    )
    world = World(limited)
    world.start()
    (command,) = world.pending
    assert command.step == LIMIT
    assert msgspec.json.decode(command.body) == {"lock": "definition:story", "key": "1", "at_once": 5}
    world.wake(after_ms=10_000)
    assert world.state.phase == "compensated"
    assert world.state.failure is not None
    assert world.state.failure.code == "lock_timed_out"


def test_a_key_that_is_no_key_turns_the_saga_back() -> None:
    """A lock of something unnameable would be everybody's."""
    story = Story(step("open"), msgspec.structs.replace(lock("turn"), key={"$": "input.lines"}))
    story.succeeds("open")
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert story.state.failure.code == "unresolvable"
