"""What a `scope` does, told as stories: it turns back alone, and the saga goes on after it."""

import msgspec

from core.story import ONCE, Story, both, step
from core.story_nodes import approval, body_of, decides, each, in_order, is_open, mark, scope, sleep, wait
from countermand.coordinator.core.journal import ScopeUndone
from countermand.coordinator.core.state import Scoped
from countermand.schemas.definition import Node, StepNode
from countermand.schemas.messages import Accepted, Failure, Succeeded
from countermand.schemas.operations import RetryStep, SkipStep


def reading(name: str, text: str) -> StepNode:
    return msgspec.structs.replace(step(name), input={"of": {"$": text}})


def test_a_scope_that_fails_is_undone_alone_and_the_saga_goes_on() -> None:
    """What came before it stays; what comes after it can ask what happened; nothing more of it is run."""
    story = Story(step("open"), scope("trip", step("hotel"), step("car"), step("bike")), reading("bill", "steps.trip"))
    story.succeeds("open", "hotel")
    story.rejects("car", "sold_out")
    assert story.phase == "running"
    assert story.asked == {"~hotel"}
    story.succeeds("hotel")
    expected = {"failed": True, "code": "sold_out", "reason": "", "step": "car"}
    assert body_of(story, "bill") == {"of": expected}
    story.succeeds("bill")
    assert story.phase == "completed"
    assert story.state.failure is None


def test_a_scope_that_runs_well_says_so() -> None:
    """Its own answer is that it didn't fail."""
    story = Story(scope("trip", step("hotel")), reading("bill", "steps.trip.failed"))
    story.succeeds("hotel")
    assert body_of(story, "bill") == {"of": False}


def test_what_was_undone_with_its_scope_is_not_there_any_more() -> None:
    """A reader outside that asks first finds nothing, though the action had a result."""
    story = Story(scope("trip", step("hotel"), step("car")), reading("bill", "has(steps.hotel) ? steps.hotel : 'none'"))
    story.succeeds("hotel", result={"room": 7})
    story.rejects("car")
    assert story.asked == {"~hotel"}
    assert body_of(story, "hotel")["result"] == {"room": 7}
    story.succeeds("hotel")
    assert body_of(story, "bill") == {"of": "none"}


def test_a_saga_that_turns_back_later_does_not_undo_a_scope_twice() -> None:
    """What was undone with the scope is over; the rest is undone as always."""
    story = Story(step("open"), scope("trip", step("hotel"), step("car")), step("bill"))
    story.succeeds("open", "hotel")
    story.rejects("car")
    story.succeeds("hotel")
    story.rejects("bill")
    assert story.asked == {"~open"}
    story.succeeds("open")
    assert story.phase == "compensated"
    assert [key for key in story.sent if key[1] == "undo"] == [("hotel", "undo", 1), ("open", "undo", 1)]


def test_a_scope_that_went_well_is_undone_with_the_saga() -> None:
    """A savepoint that was left protects nothing any more."""
    story = Story(scope("trip", step("hotel"), step("car")), step("bill"))
    story.succeeds("hotel", "car")
    story.rejects("bill")
    assert story.asked == {"~car"}
    story.succeeds("car")
    assert story.asked == {"~hotel"}


def test_a_saga_that_turns_back_while_a_scope_does_goes_on_undoing() -> None:
    """The compensation that is out stays out, once, and what comes before the scope waits for it."""
    story = Story(step("open"), scope("trip", step("hotel"), step("car")))
    story.succeeds("open", "hotel")
    story.rejects("car")
    story.cancel()
    assert (story.phase, story.asked) == ("compensating", {"~hotel"})
    story.succeeds("hotel")
    assert story.asked == {"~open"}
    assert len([key for key in story.sent if key[:2] == ("hotel", "undo")]) == 1


def test_the_innermost_scope_turns_back() -> None:
    """The scope around it goes on after it."""
    story = Story(scope("outer", step("hotel"), scope("inner", step("car"), step("fuel")), step("tour")))
    story.succeeds("hotel", "car")
    story.rejects("fuel")
    assert story.asked == {"~car"}
    story.succeeds("car")
    assert story.asked == {"tour"}
    story.rejects("tour")
    assert story.asked == {"~hotel"}
    story.succeeds("hotel")
    assert story.phase == "completed"
    assert story.said(ScopeUndone) == [ScopeUndone("inner"), ScopeUndone("outer")]


def test_a_scope_around_one_that_turns_back_waits_for_it() -> None:
    """A sibling fails the outer scope while the inner one is being undone: nothing is undone twice or forgotten."""
    inner = scope("inner", step("car"), step("fuel"))
    story = Story(scope("outer", step("hotel"), both(inner, step("tour"))), step("bill"))
    story.succeeds("hotel", "car")
    story.rejects("fuel")
    story.rejects("tour")
    assert story.asked == {"~car"}
    story.succeeds("car")
    assert story.asked == {"~hotel"}
    story.succeeds("hotel")
    assert story.asked == {"bill"}


