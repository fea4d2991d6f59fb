"""What happens to a saga when more goes wrong than its definition foresees, told as stories.

Steps are asked two times at most, a second each, with a second between.
"""

import msgspec
from msgspec.structs import replace

from core.story import ONCE, Story, both, forward, pivot, saga, step
from core.world import World
from countermand.coordinator.core.journal import (
    CompensationStarted,
    ReplyIgnored,
    SagaReleased,
    SagaStarted,
    SagaStuck,
    StepSucceeded,
)
from countermand.schemas.messages import Accepted, Failed, Failure, Outcome, Refused, Rejected, Succeeded

OK = Succeeded()


# --- stuck


def test_a_pivot_that_is_given_up_in_doubt_is_stuck_until_a_late_success_releases_it() -> None:
    """Neither forward nor back would be honest; the answer, when it comes after all, decides."""
    story = Story(step("reserve"), pivot("capture", retry=ONCE), forward("ship"))
    story.succeeds("reserve")
    story.waits(1_000)
    assert story.cause == "pivot_unknown:capture"
    assert story.decisions[-1].wake_at_ms is None
    story.late("capture", OK)
    assert story.said(SagaReleased)
    assert story.cause is None
    assert story.asked == {"ship"}


def test_a_pivot_that_is_given_up_in_doubt_is_released_by_a_late_rejection_too() -> None:
    """Then nothing was done by it, and the saga turns back."""
    story = Story(step("reserve"), pivot("capture", retry=ONCE))
    story.succeeds("reserve")
    story.waits(1_000)
    story.late("capture", Rejected("no"))
    assert story.cause is None
    assert story.asked == {"~reserve"}


def test_a_pivot_that_did_nothing_is_closed_before_the_saga_goes_back() -> None:
    """Every attempt vouched for itself; the undo makes sure that no copy of the command captures anything later."""
    story = Story(step("reserve"), pivot("capture", retry=ONCE))
    story.succeeds("reserve")
    story.fails("capture", rolled_back=True)
    assert story.asked == {"~capture"}
    story.succeeds("capture")
    assert story.asked == {"~reserve"}


def test_a_pivot_that_was_done_after_all_needs_a_person() -> None:
    """A copy of the command was faster than the undo: the participant says so, and nothing else is undone."""
    story = Story(step("reserve"), pivot("capture", retry=ONCE))
    story.succeeds("reserve")
    story.fails("capture", rolled_back=True)
    story.answers("capture", Failed("not_compensatable", retryable=False))
    assert story.cause == "compensation_exhausted:capture"
    assert story.asked == set()


def test_a_step_after_the_pivot_that_is_given_up_is_stuck_and_its_sibling_goes_on() -> None:
    """It can't be undone, so a person is needed; a late success is as good."""
    story = Story(pivot("pay"), both(forward("ship", retry=ONCE), forward("mail")), forward("close"))
    story.succeeds("pay")
    story.fails("ship")
    assert story.cause == "forward_exhausted:ship"
    assert story.asked == {"mail"}
    story.succeeds("mail")
    assert story.asked == set()
    story.late("ship", OK)
    assert story.asked == {"close"}


def test_a_compensation_that_is_given_up_is_stuck_and_independent_ones_go_on() -> None:
    """What depends on it waits; the other branch goes back to its beginning."""
    story = Story(step("open"), both(step("charge"), step("quote")), step("ship"))
    story.succeeds("open", "charge", "quote")
    story.rejects("ship")
    story.fails("charge", retryable=False)
    assert story.cause == "compensation_exhausted:charge"
    assert story.asked == {"~quote"}
    story.fails("quote")
    story.waits(1_000)
    assert story.asked == {"~quote"}
    story.succeeds("quote")
    assert story.asked == set()
    story.late("charge", OK, direction="undo")
    assert story.asked == {"~open"}
    story.succeeds("open")
    assert story.phase == "compensated"


def test_a_compensation_that_is_rejected_is_stuck_at_once() -> None:
    """A participant that will not undo needs a person, not another attempt."""
    story = Story(step("charge"), step("ship"))
    story.succeeds("charge")
    story.rejects("ship")
    story.rejects("charge", "too_late")
    assert story.cause == "compensation_rejected:charge"


def test_what_else_is_stuck_shows_once_the_first_cause_is_settled() -> None:
    """Two compensations are given up: the second one's cause takes the first one's place."""
    story = Story(both(step("a"), step("b")), step("c"))
    story.succeeds("a", "b")
    story.rejects("c")
    story.fails("a", retryable=False)
    story.fails("b", retryable=False)
    assert story.cause == "compensation_exhausted:a"
    story.late("a", OK, direction="undo")
    assert story.cause == "compensation_exhausted:b"


