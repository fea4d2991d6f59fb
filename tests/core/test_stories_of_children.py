"""What a child saga and the saga that started it have to do with each other, told as stories from both sides."""

import msgspec
import pytest

from core.story import Story, both, forward, pivot, step
from core.story_nodes import body_of, child, result_of, tidings
from countermand.coordinator.core.commands import BY_HAND_RESULT, answer_to_parent
from countermand.schemas.coordination import ParentEndedMessage
from countermand.schemas.definition import Node
from countermand.schemas.messages import Rejected, ReplyMessage, Succeeded
from countermand.schemas.operations import AbandonSaga, RetryStep, SkipStep

# --- the parent


def test_a_child_is_asked_for_by_an_id_that_stays() -> None:
    """Its id, definition and input; the same again when it is asked for again; its outcome is the node's result."""
    story = Story(child("booking", timeout_ms=None), step("ship"))
    command = story.command("booking")
    assert (command.participant, command.action) == ("countermand", "saga")
    expected = {"saga_id": "order-1:booking", "definition": "other", "version": None, "depth": 1}
    assert {**expected, "input": {"order": {"id": 1, "total": 20}}} == body_of(story, "booking")
    story.waits(6 * 60 * 60 * 1000 + 60_000)
    again = story.command("booking")
    assert (again.attempt, again.key, again.body) == (2, command.key, command.body)
    story.answers("booking", Succeeded(msgspec.Raw(b'{"ref":7}')))
    assert result_of(story, "booking") == {"ref": 7}
    assert story.asked == {"ship"}


def test_a_child_that_was_undone_turns_its_parent_back() -> None:
    """Its failure is the parent's, and the child isn't asked to be undone once more."""
    story = Story(step("open"), child("booking"), step("ship"))
    story.succeeds("open")
    story.rejects("booking", "sold_out")
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("sold_out", "booking")


def test_a_completed_child_is_undone_with_its_parent() -> None:
    """And its parent waits for that, in the order of the definition."""
    story = Story(step("open"), child("booking"), step("ship"))
    story.succeeds("open", "booking")
    story.rejects("ship")
    assert story.asked == {"~booking"}
    assert body_of(story, "booking")["command"]["saga_id"] == "order-1:booking"
    story.succeeds("booking")
    assert story.asked == {"~open"}


def test_a_child_that_is_still_running_is_undone_too() -> None:
    """It counts as unknown: whatever it did goes back."""
    story = Story(both(child("booking"), step("reserve")))
    story.rejects("reserve")
    assert story.asked == {"~booking"}


def test_a_child_past_its_pivot_can_not_be_undone_and_a_person_is_asked() -> None:
    """The parent is stuck with the reason; whoever skips it ends with an exception."""
    story = Story(child("booking"), step("ship"))
    story.succeeds("booking")
    story.rejects("ship")
    story.rejects("booking", "past_pivot")
    assert story.cause == "compensation_rejected:booking"
    story.operate(SkipStep())
    assert story.phase == "compensated_with_exceptions"


def test_a_child_that_was_undone_by_hand_is_told_apart() -> None:
    """Its parent's end says so too."""
    story = Story(child("booking"), step("ship"))
    story.succeeds("booking")
    story.rejects("ship")
    story.answers("booking", Succeeded(msgspec.Raw(BY_HAND_RESULT)))
    assert story.phase == "compensated_with_exceptions"


def test_a_child_that_takes_too_long_is_undone() -> None:
    """With a time of its own it is given up after it, once."""
    story = Story(step("open"), child("booking", timeout_ms=5_000))
    story.succeeds("open")
    story.waits(5_000)
    assert story.asked == {"~booking"}


@pytest.mark.parametrize("end", ["completed", "compensated", "abandoned"])
def test_children_are_told_that_their_parent_has_ended(end: str) -> None:
    """However it ends: nobody will ask for their undoing any more, so they need not be kept for it."""
    story = Story(child("booking"), step("ship"))
    assert tidings(story, ParentEndedMessage) == []
    story.succeeds("booking")
    if end == "completed":
        story.succeeds("ship")
    elif end == "compensated":
        story.rejects("ship")
        story.succeeds("booking")
    else:
        story.operate(AbandonSaga(), expected_version=story.state.version)
    assert story.phase == end
    assert tidings(story, ParentEndedMessage) == [ParentEndedMessage("order-1:booking", "order-1", "booking")]


# --- the child


class Child(Story):
    """A saga that another one asks for, if no client did before."""

    def __init__(self, *nodes: Node, begun: bool = False) -> None:
        super().__init__(*nodes, begun=begun)

    @property
    def answer(self) -> ReplyMessage | None:
        assert self.saga is not None
        return answer_to_parent(self.plan, self.saga)


