"""What an `approval` does, told as stories: it fails closed. Ten seconds, for the role `fraud`."""

import pytest

from core.story import Story, both, forward, pivot, step
from core.story_nodes import approval, decides, mark, result_of
from countermand.coordinator.core.journal import ApprovalDecided
from countermand.coordinator.core.possible import possible_operations
from countermand.coordinator.core.state import Approval
from countermand.schemas.messages import Accepted, Refused
from countermand.schemas.operations import PauseSaga, ResumeSaga, RetryStep


def refusal(story: Story) -> str:
    return story.refused.code


def test_an_approved_saga_goes_on_and_says_who_approved() -> None:
    """The decision, by whom and with what comment is the node's result."""
    story = Story(approval("review"), step("ship"))
    assert story.asked == set()
    decides(story, "review")
    assert story.asked == {"ship"}
    assert result_of(story, "review") == {"decision": "approved", "by": "bob", "comment": "looks fine"}


def test_a_denial_turns_the_saga_back() -> None:
    """Without a branch there is no way on."""
    story = Story(step("open"), approval("review"), step("ship"))
    story.succeeds("open")
    decides(story, "review", "denied")
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("approval_denied", "review")


def test_a_denial_takes_its_branch() -> None:
    """`otherwise` runs, and can say who denied it."""
    story = Story(approval("review", otherwise=step("explain")), step("ship"))
    decides(story, "review", "denied")
    assert story.asked == {"explain"}
    assert result_of(story, "review")["decision"] == "denied"
    story.succeeds("explain")
    assert story.asked == {"ship"}


def test_silence_is_no_approval() -> None:
    """When the time is over it is timed out: back, or into the branch; never on."""
    back = Story(step("open"), approval("review"), step("ship"))
    back.succeeds("open")
    back.waits(10_000)
    assert back.asked == {"~open"}
    assert back.state.failure is not None
    assert back.state.failure.code == "approval_timed_out"
    branch = Story(approval("review", otherwise=step("explain")), step("ship"))
    branch.waits(10_000)
    assert branch.asked == {"explain"}
    assert result_of(branch, "review") == {"decision": "timed_out", "by": None, "comment": ""}


def test_a_decision_after_the_time_is_refused_even_if_nobody_has_woken_the_saga_yet() -> None:
    """The moment counts, not when the wake-up gets round to it; and nothing is offered any more."""
    story = Story(approval("review"), step("ship"))
    story.now_ms += 10_000
    decides(story, "review")
    assert refusal(story) == "too_late"
    offered = {each.operation for each in possible_operations(story.plan, story.state, story.now_ms)}
    assert "decide" not in offered
    story.wake()
    assert story.phase == "compensated"


def test_it_is_decided_about_what_was_shown() -> None:
    """Another digest is another question: refused, and nothing changes."""
    story = Story(approval("review"), step("ship"))
    decides(story, "review", digest="f" * 64)
    assert refusal(story) == "digest_mismatch"
    asked = mark(story, "review")
    assert isinstance(asked, Approval)
    other = Story(approval("review", shows={"total": 21}), step("ship"))
    decides(other, "review", digest=asked.digest)
    assert refusal(other) == "digest_mismatch"


@pytest.mark.parametrize(
    ("actor", "roles", "code"),
    [
        ("bob", (), "not_allowed"),
        ("bob", ("support",), "not_allowed"),
        ("ann", ("fraud",), "requester"),
        ("ann", (), "requester"),
    ],
)
def test_only_those_named_decide_and_never_the_requester(actor: str, roles: tuple[str, ...], code: str) -> None:
    """Not even as an assignee, or with the role."""
    story = Story(approval("review", assignees=("ann", "carol"), requester="ann"))
    decides(story, "review", actor=actor, roles=roles)
    assert refusal(story) == code
    decides(story, "review", actor="carol", roles=())
    assert story.phase == "completed"


def test_it_is_offered_although_the_first_assignee_is_the_requester() -> None:
    """Somebody else can decide it, so it is on the list of what is possible."""
    story = Story(approval("review", assignees=("ann", "carol"), requester="ann"))
    offered = [
        each for each in possible_operations(story.plan, story.state, story.now_ms) if each.operation == "decide"
    ]
    assert [each.step for each in offered] == ["review", "review"]


def test_an_escalation_lets_others_decide_as_well() -> None:
    """Before it the other role is refused; from then on both may."""
    story = Story(approval("review", escalate_after_ms=4_000, escalate_to="board"), step("ship"))
    decides(story, "review", roles=("board",))
    assert refusal(story) == "not_allowed"
    story.waits(4_000)
    asked = mark(story, "review")
    assert isinstance(asked, Approval)
    assert asked.roles == ("fraud", "board")
    decides(story, "review", roles=("board",))
    assert story.asked == {"ship"}


def test_a_decision_is_taken_once() -> None:
    """The same request again is answered again; another one is told who decided."""
    story = Story(approval("review"), step("ship"))
    decides(story, "review", request_id="r1")
    asked = mark(story, "review")
    assert isinstance(asked, Approval)
    decides(story, "review", request_id="r1", digest=asked.digest)
    (answer,) = story.answered
    assert isinstance(answer, Accepted)
    assert answer.duplicate
    decides(story, "review", "denied", actor="carol", digest=asked.digest)
    assert refusal(story) == "already_decided"
    assert "bob" in story.refused.problem
    assert len(story.said(ApprovalDecided)) == 1


def test_what_is_no_approval_is_not_decided() -> None:
    """The answer names what the saga does wait for."""
    story = Story(both(approval("review"), step("ship")))
    decides(story, "ship")
    assert refusal(story) == "not_asked"
    assert "review" in story.refused.problem


def test_a_pause_stops_its_clock() -> None:
    """On hold it can be decided, its time doesn't run, and its escalation comes later too."""
    story = Story(approval("review", escalate_after_ms=4_000, escalate_to="board"), step("ship"))
    story.waits(1_000)
    story.operate(PauseSaga())
    story.waits(60_000)
    story.operate(ResumeSaga())
    assert story.decisions[-1].wake_at_ms == story.now_ms + 3_000
    story.operate(PauseSaga())
    story.waits(60_000)
    decides(story, "review")
    assert story.asked == set()
    story.operate(ResumeSaga())
    assert story.asked == {"ship"}


def test_assignees_that_are_no_people_turn_the_saga_back() -> None:
    """A person is named by text; who may decide is never guessed."""
    story = Story(step("open"), approval("review", assignees={"$": "[input.order.id]"}))
    story.succeeds("open")
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert story.state.failure.code == "unresolvable"


def test_a_denial_after_the_pivot_needs_a_person_and_can_be_asked_again() -> None:
    """It is not gone past. Asked again, it is a new decision with its whole time."""
    story = Story(pivot("pay"), approval("review"), forward("ship"))
    story.succeeds("pay")
    decides(story, "review", "denied")
    assert story.cause == "forward_rejected:review"
    assert story.asked == set()
    story.operate(RetryStep())
    assert not isinstance(story.answered[-1], Refused)
    decides(story, "review")
    assert story.asked == {"ship"}


def test_a_saga_that_turns_back_asks_nobody_any_more() -> None:
    """The approval is dropped, and deciding it is refused."""
    story = Story(
        both(
            approval("review"),
            step("reserve"),
        ),
        step("ship"),
    )
    story.fails("reserve", retryable=False)
    asked = mark(story, "review")
    assert isinstance(asked, Approval)
    assert asked.status == "dropped"
    decides(story, "review", digest=asked.digest)
    assert refusal(story) == "already_decided"
