"""What `wait_for` and `sleep` do, told as stories. They last ten seconds."""

import msgspec

from core.story import Story, both, forward, pivot, step
from core.story_nodes import body_of, each, is_open, mark, result_of, sleep, tidings, wait
from countermand.coordinator.core.commands import HOLD_MS
from countermand.coordinator.core.journal import EventTaken, SignalKept
from countermand.coordinator.core.state import Wait
from countermand.schemas.coordination import SubscribeMessage
from countermand.schemas.definition import SequenceNode, SleepNode
from countermand.schemas.messages import Accepted, Refused
from countermand.schemas.operations import PauseSaga, ResumeSaga, RetryStep, SkipStep

KEY = {"$": "input.order.id"}


def test_an_event_ends_the_wait_and_is_its_result() -> None:
    """The payload is `steps.paid`."""
    reads = msgspec.structs.replace(step("ship"), input={"of": {"$": "steps.paid.amount"}})
    story = Story(wait("paid"), reads)
    assert story.asked == set()
    story.event("paid", "e1", payload=b'{"amount":20}')
    assert body_of(story, "ship") == {"of": 20}


def test_an_event_that_came_before_the_wait_counts() -> None:
    """Events that arrive early are kept, each for one wait, the oldest first."""
    story = Story(step("open"), wait("first"), wait("second"), step("ship"))
    story.event("paid", "e1", payload=b"1")
    story.event("paid", "e2", payload=b"2")
    story.succeeds("open")
    assert story.asked == {"ship"}
    assert (result_of(story, "first"), result_of(story, "second")) == (1, 2)


def test_one_event_is_taken_by_one_wait() -> None:
    """Two waits for the same event side by side need two of them; the same request twice is one."""
    story = Story(both(wait("left"), wait("right")), step("ship"))
    story.event("paid", "e1")
    assert is_open(story, "left") != is_open(story, "right")
    story.event("paid", "e1")
    (answer,) = story.answered
    assert isinstance(answer, Accepted)
    assert answer.duplicate
    assert story.asked == set()
    story.event("paid", "e2")
    assert story.asked == {"ship"}


def test_another_event_does_not_count() -> None:
    """It is kept, for a wait that may come, and this one stays open."""
    story = Story(wait("paid"), wait("shipped", "shipped"))
    story.event("shipped", "e1")
    assert is_open(story, "paid")
    story.event("paid", "e2")
    assert story.phase == "completed"


def test_a_wait_that_times_out_turns_the_saga_back() -> None:
    """Without a branch there is no way on: the failure names the wait, and what came late is refused."""
    story = Story(step("open"), wait("paid"), step("ship"))
    story.succeeds("open")
    story.waits(9_999)
    assert is_open(story, "paid")
    story.waits(1)
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("wait_timed_out", "paid")
    story.event("paid", "e1")
    assert isinstance(story.answered[0], Refused)


def test_a_wait_that_times_out_takes_its_branch() -> None:
    """The branch runs in place of the event, and what it did is undone like everything else."""
    story = Story(wait("paid", on_timeout=step("remind")), step("ship"))
    story.waits(10_000)
    assert story.asked == {"remind"}
    story.succeeds("remind")
    assert story.asked == {"ship"}
    story.rejects("ship")
    assert story.asked == {"~remind"}


def test_an_event_that_comes_after_the_time_does_not_undo_the_branch() -> None:
    """What was decided stands: the event is kept, and nobody takes it."""
    story = Story(wait("paid", on_timeout=step("remind")))
    story.waits(10_000)
    story.event("paid", "e1")
    assert story.asked == {"remind"}
    assert story.said(EventTaken) == []


def test_a_wait_by_business_key_subscribes_and_takes_what_names_it() -> None:
    """Its mailbox is told where to send the event, until when; a signal without the wait's name is not for it."""
    story = Story(wait("paid", key=KEY), step("ship"))
    (told,) = tidings(story, SubscribeMessage)
    # Its deadline moves when the saga is on hold, and the mailbox isn't told.
    assert told == SubscribeMessage("order-1", "paid", "paid", "1", story.now_ms + 10_000 + HOLD_MS)
    story.event("paid", "e1")
    assert is_open(story, "paid")
    story.event("paid", "e2", wait="paid")
    assert story.asked == {"ship"}
    assert tidings(story, SubscribeMessage) == []


def test_an_event_for_a_wait_whose_time_was_over_is_for_the_next_one() -> None:
    """It came between the two, or before the mailbox knew of the second: it is kept, once, and the next takes it."""
    again = wait("paid_late", event="paid", key=KEY)
    story = Story(wait("paid", key=KEY, on_timeout=SequenceNode((step("remind"), again))), step("ship"))
    story.waits(10_000)
    for _ in range(2):
        story.event("paid", "e1", wait="paid")
    assert len(story.said(SignalKept)) == 1
    story.succeeds("remind")
    assert story.said(EventTaken) == [EventTaken("paid_late", "e1/paid")]
    assert story.asked == {"ship"}


