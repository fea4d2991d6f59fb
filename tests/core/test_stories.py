"""What happens to a saga, told as stories. Steps are asked two times at most, a second each, with a second between."""

import msgspec

from core.story import ONCE, Story, both, forward, pivot, step
from countermand.coordinator.core.journal import (
    AttemptFailed,
    DeadlineMissed,
    ReplyIgnored,
    TurnDeferred,
)
from countermand.schemas.messages import Accepted, Failed, Failure, Outcome, Refused, Rejected, Succeeded

OK = Succeeded()


# --- forward


def test_steps_run_in_the_order_of_writing_and_branches_side_by_side() -> None:
    """A step is asked for when everything before it is done, and a parallel is done when all of its branches are."""
    story = Story(step("reserve"), both(step("charge"), step("quote")), step("ship"))
    assert story.asked == {"reserve"}
    story.succeeds("reserve")
    assert story.asked == {"charge", "quote"}
    story.succeeds("quote")
    assert story.asked == {"charge"}
    story.succeeds("charge")
    assert story.asked == {"ship"}
    story.succeeds("ship")
    assert story.phase == "completed"
    assert story.answered == [Outcome("order-1", "completed")]


def test_a_failed_attempt_is_made_again_after_a_pause() -> None:
    """The same key, the next attempt, another command id; then all is well."""
    story = Story(step("reserve"))
    first = story.command("reserve")
    story.fails("reserve")
    assert story.asked == set()
    assert story.state.steps["reserve"].do.status == "waiting"
    story.waits(999)
    assert story.asked == set()
    story.waits(1)
    second = story.command("reserve")
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.key == second.key
    assert first.command_id != second.command_id
    story.succeeds("reserve")
    assert story.phase == "completed"


def test_a_success_of_any_attempt_settles_the_step() -> None:
    """The first attempt's answer comes while the second is out: the key is the same, so it is done."""
    story = Story(step("reserve"), step("ship"))
    story.waits(2_000)
    assert story.command("reserve").attempt == 2
    story.late("reserve", OK, attempt=1)
    assert story.asked == {"ship"}
    story.late("reserve", OK, attempt=2)
    assert [type(entry) for entry in story.last] == [ReplyIgnored]


def test_a_failure_counts_only_for_the_attempt_that_is_out() -> None:
    """A late failure of the first attempt doesn't end the second one."""
    story = Story(step("reserve"))
    story.waits(2_000)
    story.late("reserve", Failed("broken"), attempt=1)
    assert story.command("reserve").attempt == 2
    (fact,) = story.last
    assert isinstance(fact, ReplyIgnored)
    assert fact.why == "stale"


def test_a_hopeless_failure_is_not_tried_again() -> None:
    """`retryable` false gives the step up at once."""
    story = Story(step("reserve"), step("ship"))
    story.succeeds("reserve")
    story.fails("ship", retryable=False)
    assert story.asked == {"~ship"}


# --- turning back


def test_a_rejection_turns_the_saga_back() -> None:
    """A business no: the steps before are undone from the last to the first, the rejected one is not."""
    story = Story(step("reserve"), step("charge"), step("ship"))
    story.succeeds("reserve", "charge")
    story.rejects("ship", "no_carrier")
    assert story.state.failure == Failure("no_carrier", "", "ship")
    assert story.asked == {"~charge"}
    story.succeeds("charge")
    assert story.asked == {"~reserve"}
    story.succeeds("reserve")
    assert story.phase == "compensated"


def test_branches_are_undone_side_by_side() -> None:
    """Compensations that don't depend on each other don't wait for each other; what came before them waits for all."""
    story = Story(step("reserve"), both(step("charge"), step("quote")), step("ship"))
    story.succeeds("reserve", "charge", "quote")
    story.rejects("ship")
    assert story.asked == {"~charge", "~quote"}
    story.succeeds("quote")
    assert story.asked == {"~charge"}
    story.succeeds("charge")
    assert story.asked == {"~reserve"}


def test_a_step_that_is_given_up_in_doubt_is_undone() -> None:
    """Attempts that failed without vouching may have done something: unknown is undone like done."""
    story = Story(step("reserve"), step("charge"))
    story.succeeds("reserve")
    story.fails("charge", rolled_back=True)
    story.waits(1_000)
    story.fails("charge")
    assert story.state.steps["charge"].do.status == "unknown"
    assert story.asked == {"~charge"}
    story.succeeds("charge")
    assert story.asked == {"~reserve"}