def test_a_rejection_after_the_pivot_shows_once_the_first_cause_is_settled() -> None:
    """A business no where there is no way back doesn't get lost behind a sibling's trouble."""
    story = Story(pivot("pay"), both(forward("ship", retry=ONCE), forward("mail")))
    story.succeeds("pay")
    story.fails("ship")
    story.rejects("mail")
    assert story.cause == "forward_exhausted:ship"
    story.late("ship", OK)
    assert story.cause == "forward_rejected:mail"


def test_a_late_rejection_takes_the_place_of_what_its_step_was_stuck_on() -> None:
    """Given up in doubt, and then a business no: the person is told the newer, which is certain."""
    story = Story(pivot("pay"), forward("ship", retry=ONCE))
    story.succeeds("pay")
    story.fails("ship")
    assert story.cause == "forward_exhausted:ship"
    story.late("ship", Rejected("no_such_address"))
    assert story.cause == "forward_rejected:ship"


# --- lost state


def lost() -> Story:
    """The store has forgotten that `reserve` was done and `ship` asked for; the answer to `ship` says so."""
    story = Story(both(step("reserve"), step("quote")), step("ship"))
    story.succeeds("reserve", "quote")
    story.lose(1)
    story.late("ship", OK)
    return story


def test_a_reply_from_a_version_that_the_store_has_forgotten_halts_the_saga() -> None:
    """It proves that state was lost: nothing is sent, nothing is woken up, a person has to look (P12)."""
    story = lost()
    assert story.cause == "state_lost:ship"
    assert story.asked == set()
    assert story.decisions[-1].wake_at_ms is None
    story.late("quote", OK)
    assert [type(entry) for entry in story.last] == [ReplyIgnored]


def test_a_halted_saga_is_not_halted_again() -> None:
    """The first proof stands, with its moment; the newest version that was lost is remembered, and more are facts."""
    story = lost()
    stuck = story.state.stuck
    assert stuck is not None
    for _ in range(3):
        story.now_ms += 10
        story.forge(story.sent["ship", "do", 1], OK, saga_version=99)
    assert story.state.stuck == replace(stuck, lost_version=99)
    assert len(story.said(ReplyIgnored)) == 2
    assert len(story.said(SagaStuck)) == 1


def test_a_halted_saga_is_not_cancelled() -> None:
    """What it has done is not known, so turning back would be as blind as going on; the asker is told."""
    story = lost()
    story.cancel(reply_to="clients.1")
    (refused,) = story.answered
    assert isinstance(refused, Refused)
    assert refused.code == "state_lost"
    assert story.cause == "state_lost:ship"
    assert not story.said(CompensationStarted)


def test_a_halted_saga_is_not_moved_by_a_command_that_comes_back() -> None:
    """A command that was on its way when the saga was halted counts for nothing any more."""
    story = lost()
    for command in list(story.sent.values()):
        story.unroutable(command)
        assert story.last == []


# --- undeliverable


def test_a_command_that_no_queue_takes_was_not_carried_out() -> None:
    """It is tried again, and then given up as not done."""
    story = Story(step("reserve"), step("ship"))
    story.succeeds("reserve")
    story.unroutable(story.command("ship"))
    story.waits(1_000)
    story.unroutable(story.command("ship"))
    assert story.state.steps["ship"].do.status == "not_done"
    assert story.asked == {"~ship"}


def test_a_command_that_came_back_late_changes_nothing() -> None:
    """Only the attempt that is out can come back."""
    story = Story(step("reserve"))
    first = story.command("reserve")
    story.waits(2_000)
    story.unroutable(first)
    assert story.last == []
    assert story.command("reserve").attempt == 2


def test_a_command_whose_field_is_missing_turns_the_saga_back() -> None:
    """A result without the field that a later step reads: said at once with the field's name, never tried again."""
    needy = msgspec.structs.replace(step("ship"), input={"of": {"$": "steps.reserve.id"}})
    story = Story(step("reserve"), needy)
    story.succeeds("reserve", result={"other": 1})
    assert story.state.failure is not None
    assert (story.state.failure.code, story.state.failure.step) == ("unresolvable", "ship")
    assert "steps.reserve has no field 'id'" in story.state.failure.reason
    assert story.asked == {"~reserve"}


def test_a_command_that_cannot_be_made_after_the_pivot_is_stuck() -> None:
    """There is no way back, and none forward."""
    needy = msgspec.structs.replace(forward("ship"), input={"of": {"$": "steps.pay.id"}})
    story = Story(pivot("pay"), needy)
    story.succeeds("pay", result={})
    assert story.cause == "unresolvable:ship"
    assert story.decisions[-1].wake_at_ms is None


