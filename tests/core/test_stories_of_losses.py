"""What the store has lost may have undone what it still takes for done: after a loss, that is asked again."""

from core.story import Story, forward, pivot, step
from countermand.coordinator.core.operations import remaining_effects
from countermand.schemas.messages import CommandMessage, Rejected, ReplyOutcome, Succeeded
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


class Shelf:
    """An honest participant: one record for each key, as every inbox keeps it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._records: dict[str, ReplyOutcome] = {}

    def answer(self, command: CommandMessage, wish: ReplyOutcome) -> ReplyOutcome:
        if command.key not in self._records and isinstance(wish, Succeeded):
            self.done.append(command.key)
        return self._records.setdefault(command.key, wish)


def test_a_key_that_the_store_has_forgotten_is_found_again() -> None:
    """I2: retried under a new key, done, and forgotten: the participant's record is met again under the same key."""
    shelf = Shelf()
    story = Story(step("reserve"), pivot("pay"), forward("ship"))
    story.succeeds("reserve", "pay")
    story.answers("ship", shelf.answer(story.command("ship"), Rejected("no_address")))
    story.operate(RetryStep())
    done = shelf.answer(story.command("ship"), OK)
    story.lose(2)
    story.late("ship", done, attempt=2)
    story.operate(RetryStep())
    story.succeeds("reserve", "pay")
    story.answers("ship", shelf.answer(story.command("ship"), OK))
    assert story.cause == "forward_rejected:ship"
    story.operate(RetryStep())
    story.answers("ship", shelf.answer(story.command("ship"), OK))
    assert story.phase == "completed"
    assert shelf.done == ["order-1/ship~1"]


def test_an_abandoned_saga_names_what_the_proof_of_the_loss_says() -> None:
    """The participant has answered a step that the store knows nothing of: it may have been done."""
    story = Story(step("reserve"), step("charge"))
    story.succeeds("reserve")
    story.lose(1)
    story.late("charge", OK)
    assert remaining_effects(story.state) == ("reserve: may have been done", "charge: may have been done")