def test_one_attempt_in_doubt_is_enough() -> None:
    """What a later attempt vouches for says nothing about the one before."""
    story = Story(step("charge"))
    story.fails("charge")
    story.waits(1_000)
    story.fails("charge", rolled_back=True)
    assert story.asked == {"~charge"}


def test_a_step_whose_attempts_were_rolled_back_is_undone_all_the_same() -> None:
    """Each attempt vouched for itself, but a copy of its command may still be on the way: the undo closes the key."""
    story = Story(step("reserve"), step("charge"))
    story.succeeds("reserve")
    story.fails("charge", rolled_back=True)
    story.waits(1_000)
    story.fails("charge", rolled_back=True)
    assert story.state.steps["charge"].do.status == "not_done"
    assert story.asked == {"~charge"}


def test_silence_is_doubt() -> None:
    """A participant that never answers is asked again when its time is up, then given up, then undone."""
    story = Story(step("reserve"))
    story.waits(1_000)
    (failed,) = story.said(AttemptFailed)
    assert isinstance(failed, AttemptFailed)
    assert (failed.why, failed.then) == ("timed_out", "waiting")
    story.waits(1_000)
    assert story.asked == {"reserve"}
    story.waits(1_000)
    assert story.asked == {"~reserve"}
    assert story.state.failure == Failure("timed_out", "", "reserve")


def test_the_other_branch_counts_as_unknown_when_the_saga_turns() -> None:
    """What is out may have been done; what waits for another attempt was not, if its first one vouched for that."""
    story = Story(both(step("charge"), step("quote"), step("insure")))
    story.fails("insure", rolled_back=True)
    story.rejects("charge")
    assert {name: each.do.status for name, each in story.state.steps.items()} == {
        "charge": "rejected",
        "quote": "unknown",
        "insure": "not_done",
    }
    assert story.asked == {"~quote", "~insure"}


def test_a_success_that_comes_after_its_compensation_was_asked_for_is_a_fact() -> None:
    """The barrier knows best which of the two came first; the compensation's command stays what it was."""
    story = Story(step("charge"), both(step("quote"), step("ship")))
    story.succeeds("charge")
    story.rejects("ship")
    undo = story.command("quote")
    story.late("quote", Succeeded(msgspec.Raw(b'{"id":9}')))
    (fact,) = story.last
    assert isinstance(fact, ReplyIgnored)
    assert fact.why == "late"
    assert story.command("quote").body == undo.body
    story.succeeds("quote")
    assert story.asked == {"~charge"}


def test_a_compensation_learns_the_result_of_its_action() -> None:
    """It gets the original command and what came of it; null where that is not known."""
    story = Story(both(step("charge"), step("quote")), step("ship"))
    story.succeeds("charge", result={"id": 9})
    story.rejects("quote")
    assert msgspec.json.decode(story.command("charge").body) == {
        "command": {"order": {"id": 1, "total": 20}},
        "result": {"id": 9},
    }
    silent = Story(step("charge", retry=ONCE))
    silent.waits(1_000)
    assert msgspec.json.decode(silent.command("charge").body)["result"] is None


def test_a_rejection_that_comes_after_its_compensation_was_asked_for_is_a_fact() -> None:
    """The compensation is out and will be answered; a barrier lets one without an action succeed."""
    story = Story(both(step("a"), step("b")), step("never"))
    story.rejects("b")
    assert story.asked == {"~a"}
    story.late("a", Rejected("no"))
    (fact,) = story.last
    assert isinstance(fact, ReplyIgnored)
    assert fact.why == "late"


# --- the deadline


def test_a_deadline_before_the_pivot_turns_the_saga_back() -> None:
    """What is out counts as unknown; the command itself says that it need not be begun after the deadline."""
    story = Story(step("reserve"), pivot("capture"), deadline_ms=500)
    command = story.command("reserve")
    assert command.deadline_ms == story.now_ms + 500
    story.waits(500)
    assert story.state.failure is not None
    assert story.state.failure.code == "deadline"
    assert story.asked == {"~reserve"}


