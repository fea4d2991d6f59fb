"""What the store has lost may have undone what it still takes for done: after a loss, that is asked again."""

from core.story import Story, forward, pivot, step
from countermand.schemas.messages import Rejected, Succeeded
from countermand.schemas.operations import RetryStep

OK = Succeeded()


def undone_and_forgotten() -> Story:
    """Both steps were undone; then the store went back to before the saga had turned."""
    story = Story(step("reserve"), step("charge"), step("ship"))
    story.succeeds("reserve", "charge")
    story.rejects("ship")
    story.succeeds("charge")
    story.lose(2)
    assert (story.phase, story.asked) == ("running", {"ship"})
    story.late("charge", OK, direction="undo")
    assert story.cause == "state_lost:charge"
    return story


def test_what_was_undone_before_the_loss_is_not_taken_for_done() -> None:
    """Its participant refuses it, and the saga turns back instead of completing without it."""
    story = undone_and_forgotten()
    story.operate(RetryStep())
    assert story.asked == {"reserve", "charge", "ship"}
    story.succeeds("reserve")
    story.answers("charge", Rejected("compensated"))
    assert story.phase == "compensating"
    assert story.asked == {"~ship"}
    story.succeeds("ship", "reserve")
    assert story.phase == "compensated"


def test_what_still_stands_is_answered_from_record_and_the_saga_goes_on() -> None:
    """The same keys are asked for, so that nothing is done twice, and nothing further before all have answered."""
    story = Story(step("reserve"), pivot("pay"), forward("ship"))
    story.succeeds("reserve", "pay")
    key = story.sent["reserve", "do", 1].key
    story.lose(1)
    story.late("ship", OK)
    assert story.cause == "state_lost:ship"
    story.operate(RetryStep())
    assert story.command("reserve").key == key
    story.succeeds("reserve", "pay", "ship")
    assert story.phase == "completed"