def started(*nodes: Node) -> Child:
    story = Child(*nodes)
    story.asked_by_parent("do")
    return story


def test_a_child_answers_when_it_has_ended() -> None:
    """With its outcome, to the newest attempt that asked; before that it says nothing."""
    story = started(step("reserve"))
    assert story.answer is None
    story.asked_by_parent("do", 2)
    story.succeeds("reserve")
    assert story.phase == "completed"
    assert story.answer is not None
    assert (story.answer.attempt, story.answer.direction, story.answer.saga_id) == (2, "do", "parent-1")
    assert isinstance(story.answer.outcome, Succeeded)


def test_a_child_that_turned_back_answers_with_its_failure() -> None:
    """A rejection: nothing of it remains."""
    story = started(step("reserve"))
    story.rejects("reserve", "sold_out")
    assert story.answer is not None
    assert story.answer.outcome == Rejected("sold_out", "")


def test_a_completed_child_is_undone_when_its_parent_asks() -> None:
    """It goes back from its end, in the reverse order, and then says so."""
    story = started(step("reserve"), step("charge"))
    story.succeeds("reserve", "charge")
    assert story.phase == "completed"
    story.asked_by_parent("undo")
    assert (story.phase, story.asked) == ("compensating", {"~charge"})
    assert story.answer is None
    story.succeeds("charge")
    story.succeeds("reserve")
    assert story.phase == "compensated"
    assert story.answer is not None
    assert (story.answer.direction, story.answer.outcome) == ("undo", Succeeded())


def test_asking_for_an_undoing_again_is_answered_and_not_done_again() -> None:
    """The newest attempt is the one that is answered."""
    story = started(step("reserve"))
    story.succeeds("reserve")
    story.asked_by_parent("undo")
    story.succeeds("reserve")
    story.asked_by_parent("undo", 2)
    assert story.phase == "compensated"
    assert story.answer is not None
    assert story.answer.attempt == 2
    assert len([key for key in story.sent if key[1] == "undo"]) == 1


def test_an_undoing_that_comes_before_the_start_leaves_a_tombstone() -> None:
    """Nothing starts any more, and the start that comes late is answered by the end that is there."""
    story = Child(step("reserve"))
    story.asked_by_parent("undo")
    assert story.phase == "compensated"
    assert story.answer is not None
    assert (story.answer.direction, story.answer.outcome) == ("undo", Succeeded())
    story.asked_by_parent("do")
    assert (story.phase, story.asked) == ("compensated", set())


def test_a_running_child_turns_back_when_its_parent_asks() -> None:
    """What is out is given up and undone."""
    story = started(step("reserve"), step("charge"))
    story.succeeds("reserve")
    story.asked_by_parent("undo")
    assert story.asked == {"~charge"}


def test_a_child_past_its_pivot_goes_on_and_says_that_it_can_not_be_undone() -> None:
    """It answers when it has ended: rejected, with the reason."""
    story = started(pivot("charge"), forward("ship"))
    story.succeeds("charge")
    story.asked_by_parent("undo")
    assert story.asked == {"ship"}
    story.succeeds("ship")
    assert story.answer is not None
    assert isinstance(story.answer.outcome, Rejected)
    assert story.answer.outcome.code == "past_pivot"


def test_an_abandoned_child_is_told_apart() -> None:
    """Its parent may not believe that nothing remains."""
    story = started(step("reserve"))
    story.operate(AbandonSaga(), expected_version=story.state.version)
    assert story.answer is not None
    assert getattr(story.answer.outcome, "code", None) == "child_abandoned"
    story.asked_by_parent("undo")
    assert story.answer is not None
    assert isinstance(story.answer.outcome, Rejected)


def test_a_child_whose_parent_is_gone_has_nobody_to_answer() -> None:
    """Its own way it goes on."""
    story = started(step("reserve"))
    story.parent_ended()
    story.succeeds("reserve")
    assert (story.phase, story.answer) == ("completed", None)


def test_an_undoing_that_came_while_the_state_was_lost_is_not_forgotten() -> None:
    """Nothing is done until a person has looked; then the child turns back, and doesn't complete and refuse."""
    story = started(step("reserve"), step("charge"))
    story.succeeds("reserve")
    command = story.command("charge")
    story.lose(1)
    story.reply(command, Succeeded())
    assert story.cause == "state_lost:charge"
    story.asked_by_parent("undo")
    assert story.state.halted
    story.operate(RetryStep())
    assert story.phase == "compensating"


def test_somebody_elses_saga_is_left_alone() -> None:
    """A client started a saga under this id: it isn't a child, so it is neither undone nor does it answer."""
    story = Child(step("reserve"), begun=True)
    story.asked_by_parent("undo")
    assert (story.phase, story.asked, story.answer) == ("running", {"reserve"}, None)
