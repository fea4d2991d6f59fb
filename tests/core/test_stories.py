"""What happens to a saga, told as stories. Steps are asked two times at most, a second each, with a second between."""

import msgspec

from core.story import ONCE, Story, both, forward, pivot, saga, step
from core.world import World
from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationStarted,
    DeadlineMissed,
    ReplyIgnored,
    SagaReleased,
    SagaStarted,
    SagaStuck,
    StepSucceeded,
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
    """The first proof stands, with its moment; more of them are facts."""
    story = lost()
    since_ms = story.state.stuck
    for _ in range(3):
        story.now_ms += 10
        story.forge(story.sent["ship", "do", 1], OK, saga_version=99)
    assert story.state.stuck == since_ms
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
