"""What operators do when a saga needs a person, told as stories.

Steps are asked two times at most, a second each, with a second between.
"""

import msgspec
import pytest
from msgspec.structs import replace

from core.story import ONCE, TWICE, Story, both, forward, pivot, step
from countermand.coordinator.core.journal import (
    CompensationStarted,
    OperatorActed,
    RetryGranted,
    SagaEnded,
    SagaStuck,
    StepAsked,
    TurnDeferred,
)
from countermand.coordinator.core.possible import possible_operations
from countermand.schemas.messages import Accepted, Failed, Rejected, Succeeded
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    ExtendDeadline,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SettleCompensation,
    SkipStep,
)

OK = Succeeded()
EDITED = msgspec.Raw(b'{"order":{"id":1,"address":"new"}}')


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def counted(story: Story) -> Accepted:
    """The operator was told that the request counts."""
    accepted = story.answered[-1]
    assert isinstance(accepted, Accepted), story.answered
    return accepted


# --- a compensation that always fails


def without_a_refund() -> Story:
    """The charge can't be refunded: its compensation has been given up, and `open` waits behind it."""
    story = Story(step("open"), step("charge"), step("ship"))
    story.succeeds("open", "charge")
    story.rejects("ship")
    story.fails("charge")
    story.waits(1_000)
    story.fails("charge")
    assert story.cause == "compensation_exhausted:charge"
    assert story.asked == set()
    return story


def test_a_compensation_is_retried_with_fresh_patience() -> None:
    """Attempts count on, under the same key; the policy counts from the retry."""
    story = without_a_refund()
    key = story.sent["charge", "undo", 1].key
    story.operate(RetryStep())
    assert counted(story).saga_version == story.state.version
    assert story.cause is None
    command = story.command("charge")
    assert (command.attempt, command.key) == (3, key)
    story.fails("charge")
    # The first pause again, not the second: the policy's two attempts begin anew.
    assert story.decisions[-1].wake_at_ms == story.now_ms + TWICE.backoff_ms
    story.waits(1_000)
    assert story.command("charge").attempt == 4
    story.fails("charge")
    assert story.cause == "compensation_exhausted:charge"
    story.operate(RetryStep("charge"))
    story.succeeds("charge", "open")
    assert story.phase == "compensated"


def test_a_compensation_is_skipped_and_the_saga_says_so_for_good() -> None:
    """The rest is undone; the end names an exception."""
    story = without_a_refund()
    story.operate(SkipStep())
    assert story.asked == {"~open"}
    story.succeeds("open")
    assert story.phase == "compensated_with_exceptions"


def test_a_compensation_is_settled_by_hand_with_evidence() -> None:
    """What a person undid counts as undone; who, why and how anybody can see it stand in the history."""
    story = without_a_refund()
    story.operate(SettleCompensation("bank transfer 4711"), actor="ann", reason="the bank's API is down")
    (acted,) = story.said(OperatorActed)
    assert isinstance(acted, OperatorActed)
    assert (acted.actor, acted.reason, acted.step) == ("ann", "the bank's API is down", "charge")
    assert acted.evidence == "bank transfer 4711"
    assert story.asked == {"~open"}
    story.succeeds("open")
    assert story.phase == "compensated_with_exceptions"


def test_a_skipped_compensation_that_was_done_after_all_is_no_exception() -> None:
    """The participant's late word is better than the operator's."""
    story = without_a_refund()
    story.operate(SkipStep())
    story.late("charge", OK, direction="undo", attempt=2)
    story.succeeds("open")
    assert story.phase == "compensated"


def test_a_late_failure_of_a_skipped_compensation_changes_nothing() -> None:
    """It is never asked for again."""
    story = without_a_refund()
    story.operate(SkipStep())
    story.late("charge", Failed("broken"), direction="undo", attempt=2)
    story.late("charge", Rejected("no"), direction="undo", attempt=1)
    assert story.state.steps["charge"].undo is not None
    assert story.state.steps["charge"].undo.status == "skipped"
    assert story.asked == {"~open"}


def test_a_compensation_that_waits_for_its_next_attempt_is_retried_at_once() -> None:
    """Nobody has to wait for a long pause to pass."""
    story = Story(step("charge"), step("ship"))
    story.succeeds("charge")
    story.rejects("ship")
    story.fails("charge")
    assert story.asked == set()
    story.operate(RetryStep("charge"))
    assert story.command("charge").attempt == 2


