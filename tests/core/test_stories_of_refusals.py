"""Every wrong thing that an operator can ask for is refused with a code, and with words that help."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from core.story import ONCE, Story, forward, pivot, step
from countermand.coordinator.core.decide import refuse_unknown
from countermand.coordinator.core.events import OperationRequested
from countermand.schemas.messages import Refused, Succeeded
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    ExtendDeadline,
    Operation,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SettleCompensation,
    SkipStep,
)

INPUT = msgspec.Raw(b"{}")


def running() -> Story:
    story = Story(step("reserve"), pivot("capture", retry=ONCE), forward("ship"), deadline_ms=60_000)
    story.succeeds("reserve")
    return story


def shipping() -> Story:
    story = running()
    story.succeeds("capture")
    return story


def compensating() -> Story:
    story = Story(step("reserve"), step("charge"), step("ship"))
    story.succeeds("reserve", "charge")
    story.rejects("ship")
    return story


def refund_failed() -> Story:
    story = compensating()
    story.fails("charge", retryable=False)
    return story


def exhausted() -> Story:
    story = Story(pivot("pay"), forward("ship", retry=ONCE))
    story.succeeds("pay")
    story.fails("ship")
    return story


def paused() -> Story:
    story = running()
    story.operate(PauseSaga(), actor="ann")
    return story


def halted() -> Story:
    story = running()
    story.forge(story.command("capture"), Succeeded(), saga_version=99)
    return story


def overdue() -> Story:
    story = Story(step("reserve"), pivot("capture", timeout_ms=60_000), deadline_ms=5_000)
    story.succeeds("reserve")
    story.waits(5_000)
    return story


def ended() -> Story:
    story = Story(step("reserve"))
    story.succeeds("reserve")
    return story


Refusals = list[tuple[Callable[[], Story], Operation, str, str]]

WRONG: Refusals = [
    (running, RetryStep(), "step_needed", "say which one"),
    (running, RetryStep("captur"), "unknown_step", "did you mean capture?"),
    (running, SkipStep("zzz"), "unknown_step", "its steps are reserve, capture, ship"),
    (running, RetryStep("capture"), "attempt_out", "attempt 1 of step capture is out; wait for its answer"),
    (running, RetryStep("ship"), "not_asked", "step ship has not been asked for, so there is nothing to retry"),
    (running, SkipStep("reserve"), "already_done", "step reserve is succeeded already"),
    (running, SettleCompensation("e", "reserve"), "not_compensating", "no compensation to settle"),
    (running, ResumeSaga(), "not_paused", "not paused"),
    (refund_failed, ResumeSaga(), "not_paused", "it is stuck"),
    (running, ExtendDeadline(5), "not_later", "in the past"),
    (shipping, CompensateSaga(), "past_pivot", "past its pivot (capture)"),
    (shipping, ExtendDeadline(2**52), "past_pivot", "its deadline counts no more"),
    (compensating, CompensateSaga(), "already_compensating", "going back already"),
    (compensating, SettleCompensation("e", "charge"), "attempt_out", "the compensation of step charge is out"),
    (compensating, SkipStep("reserve"), "not_asked", "nothing to skip"),
    (compensating, ExtendDeadline(2**52), "already_compensating", "counts no more"),
    (refund_failed, RetryStep(input=INPUT), "not_editable", "can't be edited"),
    (refund_failed, SkipStep(result=INPUT), "no_result", "a compensation has none"),
    (exhausted, RetryStep(input=INPUT), "attempt_may_run", "skip it with a result"),
    (exhausted, SkipStep(result=msgspec.Raw(b"[" * 40 + b"]" * 40)), "invalid_payload", "nested deeper than 32 levels"),
    (paused, PauseSaga(), "already_paused", "by ann"),
    (paused, RetryStep("capture"), "paused", "by ann; resume it first"),
    (overdue, ExtendDeadline(2**52), "deadline_passed", "as soon as its pivot answers"),
    (halted, PauseSaga(), "state_lost", "does nothing anyway"),
    (halted, RetryStep("capture"), "state_lost", "without a step"),
    (halted, RetryStep(input=INPUT), "state_lost", "input: "),
    (halted, SkipStep("capture"), "state_lost", "nobody knows what is open"),
    (halted, SettleCompensation("e", "reserve"), "state_lost", "nobody knows what is open"),
    (halted, CompensateSaga(), "state_lost", "Retry the saga first"),
    (running, AbandonSaga(), "version_needed", "say which version you looked at"),
    (ended, PauseSaga(), "wrong_phase", "the saga is completed"),
]


@pytest.mark.parametrize(
    ("story_of", "operation", "code", "helps"), WRONG, ids=lambda each: getattr(each, "__name__", None)
)
def test_a_wrong_action_is_refused_with_a_reason_that_helps(
    story_of: Callable[[], Story], operation: Operation, code: str, helps: str
) -> None:
    """Nothing changes, the code is stable, and the words say what is the matter or what to do instead."""
    story = story_of()
    before = story.saga
    story.operate(operation)
    assert story.refused.code == code
    assert helps in story.refused.problem
    assert story.saga == before


def test_an_extension_that_is_none_is_refused() -> None:
    """A deadline is only ever moved on."""
    story = running()
    assert story.state.deadline_ms is not None
    story.operate(ExtendDeadline(story.state.deadline_ms))
    assert story.refused.code == "not_later"
    assert "not later than the deadline" in story.refused.problem


def test_a_version_that_was_looked_at_and_is_gone_is_refused_before_anything_else() -> None:
    """Without another operator, the saga has moved on by itself; nobody is named."""
    story = running()
    story.operate(RetryStep("zzz"), expected_version=1)
    assert story.refused.code == "version_conflict"
    assert "the last operator" not in story.refused.problem


def test_a_payload_that_is_too_large_is_refused_with_its_field() -> None:
    """What a command can't carry isn't taken in."""
    story = Story(pivot("pay"), forward("ship"))
    story.succeeds("pay")
    story.rejects("ship")
    story.operate(RetryStep(input=msgspec.Raw(b'"' + b"x" * 300_000 + b'"')))
    assert story.refused.code == "invalid_payload"
    assert story.refused.problem.startswith("input: ")
    assert "at most 262144" in story.refused.problem


def test_a_saga_that_there_is_not_cannot_be_operated() -> None:
    """The asker is told, and nothing comes to be."""
    event = OperationRequested("e", 1, "r1", PauseSaga(), "ann", "because", "content", reply_to="clients.1")
    ((queue, refused),) = ((each.queue, each.answer) for each in refuse_unknown(event))
    assert queue == "clients.1"
    assert isinstance(refused, Refused)
    assert (refused.code, refused.request_id) == ("unknown_saga", "r1")


def test_a_refused_request_may_be_made_again_under_its_id() -> None:
    """Only what counted is remembered."""
    story = running()
    story.operate(RetryStep("capture"), request_id="r1")
    assert story.refused.code == "attempt_out"
    story.waits(1_000)
    story.operate(replace(RetryStep(), step="capture"), request_id="r1")
    assert story.command("capture").attempt == 2
