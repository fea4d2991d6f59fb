"""What a `when` does, told as stories."""

from core.story import Story, forward, pivot, step
from core.story_nodes import TOTAL_IS_HIGH, TOTAL_IS_LOW, body_of, each, in_order, mark, when
from countermand.coordinator.core.journal import BranchTaken
from countermand.coordinator.core.state import Chosen
from countermand.schemas.definition import StepNode


def reading(name: str, text: str) -> StepNode:
    """A step whose input is one expression."""
    return StepNode(name, "shop", name, {"of": {"$": text}})


def test_the_branch_whose_condition_holds_is_run_and_the_other_is_not() -> None:
    """True runs `then`, false runs `otherwise`, or nothing where there is none; it is looked at once."""
    high = Story(when("dear", TOTAL_IS_HIGH, step("check"), step("wave_through")), step("ship"))
    assert high.asked == {"check"}
    high.succeeds("check")
    assert high.asked == {"ship"}
    low = Story(when("dear", TOTAL_IS_LOW, step("check"), step("wave_through")), step("ship"))
    assert low.asked == {"wave_through"}
    none = Story(when("dear", TOTAL_IS_LOW, step("check")), step("ship"))
    assert none.asked == {"ship"}
    assert mark(none, "dear") == Chosen(False)
    none.succeeds("ship")
    assert none.phase == "completed"
    assert none.said(BranchTaken) == [BranchTaken("dear", then=False)]


def test_only_the_branch_that_was_taken_is_undone() -> None:
    """What never ran isn't asked for, neither forwards nor back."""
    story = Story(step("open"), when("dear", TOTAL_IS_HIGH, in_order(step("check"), step("mark")), step("other")))
    story.succeeds("open", "check")
    story.rejects("mark")
    assert story.asked == {"~check"}
    story.succeeds("check")
    assert story.asked == {"~open"}
    story.succeeds("open")
    assert story.phase == "compensated"
    assert {name for name, _, _ in story.sent} == {"open", "check", "mark"}


def test_a_condition_that_is_not_true_or_false_turns_the_saga_back() -> None:
    """No truthiness: a number is no answer to the question which way to go, and the reason names the node."""
    story = Story(step("reserve"), when("dear", {"$": "input.order.total"}, step("check")))
    story.succeeds("reserve")
    assert story.asked == {"~reserve"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("unresolvable", "dear")
    assert "not true or false" in story.state.failure.reason


def test_a_condition_that_reads_what_is_not_there_turns_the_saga_back() -> None:
    """A missing field is never silently false."""
    story = Story(step("quote"), when("dear", {"$": "steps.quote.price > 10"}, step("check")))
    story.succeeds("quote", result={"cost": 3})
    assert story.asked == {"~quote"}
    assert story.state.failure is not None
    assert story.state.failure.code == "unresolvable"
    assert "price" in story.state.failure.reason


def test_a_condition_that_cannot_be_decided_after_the_pivot_waits_for_a_person() -> None:
    """There is no way back there: the saga is stuck on the node by its name, and says so."""
    story = Story(pivot("capture"), when("dear", {"$": "steps.capture.price > 10"}, forward("check")))
    story.succeeds("capture", result={})
    assert story.cause == "unresolvable:dear"
    assert story.asked == set()


def test_a_branch_that_may_not_have_run_is_read_by_asking_first() -> None:
    """What was not run isn't there: `has` is false, and the guarded expression takes its other way."""
    guarded = "has(steps.check) ? steps.check.score : 0"
    taken = Story(when("dear", TOTAL_IS_HIGH, step("check")), reading("ship", guarded))
    taken.succeeds("check", result={"score": 7})
    assert body_of(taken, "ship") == {"of": 7}
    skipped = Story(when("dear", TOTAL_IS_LOW, step("check")), reading("ship", guarded))
    assert body_of(skipped, "ship") == {"of": 0}


def test_a_condition_in_a_loop_is_looked_at_for_each_item() -> None:
    """Each item goes its own way, and the list from outside has null where its way had no such step."""
    odd = when("odd", {"$": "each.lines.item % 2 == 1"}, step("check"))
    story = Story(each("lines", [1, 2, 3], odd), reading("ship", "steps.check"))
    assert story.asked == {"check[0]", "check[2]"}
    story.succeeds("check[2]", result="c")
    story.succeeds("check[0]", result="a")
    assert body_of(story, "ship") == {"of": ["a", None, "c"]}