# --- after the pivot


def address_refused() -> Story:
    """Paid, and then a business no where there is no way back."""
    story = Story(pivot("pay"), forward("ship"), forward("mail"))
    story.succeeds("pay")
    story.rejects("ship", "no_such_address")
    assert story.cause == "forward_rejected:ship"
    return story


def test_a_rejected_step_is_retried_under_a_new_key_with_an_edited_input() -> None:
    """The rejection closed the old key, so nothing can be done under it; the history holds a digest, not the input."""
    story = address_refused()
    story.operate(RetryStep(input=EDITED))
    command = story.command("ship")
    assert (command.key, command.attempt, command.body) == ("order-1/ship~1", 2, bytes(EDITED))
    assert story.said(RetryGranted) == [RetryGranted("ship", "do", new_key=True, edited=True)]
    (acted,) = story.said(OperatorActed)
    assert isinstance(acted, OperatorActed)
    assert acted.payload_digest is not None
    story.late("ship", Rejected("no_such_address"), attempt=1)
    assert story.asked == {"ship"}
    story.succeeds("ship", "mail")
    assert story.phase == "completed"


def test_a_step_that_is_rejected_again_gets_yet_another_key_and_keeps_its_edit() -> None:
    """Each rejection closes its own key only."""
    story = address_refused()
    story.operate(RetryStep(input=EDITED))
    story.rejects("ship")
    assert story.cause == "forward_rejected:ship"
    story.operate(RetryStep())
    command = story.command("ship")
    assert (command.key, command.body) == ("order-1/ship~2", bytes(EDITED))
    story.fails("ship")
    story.waits(1_000)
    assert story.command("ship").key == "order-1/ship~2"


def test_an_exhausted_step_is_skipped_with_the_result_that_others_need() -> None:
    """It counts as done, and what follows goes on with the operator's result."""
    needy = replace(forward("mail"), input={"number": {"$": "steps.ship.tracking"}})
    story = Story(pivot("pay"), forward("ship", retry=ONCE), needy)
    story.succeeds("pay")
    story.fails("ship")
    story.operate(SkipStep(result=raw({"other": 1})))
    refused = story.refused
    assert refused.code == "invalid_payload"
    assert refused.problem.startswith("result: ")
    assert "'tracking'" in refused.problem
    story.operate(SkipStep())
    assert story.refused.code == "invalid_payload"
    assert story.cause == "forward_exhausted:ship"
    story.operate(SkipStep(result=raw({"tracking": "T1"})))
    assert story.command("mail").body == b'{"number":"T1"}'
    story.late("ship", Succeeded(raw({"tracking": "T2"})))
    assert story.saga is not None
    assert story.saga.results["ship"] == raw({"tracking": "T1"})
    story.succeeds("mail")
    assert story.phase == "completed"


def test_a_command_that_cannot_be_made_is_given_an_input() -> None:
    """A result lacks the field; the operator writes the command instead."""
    needy = replace(forward("ship"), input={"of": {"$": "steps.pay.id"}})
    story = Story(pivot("pay"), needy)
    story.succeeds("pay", result={})
    assert story.cause == "unresolvable:ship"
    story.operate(RetryStep())
    assert story.cause == "unresolvable:ship"
    story.operate(RetryStep(input=EDITED))
    command = story.command("ship")
    assert (command.key, command.attempt, command.body) == ("order-1/ship", 1, bytes(EDITED))
    story.succeeds("ship")
    assert story.phase == "completed"


def test_a_command_that_cannot_be_made_is_skipped() -> None:
    """A step that was never asked for can be gone without, too."""
    needy = replace(forward("ship"), input={"of": {"$": "steps.pay.id"}})
    story = Story(pivot("pay"), needy)
    story.succeeds("pay", result={})
    story.operate(SkipStep("ship", raw("by hand")))
    assert story.phase == "completed"


