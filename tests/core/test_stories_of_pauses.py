"""What a pause holds, and what a saga whose state was lost does once an operator has looked at it, told as stories."""

from typing import Literal

import msgspec
import pytest

from core.story import ONCE, Story, both, forward, pivot, step
from countermand.coordinator.core.journal import (
    AttemptFailed,
    LostVersionSeen,
    ReplyIgnored,
    RetryGranted,
    SagaResumed,
    StepAsked,
)
from countermand.coordinator.core.settle import VERSIONS_LOST_MAX
from countermand.schemas.messages import Failed, Succeeded
from countermand.schemas.operations import (
    CompensateSaga,
    ExtendDeadline,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SkipStep,
)

OK = Succeeded()


def asked_in_all(story: Story) -> int:
    return len(story.said(StepAsked))


# --- pause


def test_a_paused_saga_hears_what_is_answered_and_asks_for_nothing() -> None:
    """The answer counts; what follows from it waits for the operator."""
    story = Story(step("a"), step("b"))
    story.operate(PauseSaga())
    assert story.decisions[-1].wake_at_ms is None
    story.succeeds("a")
    assert story.asked == set()
    story.operate(ResumeSaga())
    assert story.asked == {"b"}


def test_a_paused_saga_ends_when_it_is_resumed() -> None:
    """Even its last answer ends nothing while it is on hold."""
    story = Story(step("a"))
    story.operate(PauseSaga())
    story.succeeds("a")
    assert story.phase == "running"
    story.operate(ResumeSaga())
    assert story.phase == "completed"


def test_a_timeout_that_passes_in_a_pause_counts_after_it() -> None:
    """Until then a late answer is as good as an early one."""
    story = Story(both(step("a"), step("b")))
    story.operate(PauseSaga())
    story.now_ms += 60_000
    story.wake(after_ms=0)
    assert story.last == []
    story.succeeds("a")
    story.operate(ResumeSaga())
    assert not story.said(AttemptFailed)
    assert story.decisions[-1].wake_at_ms is not None
    assert story.decisions[-1].wake_at_ms <= story.now_ms
    story.wake(after_ms=0)
    assert [type(entry) for entry in story.last] == [AttemptFailed]


@pytest.mark.parametrize(("clock", "left_ms"), [("stopped", 4_000), ("ran", 1_000)])
def test_a_deadline_stands_still_in_a_pause_or_doesn_t(clock: Literal["stopped", "ran"], left_ms: int) -> None:
    """The operator says which, when the saga goes on."""
    story = Story(step("a", timeout_ms=60_000), deadline_ms=5_000)
    story.waits(1_000)
    story.operate(PauseSaga())
    story.waits(3_000)
    story.operate(ResumeSaga(clock=clock))
    assert story.state.deadline_ms == story.now_ms + left_ms


def test_a_deadline_that_passed_in_a_pause_turns_the_saga_back_if_its_clock_ran() -> None:
    """At once, and not before."""
    story = Story(step("a", timeout_ms=60_000), deadline_ms=5_000)
    story.operate(PauseSaga())
    story.now_ms += 10_000
    story.wake(after_ms=0)
    assert story.phase == "running"
    story.operate(ResumeSaga(clock="ran"))
    story.wake()
    assert story.phase == "compensating"


def test_a_deadline_given_in_a_pause_is_moved_by_what_is_left_of_the_pause() -> None:
    """The operator names a moment; the time on hold before it was named doesn't count twice."""
    story = Story(step("a", timeout_ms=600_000), deadline_ms=5_000)
    story.operate(PauseSaga())
    story.now_ms += 100_000
    moment_ms = story.now_ms + 9_000
    story.operate(ExtendDeadline(moment_ms))
    story.now_ms += 50
    story.operate(ResumeSaga())
    assert story.state.deadline_ms == moment_ms + 50


def test_a_paused_saga_without_a_deadline_has_none_afterwards() -> None:
    """Nothing is made up."""
    story = Story(step("a"))
    story.operate(PauseSaga())
    story.waits(500)
    story.operate(ResumeSaga())
    assert story.said(SagaResumed) == [SagaResumed(None)]


def test_a_paused_saga_that_is_cancelled_goes_back_once_it_is_resumed() -> None:
    """The client's wish counts; the operator's hold stands."""
    story = Story(step("a"), step("b"))
    story.succeeds("a")
    story.operate(PauseSaga())
    story.cancel()
    assert (story.phase, story.asked) == ("compensating", set())
    story.operate(ResumeSaga())
    assert story.asked == {"~b"}


def test_to_compensate_a_paused_saga_resumes_it() -> None:
    """Whoever turns a saga back wants it to go."""
    story = Story(step("a"))
    story.operate(PauseSaga())
    story.operate(CompensateSaga())
    assert story.state.paused is None
    assert story.asked == {"~a"}