def test_what_is_out_in_a_scope_that_fails_is_given_up_and_undone() -> None:
    """A sibling branch in the scope may have done something; one outside of the scope isn't touched."""
    story = Story(both(scope("trip", both(step("hotel"), step("car"), sleep("nap"))), step("invite")))
    story.rejects("hotel")
    assert story.asked == {"~car", "invite"}
    assert not is_open(story, "nap")
    story.late("car", Succeeded(), direction="undo")
    story.succeeds("invite")
    assert story.phase == "completed"


def test_a_scope_in_a_loop_is_one_for_each_item() -> None:
    """One item's scope turns back alone; the list has what it found, and null where it was undone."""
    story = Story(
        each("lines", ["a", "b"], scope("attempt", step("reserve"), step("confirm"))),
        reading("bill", "[steps.attempt.map(one, one.failed), steps.reserve]"),
    )
    story.succeeds("reserve[0]", result="r0")
    story.succeeds("reserve[1]", result="r1")
    story.rejects("confirm[0]")
    assert mark(story, "attempt[0]") == Scoped(Failure("no", "", "confirm[0]"))
    assert story.asked == {"~reserve[0]", "confirm[1]"}
    story.succeeds("reserve[0]", "confirm[1]")
    assert body_of(story, "bill") == {"of": [[True, False], [None, "r1"]]}


def test_whatever_can_not_be_done_in_a_scope_turns_only_the_scope_back() -> None:
    """A wait in vain, a denial, a field that isn't there, an action in doubt."""
    in_vain: list[tuple[Node, int]] = [
        (wait("paid"), 10_000),
        (approval("paid"), 10_000),
        (step("paid", retry=ONCE), 1_000),
    ]
    in_vain.append((reading("paid", "steps.hotel.nothing"), 0))
    for node, after_ms in in_vain:
        story = Story(step("open"), scope("trip", step("hotel"), node), step("bill"))
        story.succeeds("open", "hotel")
        story.waits(after_ms)
        if story.asked == {"~paid"}:
            story.succeeds("paid")
        assert story.asked == {"~hotel"}, node
        story.succeeds("hotel")
        assert story.asked == {"bill"}
        assert story.phase == "running"


def test_a_scope_with_nothing_to_undo_goes_on_at_once() -> None:
    """In the same moment in which it fails."""
    story = Story(scope("trip", approval("review")), step("bill"))
    decides(story, "review", "denied")
    assert story.asked == {"bill"}


def test_a_scope_whose_compensation_needs_a_person_waits_for_one() -> None:
    """The saga runs and is stuck; operators name the compensation, though the saga isn't going back."""
    story = Story(step("open"), scope("trip", step("hotel"), step("car")), step("bill"))
    story.succeeds("open", "hotel")
    story.rejects("car")
    story.rejects("hotel", "no_refund")
    assert (story.phase, story.cause) == ("running", "compensation_rejected:hotel")
    story.operate(SkipStep("open"))
    assert story.refused.code == "already_done"
    story.operate(RetryStep())
    assert story.asked == {"~hotel"}
    story.rejects("hotel", "no_refund")
    story.operate(SkipStep())
    assert isinstance(story.answered[-1], Accepted)
    assert story.asked == {"bill"}
    story.rejects("bill")
    story.succeeds("open")
    # A person let something stay: whoever asks how it ended is told.
    assert story.phase == "compensated_with_exceptions"


def test_a_sequence_in_a_scope_is_undone_from_its_end() -> None:
    """I6 holds within a scope as in the saga, across branches and loops."""
    body = in_order(step("a"), both(step("b"), step("c")), each("lines", [1, 2], step("d"), concurrency=1), step("e"))
    story = Story(scope("trip", body))
    story.succeeds("a", "b", "c", "d[0]", "d[1]")
    story.rejects("e")
    order = []
    while story.phase == "running":
        order.append(sorted(story.asked))
        for name in sorted(story.asked):
            story.succeeds(name[1:])
    assert order == [["~d[1]"], ["~d[0]"], ["~b", "~c"], ["~a"]]


def test_nothing_more_is_begun_in_a_scope_that_has_just_failed() -> None:
    """Two branches are due in the same moment: the first can't be made, so the second isn't asked for any more."""
    branches = both(reading("hotel", "input.nothing"), step("car"))
    story = Story(scope("trip", branches), step("bill"))
    assert story.asked == {"bill"}
    assert ("car", "do", 1) not in story.sent