def test_a_command_that_is_too_large_turns_the_saga_back() -> None:
    """A limit that is broken once is broken always: no attempt is made."""
    large = msgspec.structs.replace(step("ship"), input={"a": {"$": "steps.pack"}, "b": {"$": "steps.pack"}})
    story = Story(step("pack"), large)
    story.succeeds("pack", result="x" * 150_000)
    assert story.state.failure is not None
    assert story.state.failure.code == "unresolvable"
    assert "steps.ship.input" in story.state.failure.reason
    assert story.asked == {"~pack"}


def test_a_command_that_is_nested_too_deeply_turns_the_saga_back() -> None:
    """A participant would refuse it as a bomb, and say nothing."""
    deep: object = 1
    for _ in range(31):
        deep = [deep]
    nested = msgspec.structs.replace(step("ship"), input={"a": {"b": {"$": "steps.pack"}}})
    story = Story(step("pack"), nested)
    story.succeeds("pack", result=deep)
    assert story.state.failure is not None
    assert "nested deeper" in story.state.failure.reason


# --- starts


def test_the_same_start_again_is_answered_and_not_repeated() -> None:
    """The saga is told, whoever waits is remembered, nothing else happens (I7)."""
    story = Story(step("reserve"))
    story.start(reply_to="clients.2")
    assert story.answered == [Accepted("r-start", "order-1", "running", duplicate=True)]
    assert story.state.watchers == ("clients.1", "clients.2")
    assert len(story.said(SagaStarted)) == 1
    story.succeeds("reserve")
    assert [each.queue for each in story.decisions[-1].answers] == ["clients.1", "clients.2"]
    story.start(reply_to="clients.3")
    assert Outcome("order-1", "completed") in story.answered
    assert story.last == []


def test_another_start_under_the_same_id_is_refused() -> None:
    """The id stands for what it was first used for, whatever has become of it (I7)."""
    story = Story(step("reserve"))
    for _ in range(2):
        story.start(content="other", reply_to="clients.2")
        (refused,) = story.answered
        assert isinstance(refused, Refused)
        assert refused.code == "id_taken"
        assert story.last == []
        story.waits(0)
        if not story.state.ended:
            story.succeeds("reserve")


def test_a_start_without_what_the_definition_reads_is_refused() -> None:
    """Before anything is done: the missing field is named."""
    world = World(saga(step("reserve")))
    decision = world.start(reply_to="clients.1", input_=b'{"other":1}')
    assert world.saga is None
    ((_, refused),) = ((each.queue, each.answer) for each in decision.answers)
    assert isinstance(refused, Refused)
    assert refused.code == "invalid_input"
    assert "input.order" in refused.problem


# --- facts


def test_replies_that_change_nothing_are_kept_but_not_for_ever() -> None:
    """A participant gone wild fills a hundred lines of history, and no more."""
    story = Story(step("reserve"), step("ship"))
    story.succeeds("reserve")
    for _ in range(150):
        story.late("reserve", OK)
    assert len(story.said(ReplyIgnored)) == 100
    version = story.state.version
    story.forge(story.sent["ship", "do", 1], OK, command_id="0" * 32)
    assert story.state.version == version
    story.succeeds("ship")
    assert story.phase == "completed"


def test_a_forged_reply_is_a_fact() -> None:
    """Another command id, another participant, another step, an attempt that was never made: nothing is believed."""
    story = Story(step("reserve"))
    command = story.command("reserve")
    for lies in ({"command_id": "0" * 32}, {"participant": "other"}, {"step": "nowhere"}, {"attempt": 2}):
        story.forge(command, OK, **lies)
        (fact,) = story.last
        assert isinstance(fact, ReplyIgnored)
        assert fact.why == "forged"
    assert not story.said(StepSucceeded)
    assert story.asked == {"reserve"}


def test_a_signal_counts_once() -> None:
    """The same request again is answered as a duplicate."""
    story = Story(step("reserve"))
    story.signal("r1")
    assert story.answered == [Accepted("r1", "order-1", "running")]
    story.signal("r1")
    assert story.answered == [Accepted("r1", "order-1", "running", duplicate=True)]
    assert story.state.signals == ("r1",)


def test_who_watches_is_told_the_end() -> None:
    """At the end if it is yet to come, and at once if it has been."""
    story = Story(step("reserve"))
    story.watch("clients.9")
    story.rejects("reserve", "sold_out")
    outcome = Outcome("order-1", "compensated", failure=Failure("sold_out", "", "reserve"))
    assert ("clients.9", outcome) in [(each.queue, each.answer) for each in story.decisions[-1].answers]
    story.watch("clients.10")
    assert [(each.queue, each.answer) for each in story.decisions[-1].answers] == [("clients.10", outcome)]
