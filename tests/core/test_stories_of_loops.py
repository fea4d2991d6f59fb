"""What a `for_each` does, told as stories."""

import msgspec

from core.story import Story, both, forward, pivot, step
from core.story_nodes import TOTAL_IS_HIGH, body_of, each, mark, when
from countermand.coordinator.core.journal import LoopOpened
from countermand.coordinator.core.opening import ITEMS_MAX
from countermand.coordinator.core.plan import OVER_MAX
from countermand.coordinator.core.state import Looped
from countermand.schemas.definition import StepNode
from countermand.schemas.messages import Accepted, Succeeded
from countermand.schemas.operations import PauseSaga, ResumeSaga, RetryStep, SkipStep


def asking(name: str, text: str) -> StepNode:
    return msgspec.structs.replace(step(name), input={"of": {"$": text}})


def test_the_body_runs_once_for_each_item_so_many_at_a_time() -> None:
    """Two at a time: the third begins when one of the first two is over, and each has its own item, index and key."""
    story = Story(each("lines", ["a", "b", "c"], asking("ask", "each.lines.item"), concurrency=2), step("ship"))
    assert story.asked == {"ask[0]", "ask[1]"}
    assert body_of(story, "ask[1]") == {"of": "b"}
    assert story.command("ask[1]").key == "order-1/ask[1]"
    story.succeeds("ask[1]")
    assert story.asked == {"ask[0]", "ask[2]"}
    story.succeeds("ask[0]", "ask[2]")
    assert story.asked == {"ship"}


def test_a_loop_over_nothing_is_over_at_once() -> None:
    """No item, no step; from outside the list is empty."""
    story = Story(each("lines", [], step("ask")), asking("ship", "steps.ask"))
    assert mark(story, "lines") == Looped(0)
    assert body_of(story, "ship") == {"of": []}


def test_the_results_stand_in_the_order_of_the_items_whoever_answered_first() -> None:
    """`steps.ask` outside of the loop is the list, one entry for each item."""
    story = Story(each("lines", [1, 2, 3], step("ask")), asking("ship", "steps.ask"))
    story.succeeds("ask[2]", result="c")
    story.succeeds("ask[0]", result="a")
    story.succeeds("ask[1]", result="b")
    assert body_of(story, "ship") == {"of": ["a", "b", "c"]}


def test_an_item_sees_its_own_results_only() -> None:
    """Inside the body `steps.ask` is this item's."""
    story = Story(each("lines", [1, 2], step("ask"), asking("book", "steps.ask")))
    story.succeeds("ask[1]", result="mine")
    assert body_of(story, "book[1]") == {"of": "mine"}


def test_an_item_that_fails_gives_up_the_others_and_undoes_all_that_was_begun() -> None:
    """Item 3 of five is rejected while item 4 is out: what is done and what is out is undone, the newest first, two at
    a time; what was never begun isn't touched."""
    story = Story(step("open"), each("lines", [1, 2, 3, 4, 5], step("ask"), concurrency=2))
    story.succeeds("open", "ask[0]", "ask[1]")
    assert story.asked == {"ask[2]", "ask[3]"}
    story.rejects("ask[2]")
    assert story.state.steps["ask[3]"].do.status == "unknown"
    assert story.asked == {"~ask[3]", "~ask[1]"}
    story.succeeds("ask[1]")
    assert story.asked == {"~ask[3]", "~ask[0]"}
    story.succeeds("ask[0]")
    assert story.asked == {"~ask[3]"}
    story.succeeds("ask[3]")
    assert story.asked == {"~open"}
    story.succeeds("open")
    assert story.phase == "compensated"
    assert ("ask[4]", "do", 1) not in story.sent


def test_one_at_a_time_is_undone_one_at_a_time_from_the_last() -> None:
    """With a concurrency of one the items depend on each other: their compensations run in the reverse order (I6)."""
    story = Story(each("lines", [1, 2, 3], step("ask"), step("book"), concurrency=1))
    for index in range(2):
        story.succeeds(f"ask[{index}]", f"book[{index}]")
    story.succeeds("ask[2]")
    story.rejects("book[2]")
    undone = []
    while story.phase == "compensating":
        (name,) = story.asked
        undone.append(name)
        story.succeeds(name[1:])
    assert undone == ["~ask[2]", "~book[1]", "~ask[1]", "~book[0]", "~ask[0]"]


def test_a_late_success_of_a_given_up_item_reaches_its_compensation() -> None:
    """While the saga goes back, what an action did is still worth knowing."""
    story = Story(each("lines", [1, 2], step("ask")))
    story.rejects("ask[0]")
    assert story.asked == {"~ask[1]"}
    story.fails("ask[1]")
    story.late("ask[1]", Succeeded(msgspec.Raw(b'"late"')))
    story.waits(1_000)
    assert body_of(story, "ask[1]")["result"] == "late"