def test_one_event_comes_to_every_wait_that_it_names() -> None:
    """The same request, for two items of a loop: each of them takes it once."""
    story = Story(each("lines", [1, 2], wait("paid", key=KEY)), step("ship"))
    assert {told.step for told in tidings(story, SubscribeMessage)} == {"paid[0]", "paid[1]"}
    story.event("paid", "e1", wait="paid[0]")
    story.event("paid", "e1", wait="paid[0]")
    assert story.asked == set()
    story.event("paid", "e1", wait="paid[1]")
    assert story.asked == {"ship"}


def test_a_key_that_is_no_key_turns_the_saga_back() -> None:
    """A key is text or a whole number."""
    story = Story(step("open"), wait("paid", key={"$": "input.order"}))
    story.succeeds("open")
    assert story.asked == {"~open"}
    assert story.state.failure is not None
    assert story.state.failure.code == "unresolvable"


def test_a_saga_that_turns_back_waits_no_more() -> None:
    """An open wait is dropped with it, and has no wake-up left."""
    story = Story(both(wait("paid"), step("reserve")))
    story.rejects("reserve")
    assert story.phase == "compensated"
    dropped = mark(story, "paid")
    assert isinstance(dropped, Wait)
    assert dropped.status == "dropped"


def test_a_wait_in_vain_after_the_pivot_needs_a_person_who_can_begin_it_again() -> None:
    """It is not gone past: the saga is stuck on it. A skip is refused in words, a retry waits the whole time again."""
    story = Story(pivot("pay"), wait("paid"), forward("ship"))
    story.succeeds("pay")
    story.waits(10_000)
    assert story.cause == "forward_rejected:paid"
    assert story.asked == set()
    story.operate(SkipStep("paid"))
    assert (story.refused.code, "wait_for" in story.refused.problem) == ("not_a_step", True)
    story.operate(RetryStep())
    assert isinstance(story.answered[-1], Accepted)
    assert is_open(story, "paid")
    assert story.decisions[-1].wake_at_ms == story.now_ms + 10_000
    story.event("paid", "e1")
    assert story.asked == {"ship"}


def test_two_waits_in_vain_are_told_one_after_the_other() -> None:
    """Whoever mends the first finds the second (I3)."""
    story = Story(pivot("pay"), both(wait("left"), wait("right", "shipped")))
    story.succeeds("pay")
    story.waits(10_000)
    assert story.cause == "forward_rejected:left"
    story.operate(RetryStep())
    assert story.cause is None or story.cause == "forward_rejected:right"
    story.event("paid", "e1")
    assert story.cause == "forward_rejected:right"


# --- sleep


def test_a_sleep_lasts_and_then_the_saga_goes_on() -> None:
    """Its end is the saga's wake-up; a wake-up before it does nothing."""
    story = Story(sleep("night"), step("ship"))
    assert story.decisions[-1].wake_at_ms == story.now_ms + 10_000
    story.wake(after_ms=9_999)
    assert story.asked == set()
    story.wake(after_ms=1)
    assert story.asked == {"ship"}


def test_a_sleep_until_a_moment_that_has_passed_is_over_at_the_next_wake_up() -> None:
    """The moment is text with a zone, or Unix time; one without a zone turns the saga back."""
    story = Story(SleepNode("night", until="2001-01-01T00:00:00Z"), step("ship"))
    story.wake()
    assert story.asked == {"ship"}
    zoneless = Story(SleepNode("night", until={"$": "'2031-01-01T00:00:00'"}), step("ship"))
    assert zoneless.phase == "compensated"
    assert zoneless.state.failure is not None
    assert "zone" in zoneless.state.failure.reason


def test_a_pause_stops_the_clock_of_a_sleep_and_of_a_wait() -> None:
    """What the saga waits for itself ends so much later as it was on hold; with `ran` it doesn't."""
    for clock, rest_ms in (("stopped", 6_000), ("ran", 1_000)):
        story = Story(both(sleep("night"), wait("paid")))
        story.waits(4_000)
        story.operate(PauseSaga())
        assert story.decisions[-1].wake_at_ms is None
        story.waits(5_000)
        story.operate(ResumeSaga(clock=clock))  # type: ignore[arg-type]
        assert story.decisions[-1].wake_at_ms == story.now_ms + rest_ms


def test_an_event_during_a_pause_is_taken_and_nothing_is_asked_for() -> None:
    """What comes counts; what follows from it waits for the one who paused."""
    story = Story(wait("paid"), step("ship"))
    story.operate(PauseSaga())
    story.event("paid", "e1")
    assert not is_open(story, "paid")
    assert story.asked == set()
    story.operate(ResumeSaga())
    assert story.asked == {"ship"}