def test_what_is_skipped_in_a_pause_goes_on_after_it() -> None:
    """An operator can put things in order before the saga moves again."""
    story = Story(pivot("pay"), forward("ship", retry=ONCE), forward("mail"))
    story.succeeds("pay")
    story.fails("ship")
    story.operate(PauseSaga())
    story.operate(SkipStep())
    assert (story.cause, story.asked) == (None, set())
    story.operate(ResumeSaga())
    assert story.asked == {"mail"}


# --- lost state


def lost() -> Story:
    """The store has forgotten two commits: that `a` was done, and that `b` was."""
    story = Story(step("a"), step("b"), step("c"))
    story.succeeds("a", "b")
    story.lose(2)
    story.late("b", OK)
    assert story.cause == "state_lost:b"
    return story


def test_a_saga_goes_on_without_what_was_lost_once_it_is_retried() -> None:
    """What is out is asked for again under its key, beyond every version that was seen."""
    story = lost()
    newest = story.sent["c", "do", 1]
    story.late("c", OK)
    assert story.said(LostVersionSeen) == [LostVersionSeen(newest.saga_version)]
    story.operate(RetryStep())
    assert story.state.version > newest.saga_version
    assert story.asked == {"a"}
    assert (story.command("a").attempt, story.command("a").key) == (2, "order-1/a")
    story.succeeds("a", "b", "c")
    assert story.phase == "completed"


def test_late_replies_of_lost_versions_do_not_halt_it_again() -> None:
    """The operator has looked at that loss; only a newer one needs another look."""
    story = lost()
    story.operate(RetryStep())
    for name in ("b", "c"):
        story.forge(story.sent[name, "do", 1], OK, saga_version=story.state.lost_until)
        assert [type(entry) for entry in story.last] == [ReplyIgnored]
    story.forge(story.command("a"), OK, saga_version=story.state.version + 1)
    assert story.cause == "state_lost:a"


def test_a_failure_of_a_lost_attempt_says_nothing_about_the_new_one() -> None:
    """The same attempt was made twice, before the loss and after it: only the second one's failure counts."""
    story = Story(step("a"), pivot("pay"))
    story.succeeds("a")
    story.fails("pay", rolled_back=True)
    story.waits(1_000)
    forgotten = story.command("pay")
    assert forgotten.attempt == 2
    story.lose(2)
    story.reply(forgotten, Failed("broken", rolled_back=True))
    story.operate(RetryStep())
    assert story.command("pay").attempt == 2
    story.reply(forgotten, Failed("broken", rolled_back=True))
    assert [type(entry) for entry in story.last] == [ReplyIgnored]
    for _ in range(2):
        story.fails("pay", rolled_back=True)
        story.waits(1_000)
    # Nobody knows what became of the attempt that was out when the state was lost.
    assert story.cause == "pivot_unknown:pay"


def test_what_was_stuck_before_the_loss_is_stuck_after_it() -> None:
    """To go on doesn't forget what waits for a person."""
    story = Story(pivot("pay"), forward("ship", retry=ONCE), forward("mail"))
    story.succeeds("pay")
    story.fails("ship")
    story.operate(RetryStep())
    story.lose(1)
    assert story.cause == "forward_exhausted:ship"
    story.late("ship", OK, attempt=2)
    assert story.cause == "state_lost:ship"
    story.operate(RetryStep())
    assert story.cause == "forward_exhausted:ship"


def test_a_version_that_no_store_can_have_lost_is_not_gone_beyond() -> None:
    """Whoever makes up a number halts the saga, and nothing more: its version stays one that can be counted on."""
    story = Story(step("a"))
    for _ in range(2):
        story.forge(story.command("a"), OK, saga_version=10**17)
        assert story.cause == "state_lost:a"
        story.forge(story.sent["a", "do", 1], OK, saga_version=10**17)
        story.operate(RetryStep())
        assert story.state.version < VERSIONS_LOST_MAX


def test_a_paused_saga_whose_state_was_lost_is_resumed_and_then_retried() -> None:
    """Two holds, two words."""
    story = Story(step("a"), step("b"))
    story.succeeds("a")
    story.lose(1)
    story.operate(PauseSaga())
    story.forge(story.sent["b", "do", 1], OK, saga_version=9)
    story.operate(RetryStep())
    assert story.refused.code == "paused"
    story.operate(ResumeSaga())
    assert story.asked == set()
    story.operate(RetryStep())
    assert story.said(RetryGranted) == [RetryGranted("a", "do")]
    assert story.state.version == 10
    assert story.command("a").body == msgspec.json.encode({"order": {"id": 1, "total": 20}})