def test_loops_stand_in_loops() -> None:
    """An instance carries the place of every loop around it, from the outside in, and each level its own item."""
    inner = each("cells", {"$": "each.rows.item"}, asking("fill", "[each.rows.index, each.cells.item]"))
    story = Story(each("rows", [[1, 2], [], [3]], inner), asking("ship", "steps.fill"))
    assert story.asked == {"fill[0][0]", "fill[0][1]", "fill[2][0]"}
    assert body_of(story, "fill[2][0]") == {"of": [2, 3]}
    for name in sorted(story.asked):
        story.succeeds(name, result=name)
    assert body_of(story, "ship") == {"of": [["fill[0][0]", "fill[0][1]"], [], ["fill[2][0]"]]}


def test_what_is_no_list_turns_the_saga_back() -> None:
    """The reason names the loop and what was expected."""
    story = Story(step("open"), each("lines", {"$": "input.order"}, step("ask")))
    story.succeeds("open")
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("unresolvable", "lines")
    assert "list" in story.state.failure.reason


def test_more_items_than_a_saga_may_have_turn_it_back_before_any_is_begun() -> None:
    """The limit is told, and no command was sent."""
    story = Story(step("open"), each("lines", {"$": "steps.open"}, step("ask")))
    story.succeeds("open", result=list(range(ITEMS_MAX + 1)))
    assert story.said(LoopOpened) == []
    assert story.state.failure is not None
    assert str(ITEMS_MAX) in story.state.failure.reason


def test_what_a_loop_goes_over_stands_still() -> None:
    """The items are kept as they were when the loop began: a retry of an item gets the same."""
    story = Story(step("list"), each("lines", {"$": "steps.list"}, asking("ask", "each.lines.item")))
    story.succeeds("list", result=["x"])
    first = story.command("ask[0]").body
    story.waits(2_000)
    assert story.command("ask[0]").attempt == 2
    assert story.command("ask[0]").body == first


def test_operators_name_the_item() -> None:
    """`retry ask[1]` is about that item; without a place, or with one that isn't there, the answer says what is."""
    story = Story(pivot("pay"), each("lines", [1, 2], forward("ask")))
    story.succeeds("pay")
    story.rejects("ask[1]")
    assert story.cause == "forward_rejected:ask[1]"
    story.operate(RetryStep("ask"))
    assert (story.refused.code, "ask[0]" in story.refused.problem) == ("unknown_step", True)
    story.operate(RetryStep("ask[7]"))
    assert story.refused.code == "not_asked"
    story.operate(SkipStep("ask[0]"))
    assert story.refused.code == "attempt_out"
    story.operate(RetryStep("ask[1]"))
    assert isinstance(story.answered[-1], Accepted)
    assert story.command("ask[1]").key == "order-1/ask[1]~1"
    story.succeeds("ask[0]", "ask[1]")
    assert story.phase == "completed"


def test_branches_in_a_loop_are_undone_item_by_item() -> None:
    """A parallel in a body: both of its branches go back side by side, within their item."""
    story = Story(each("lines", [1, 2], step("open"), both(step("left"), step("right")), concurrency=1), step("ship"))
    for index in range(2):
        story.succeeds(f"open[{index}]", f"left[{index}]", f"right[{index}]")
    story.rejects("ship")
    assert story.asked == {"~left[1]", "~right[1]"}
    story.succeeds("left[1]")
    assert story.asked == {"~right[1]"}
    story.succeeds("right[1]")
    assert story.asked == {"~open[1]"}


def test_an_operator_who_looks_in_leaves_a_large_saga_as_small_as_it_was() -> None:
    """Everything is weighed for a pause and a resumption; what was put away before doesn't stay in the state."""
    body = when("wanted", TOTAL_IS_HIGH, step("ask"))
    story = Story(each("lines", list(range(200)), body, concurrency=2))
    for index in range(100):
        story.succeeds(f"ask[{index}]")
    before = len(msgspec.msgpack.encode(story.state))
    assert len(story.state.marks) < 2 * OVER_MAX
    story.operate(PauseSaga())
    story.operate(ResumeSaga())
    assert len(story.state.marks) < 2 * OVER_MAX
    assert len(story.state.steps) < 2 * OVER_MAX
    assert len(msgspec.msgpack.encode(story.state)) < 2 * before
    for index in range(100, 200):
        story.succeeds(f"ask[{index}]")
    assert story.phase == "completed"