def test_a_deadline_at_the_pivot_waits_for_the_pivots_answer() -> None:
    """The pivot may have been done: turning back is put off until it has answered, and its no turns the saga back."""
    story = Story(step("reserve"), pivot("capture"), deadline_ms=500)
    story.succeeds("reserve")
    story.waits(500)
    assert [type(entry) for entry in story.last] == [TurnDeferred]
    assert story.phase == "running"
    assert story.asked == {"capture"}
    story.fails("capture", rolled_back=True)
    assert story.state.failure is not None
    assert story.state.failure.code == "deadline"
    story.succeeds("capture")
    assert story.asked == {"~reserve"}


def test_a_deadline_at_the_pivot_is_moot_once_the_pivot_is_done() -> None:
    """Past the pivot there is no way back, however late it is."""
    story = Story(step("reserve"), pivot("capture"), forward("ship"), deadline_ms=500)
    story.succeeds("reserve")
    story.waits(600)
    story.succeeds("capture")
    story.succeeds("ship")
    assert story.phase == "completed"


def test_a_pivot_in_doubt_is_asked_again_even_after_the_deadline() -> None:
    """Only its answer tells which way the saga goes, so it keeps its own patience, and its commands a later expiry."""
    story = Story(pivot("capture"), deadline_ms=500)
    story.waits(2_000)
    command = story.command("capture")
    assert command.attempt == 2
    assert command.deadline_ms == story.now_ms + 1_000


def test_a_deadline_after_the_pivot_is_only_noted() -> None:
    """The saga goes on, because there is no way back."""
    story = Story(pivot("capture"), forward("ship"), deadline_ms=500)
    story.succeeds("capture")
    story.waits(500)
    assert story.said(DeadlineMissed) == [DeadlineMissed()]
    assert story.asked == {"ship"}
    story.succeeds("ship")
    assert story.phase == "completed"


# --- cancelling


def test_a_cancel_before_the_pivot_turns_the_saga_back() -> None:
    """Asking again is answered, and nothing more."""
    story = Story(step("reserve"), pivot("capture"))
    story.cancel(reply_to="clients.1")
    assert story.answered == [Accepted("r-cancel", "order-1", "compensating")]
    assert story.state.failure == Failure("cancelled", "changed my mind")
    assert story.asked == {"~reserve"}
    story.cancel(reply_to="clients.1")
    assert story.answered == [Accepted("r-cancel", "order-1", "compensating", duplicate=True)]
    assert story.last == []


def test_a_cancel_at_the_pivot_is_put_off_until_the_pivot_has_answered() -> None:
    """The asker is told that it was taken; the pivot's success makes it moot, its no carries it out."""
    for answer, phase in ((OK, "completed"), (Rejected("no"), "compensated")):
        story = Story(pivot("capture"))
        story.cancel(reply_to="clients.1")
        assert story.answered == [Accepted("r-cancel", "order-1", "running")]
        story.answers("capture", answer)
        assert story.phase == phase


def test_a_cancel_after_the_pivot_is_refused() -> None:
    """There is no way back, and the asker is told so."""
    story = Story(pivot("capture"), forward("ship"))
    story.succeeds("capture")
    story.cancel(reply_to="clients.1")
    (refused,) = story.answered
    assert isinstance(refused, Refused)
    assert refused.code == "past_pivot"
    assert story.last == []


# --- time


def test_each_direction_has_its_own_patience() -> None:
    """An action and its compensation have a timeout and a policy each."""
    story = Story(step("charge", timeout_ms=1_000, retry=ONCE, undo_timeout_ms=9_000, undo_retry=ONCE))
    story.waits(1_000)
    assert story.command("charge").deadline_ms == story.now_ms + 9_000
    story.waits(8_999)
    assert story.asked == {"~charge"}
    story.waits(1)
    assert story.cause == "compensation_exhausted:charge"


def test_time_never_goes_back_inside_a_saga() -> None:
    """An event that comes with an earlier moment than the last one is taken to happen at that one."""
    story = Story(step("reserve"), step("ship"))
    began_ms = story.now_ms
    story.now_ms -= 60_000
    story.succeeds("reserve")
    assert {record.at_ms for record in story.records} == {began_ms}
    assert story.command("ship").deadline_ms == began_ms + 1_000


def test_a_wake_up_that_comes_too_early_does_nothing() -> None:
    """Timers never fire before they are due (P13)."""
    story = Story(step("reserve"), deadline_ms=5_000)
    story.wake(after_ms=999)
    assert story.last == []
    story.wake(after_ms=1)
    assert [type(entry) for entry in story.last] == [AttemptFailed]