def test_what_else_is_stuck_shows_once_the_first_is_retried() -> None:
    """Two steps are given up; one is retried, and the saga still says that the other waits."""
    story = Story(pivot("pay"), both(forward("ship", retry=ONCE), forward("mail", retry=ONCE)))
    story.succeeds("pay")
    story.fails("ship")
    story.fails("mail")
    story.operate(RetryStep("ship"))
    assert story.cause == "forward_exhausted:mail"
    assert story.asked == {"ship"}
    story.operate(RetryStep())
    assert story.asked == {"ship", "mail"}
    assert story.cause is None


# --- the pivot in doubt


def in_doubt() -> Story:
    """Nobody knows whether the money was taken."""
    story = Story(step("reserve"), pivot("capture", retry=ONCE), forward("ship"))
    story.succeeds("reserve")
    story.waits(1_000)
    assert story.cause == "pivot_unknown:capture"
    return story


def test_a_pivot_in_doubt_is_asked_again_under_its_key() -> None:
    """Its participant answers from its record, or does it now: once at most."""
    story = in_doubt()
    story.operate(RetryStep())
    assert (story.command("capture").key, story.command("capture").attempt) == ("order-1/capture", 2)
    story.succeeds("capture")
    assert story.asked == {"ship"}


def test_a_saga_is_turned_back_at_a_pivot_in_doubt_by_an_operator_only() -> None:
    """A client's cancel waits for the pivot's answer; an operator closes its key first, then the rest is undone."""
    story = in_doubt()
    story.cancel()
    assert story.said(TurnDeferred)
    assert not story.said(CompensationStarted)
    story.operate(CompensateSaga(), reason="the customer gave up")
    assert story.asked == {"~capture"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.reason) == ("operator", "the customer gave up")
    story.succeeds("capture")
    assert story.asked == {"~reserve"}
    story.succeeds("reserve")
    assert story.phase == "compensated"


def test_a_pivot_that_was_done_after_all_needs_the_operator_again() -> None:
    """Its participant says that it was done and can't be undone: nothing else is undone on a guess."""
    story = in_doubt()
    story.operate(CompensateSaga())
    story.fails("capture", retryable=False)
    assert story.cause == "compensation_exhausted:capture"
    assert story.asked == set()
    story.operate(SettleCompensation("refund 12"))
    story.succeeds("reserve")
    assert story.phase == "compensated_with_exceptions"


def test_a_pivot_in_doubt_is_skipped_as_done() -> None:
    """The operator has seen the money: the saga is past its pivot."""
    story = in_doubt()
    story.operate(SkipStep(result=raw({"id": 1})))
    assert story.asked == {"ship"}
    story.operate(CompensateSaga())
    assert story.refused.code == "past_pivot"


# --- turning back, ending


def test_an_operator_turns_a_saga_back() -> None:
    """As a client's cancel does, with the operator's reason."""
    story = Story(step("reserve"), step("ship"))
    story.succeeds("reserve")
    story.operate(CompensateSaga(), reason="fraud")
    assert story.asked == {"~ship"}
    story.succeeds("ship", "reserve")
    assert story.phase == "compensated"


def test_turning_back_tells_only_of_what_would_be_undone() -> None:
    """A step that is never undone is not among what an operator is told."""
    story = Story(step("reserve"), step("look_up", compensation=False, because="it only reads"), step("ship"))
    story.succeeds("reserve", "look_up")
    offered = possible_operations(story.plan, story.state, story.now_ms)
    turning = next(each for each in offered if each.operation == "compensate")
    assert turning.effect == "turns the saga back and undoes ship, reserve"


def test_turning_back_waits_for_a_pivot_that_is_out() -> None:
    """Its answer decides, for an operator too, as long as one can still come."""
    story = Story(step("reserve"), pivot("capture"))
    story.succeeds("reserve")
    story.operate(CompensateSaga())
    assert story.phase == "running"
    story.operate(CompensateSaga())
    assert story.refused.code == "already_turning"
    story.rejects("capture")
    assert story.asked == {"~reserve"}


