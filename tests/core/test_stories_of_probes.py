"""What becomes of an action in doubt whose participant is asked first (`on_unknown: probe`), told as stories."""

import msgspec
import pytest

from core.story import ONCE, Story, both, pivot, step
from core.story_nodes import body_of, result_of, scope
from countermand.coordinator.core.journal import ReplyIgnored
from countermand.schemas.messages import Accepted, Failed, Rejected, Succeeded
from countermand.schemas.operations import CompensateSaga, PauseSaga, ResumeSaga, RetryStep, SkipStep

DONE = Succeeded(msgspec.Raw(b'"receipt"'))


def in_doubt(*, after: bool = True) -> Story:
    """`charge` was asked once and didn't answer in time."""
    charge = step("charge", retry=ONCE, on_unknown="probe")
    story = Story(step("open"), charge, *([step("ship")] if after else []))
    story.succeeds("open")
    first = body_of(story, "charge")
    story.waits(1_000)
    assert story.command("charge").direction == "probe"
    assert body_of(story, "charge") == first
    return story


def test_an_action_that_turns_out_done_counts_as_done() -> None:
    """Its result comes with the answer, and the saga goes on."""
    story = in_doubt()
    story.answers("charge", DONE)
    assert story.asked == {"ship"}
    assert result_of(story, "charge") == "receipt"


def test_an_action_that_turns_out_not_done_is_not_undone() -> None:
    """The participant has closed its key: the rest is undone, and the failure says why the action was given up."""
    story = in_doubt()
    story.rejects("charge", "not_done")
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("timed_out", "charge")
    story.succeeds("open")
    assert story.phase == "compensated"
    assert ("charge", "undo", 1) not in story.sent


def test_a_participant_that_cannot_tell_is_asked_again_and_then_the_action_is_undone() -> None:
    """As the policy of the action says; unknown is undone like done."""
    story = Story(step("open"), step("charge", on_unknown="probe"))
    story.succeeds("open")
    story.waits(3_000)
    assert story.command("charge").direction == "probe"
    story.fails("charge")
    story.waits(1_000)
    assert (story.command("charge").direction, story.command("charge").attempt) == ("probe", 2)
    story.fails("charge")
    assert story.asked == {"~charge"}
    story.succeeds("charge")
    assert story.asked == {"~open"}


def test_an_action_that_is_out_when_the_saga_turns_back_is_probed_before_it_is_undone() -> None:
    """Also then nobody undoes what nobody has asked about."""
    story = Story(both(step("charge", on_unknown="probe"), step("ship")))
    story.rejects("ship")
    assert story.command("charge").direction == "probe"
    story.answers("charge", DONE)
    assert story.command("charge").direction == "undo"
    assert body_of(story, "charge")["result"] == "receipt"
    story.succeeds("charge")
    assert story.phase == "compensated"


def test_an_action_that_surely_did_nothing_is_not_probed() -> None:
    """Every attempt vouched for that."""
    story = Story(step("open"), step("charge", retry=ONCE, on_unknown="probe"))
    story.succeeds("open")
    story.fails("charge", rolled_back=True)
    assert story.asked == {"~charge"}


def test_a_late_success_answers_the_question() -> None:
    """The action's own answer counts; that of the probe is then old news, whatever it says."""
    for answer in (DONE, Rejected("not_done"), Failed("unknown")):
        story = in_doubt()
        story.late("charge", Succeeded(msgspec.Raw(b'"mine"')))
        assert story.asked == {"ship"}
        story.late("charge", answer, direction="probe")
        assert [type(entry) for entry in story.last] == [ReplyIgnored]
        assert story.asked == {"ship"}
        assert result_of(story, "charge") == "mine"


def test_an_operators_word_stands_against_a_late_probe() -> None:
    """Skipped with a result: the probe's answer doesn't change it any more."""
    story = in_doubt()
    story.operate(SkipStep("charge", msgspec.Raw(b'"by hand"')))
    assert story.asked == {"ship"}
    story.late("charge", Rejected("not_done"), direction="probe")
    assert story.asked == {"ship"}
    assert result_of(story, "charge") == "by hand"


def test_a_probe_that_fails_while_the_action_is_tried_again_changes_nothing() -> None:
    """An operator retries the action: what is out is the action, and only its answer counts."""
    story = Story(pivot("charge", retry=ONCE, on_unknown="probe"), step("ship", kind="retriable"))
    story.waits(1_000)
    story.operate(RetryStep("charge"))
    assert story.command("charge").direction == "do"
    story.late("charge", Failed("broken", retryable=False), direction="probe")
    assert (story.phase, story.command("charge").direction) == ("running", "do")
    story.succeeds("charge")
    assert story.asked == {"ship"}


def test_a_probe_that_knows_while_the_action_is_tried_again_counts() -> None:
    """Its participant has closed the key, so the new attempt can't do anything either."""
    story = Story(step("open"), pivot("charge", retry=ONCE, on_unknown="probe"))
    story.succeeds("open")
    story.waits(1_000)
    story.operate(RetryStep("charge"))
    story.late("charge", Rejected("not_done"), direction="probe")
    assert story.asked == {"~open"}


@pytest.mark.parametrize(("answer", "asked"), [(DONE, {"ship"}), (Rejected("not_done"), {"~open"})])
def test_a_pivot_in_doubt_is_probed_before_a_person_is_asked(answer: Succeeded | Rejected, asked: set[str]) -> None:
    """Done: forward. Not done: back. Nobody has to look."""
    charge = pivot("charge", retry=ONCE, on_unknown="probe")
    story = Story(step("open"), charge, step("ship", kind="retriable"))
    story.succeeds("open")
    story.waits(1_000)
    story.cancel()
    assert story.cause is None
    assert story.asked == {"charge"}
    story.answers("charge", answer)
    assert story.asked == asked


def test_a_pivot_of_which_nobody_knows_needs_a_person() -> None:
    """Retried, it is asked again, and probed again; compensated, its key is closed first."""
    story = Story(step("open"), pivot("charge", retry=ONCE, on_unknown="probe"))
    story.succeeds("open")
    story.waits(1_000)
    story.fails("charge")
    assert story.cause == "pivot_unknown:charge"
    story.operate(RetryStep())
    story.waits(1_000)
    assert (story.command("charge").direction, story.command("charge").attempt) == ("probe", 2)
    assert not story.state.stuck
    story.fails("charge")
    assert story.cause == "pivot_unknown:charge"
    story.operate(CompensateSaga())
    assert story.asked == {"~charge"}


def test_nothing_is_probed_while_the_saga_is_paused() -> None:
    """The question waits for whoever paused, the saga isn't stuck meanwhile, and it is asked once."""
    story = Story(step("open"), step("charge", retry=ONCE, on_unknown="probe"))
    story.succeeds("open")
    story.operate(PauseSaga())
    story.fails("charge")
    assert (story.asked, story.cause) == (set(), None)
    story.operate(ResumeSaga())
    assert isinstance(story.answered[-1], Accepted)
    assert story.command("charge").direction == "probe"
    story.answers("charge", DONE)
    assert story.phase == "completed"


def test_a_scope_that_fails_probes_what_is_in_doubt() -> None:
    """The scope is undone once the question is answered; what wasn't done isn't undone."""
    story = Story(scope("trip", both(step("hotel", on_unknown="probe"), step("car"))), step("bill"))
    story.rejects("car")
    assert story.command("hotel").direction == "probe"
    story.rejects("hotel", "not_done")
    assert story.asked == {"bill"}