def test_an_abandoned_saga_says_what_it_leaves_behind() -> None:
    """Each effect, and how sure it is; nothing is undone, nothing is sent, whoever waits is told."""
    story = Story(step("a"), step("b"), both(step("c"), step("d")), step("e"))
    story.succeeds("a", "b", "c")
    story.rejects("d")
    story.fails("c", retryable=False)
    story.operate(AbandonSaga())
    assert story.refused.code == "version_needed"
    story.operate(AbandonSaga(), expected_version=story.state.version)
    (ended,) = story.said(SagaEnded)
    assert ended == SagaEnded("abandoned", remaining=("a: done", "b: done", "c: done"))
    assert (story.phase, story.asked, story.decisions[-1].wake_at_ms) == ("abandoned", set(), None)
    assert counted(story).phase == "abandoned"
    story.late("c", OK, direction="undo")
    assert story.phase == "abandoned"


def test_an_abandoned_saga_says_what_may_have_been_done() -> None:
    """What is out and what was skipped count as effects; what was undone or settled doesn't."""
    story = Story(step("a"), step("b"), step("c"), step("d"))
    story.succeeds("a", "b")
    story.fails("c")
    story.operate(SkipStep("c", raw(None)))
    story.operate(CompensateSaga())
    story.succeeds("d")
    story.fails("c", retryable=False)
    story.operate(SkipStep("c"))
    story.fails("b", retryable=False)
    story.operate(SettleCompensation("by hand", "b"))
    story.operate(AbandonSaga(), expected_version=story.state.version)
    assert story.said(SagaEnded) == [SagaEnded("abandoned", remaining=("a: done", "c: skipped, counts as done"))]


# --- who acts


def test_two_operators_at_once_one_wins_and_the_other_is_told_by_whom() -> None:
    """Both looked at the same version; the second one is told that it is another one by now, and who was faster."""
    story = without_a_refund()
    seen = story.state.version
    story.operate(RetryStep(), actor="ann", expected_version=seen)
    assert counted(story)
    asked = len(story.said(StepAsked))
    story.operate(SkipStep(), actor="bob", expected_version=seen)
    refused = story.refused
    assert refused.code == "version_conflict"
    assert "ann (retry)" in refused.problem
    assert f"revision {story.state.version}, not {seen}" in refused.problem
    assert len(story.said(StepAsked)) == asked


@pytest.mark.parametrize("later", [False, True])
def test_a_request_that_comes_again_counts_once(later: bool) -> None:
    """It is answered as a duplicate, in motion and after the end, whatever version it names; other content is not."""
    story = without_a_refund()
    seen = story.state.version
    story.operate(RetryStep(), request_id="r1", expected_version=seen)
    if later:
        story.succeeds("charge", "open")
        assert story.phase == "compensated"
    version = story.state.version
    story.operate(RetryStep(), request_id="r1", expected_version=seen)
    assert counted(story) == Accepted("r1", "order-1", story.state.phase, duplicate=True, saga_version=version)
    story.operate(SkipStep(), request_id="r1")
    assert story.refused.code == "id_taken"
    assert "ann (retry)" in story.refused.problem
    assert story.state.version == version


def test_what_is_stuck_comes_first_in_the_list_of_what_is_possible() -> None:
    """And what each would do is said in words."""
    story = without_a_refund()
    offered = possible_operations(story.plan, story.state, story.now_ms)
    assert [(each.operation, each.step) for each in offered] == [
        ("retry", "charge"),
        ("settle_compensation", "charge"),
        ("skip", "charge"),
        ("pause", None),
        ("abandon", None),
    ]
    assert all(each.effect for each in offered)
    assert offered[-1].effect.endswith("effects that remain: open: done, charge: done")


def test_a_stuck_saga_is_paused_and_resumed_and_still_stuck() -> None:
    """To hold it changes nothing about why it needs a person."""
    story = without_a_refund()
    story.operate(PauseSaga())
    story.operate(RetryStep())
    assert story.refused.code == "paused"
    story.operate(ResumeSaga())
    assert story.cause == "compensation_exhausted:charge"
    assert len(story.said(SagaStuck)) == 1


def test_a_deadline_is_extended() -> None:
    """The saga turns back at the new moment, not at the old one."""
    story = Story(step("reserve", timeout_ms=60_000), deadline_ms=5_000)
    story.operate(ExtendDeadline(story.now_ms + 9_000))
    story.waits(8_000)
    assert story.phase == "running"
    story.waits(1_000)
    assert story.phase == "compensating"
    story.operate(ExtendDeadline(story.now_ms + 9_000))
    assert story.refused.code == "already_compensating"
