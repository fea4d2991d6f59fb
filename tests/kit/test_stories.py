"""Stories: what can be told, what can be expected, and what a story says when it comes out otherwise."""

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from countermand.coordinator.testing import StoryFailed, given
from countermand.participants import Context, Participant
from countermand.participants.saga import saga, step
from countermand.schemas.errors import DefinitionError
from kit.shop import ALL_DONE, ORDER, RECEIPT, Order, Paid, Pay, Reserve, Reserved, Shop, trade


def test_steps_answer_by_themselves() -> None:
    """Without participants, each step answers with an example of its result, made from its contract."""
    given(trade, ORDER).expect_completed({"order": "1", "payment": "payment-1"})


def test_a_step_answers_what_it_is_told_to() -> None:
    """The whole outcome is compared, structs and plain data alike."""
    given(trade, ORDER).answers("pay", Paid(payment="p-1")).expect_completed(RECEIPT)
    with pytest.raises(StoryFailed, match="expected the outcome"):
        given(trade, ORDER).answers("pay", {"payment": "p-2"}).expect_completed(RECEIPT)


def test_a_document_is_enough() -> None:
    """A saga that only has its document answers with the fields that other steps read."""

    class Document:
        document = trade.document

    given(Document(), {"id": "1", "cents": 1}).expect_completed({"order": "1", "payment": "payment-1"})


def test_a_rejection_undoes_what_came_before() -> None:
    """The story of the style guide."""
    given(trade, ORDER).rejects("pay").expect_compensated("reserve")


def test_real_participants_take_part() -> None:
    """Their handlers run behind their inboxes; a synchronous test needs no loop of its own."""
    shop = Shop()
    story = given(trade, ORDER, participants=shop.participants, effects=shop.effects)
    story.expect_completed(RECEIPT).expect_effects(ALL_DONE)


async def test_an_asynchronous_story_is_awaited() -> None:
    """The same story in an asynchronous test, in the test's own loop."""
    shop = Shop()
    story = given(trade, Order(id="1", cents=2_000), participants=shop.participants, effects=shop.effects)
    await story.expect_compensated("reserve", because="too_dear").expect_effects({})


async def test_a_story_that_nobody_awaits_is_noticed() -> None:
    """A forgotten await would be a test that can't fail."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given(trade, ORDER).expect_compensated()
        gc.collect()
    assert ["never awaited" in str(each.message) for each in caught if each.category is RuntimeWarning] == [True]


@pytest.mark.parametrize(
    "when",
    ["fails", "times_out", "loses_reply", "duplicates", "reorders", "crashes_participant", "crashes_coordinator"],
)
@pytest.mark.parametrize("step_name", ["reserve", "pay", "capture", "ship"])
def test_one_trouble_changes_nothing(when: str, step_name: str) -> None:
    """Whatever happens once, the saga completes with the same effects."""
    shop = Shop()
    story = given(trade, ORDER, participants=shop.participants, effects=shop.effects)
    getattr(story, when)(step_name).expect_completed(RECEIPT).expect_effects(ALL_DONE)


@pytest.mark.parametrize(
    "when",
    ["fails", "times_out", "loses_reply", "duplicates", "reorders", "crashes_participant", "crashes_coordinator"],
)
def test_one_trouble_while_undoing_changes_nothing(when: str) -> None:
    """Whatever happens once to a compensation, all is undone."""
    shop = Shop()
    story = given(trade, ORDER, participants=shop.participants, effects=shop.effects).rejects("capture")
    getattr(story, when)("pay", undo=True).expect_compensated("pay", "reserve").expect_effects({})


def test_an_action_that_comes_after_its_compensation_is_refused() -> None:
    """Both attempts are overtaken by the undo: it finds nothing to undo, and closes the door."""
    shop = Shop()
    story = given(trade, ORDER, participants=shop.participants, effects=shop.effects).reorders("pay", times=None)
    story.expect_compensated("pay", "reserve", because="timed_out").expect_effects({})
    assert "the overtaken command for pay arrives" in story.timeline
    assert "rejected: compensated" in story.timeline


def test_a_day_passes_in_no_time() -> None:
    """Time is virtual, for participants too."""
    began_s = time.process_time()  # Of this process alone: a busy machine has other clocks.
    story = given(trade, ORDER).delays("ship", "1d", times=None).advance("23h").expect_running()
    story.expect_completed()
    assert time.process_time() - began_s < 1
    assert "1 d 0:00:00" in story.timeline


def test_a_deadline_turns_the_saga_back() -> None:
    """The saga's own clock runs while it waits."""
    given(trade, ORDER).fails("quote", times=None).delays("pay", "2h").expect_compensated(
        {"pay", "reserve"}, because="failed_by_the_test"
    )


def test_a_cancelled_saga_is_undone() -> None:
    """At the moment that the story tells, and for that reason."""
    given(trade, ORDER).cancels(after="reserve").expect_compensated({"pay", "reserve"}, because="cancelled")
    story = given(trade, ORDER).fails("reserve").cancels(after="reserve").expect_compensated({"pay", "reserve"})
    assert story.timeline.index("attempt 2") < story.timeline.index("cancels saga-1")
    given(trade, ORDER).expect_running().cancels().expect_compensated("reserve", because="cancelled")


def test_a_signal_is_kept() -> None:
    """Events reach the saga, and don't disturb it."""
    story = given(trade, ORDER).signals("colour", {"is": "blue"}).signals("size", after="pay").expect_completed()
    assert story.timeline.count("signals") == 2


def test_a_stuck_saga_says_on_what() -> None:
    """A compensation that never succeeds waits for a person."""
    story = given(trade, ORDER).rejects("capture").fails("pay", times=None, undo=True)
    story.expect_stuck("compensation_exhausted", "pay")
    with pytest.raises(StoryFailed, match=r"on reserve: compensation_exhausted\n.*step pay"):
        story.expect_stuck("compensation_exhausted", "reserve")


def test_the_order_of_compensations_is_compared() -> None:
    """Names stand in the order of undoing; a set says that the order doesn't matter; none given, none compared."""
    story = given(trade, ORDER).rejects("capture").expect_compensated("pay", "reserve")
    story.expect_compensated({"reserve", "pay"}).expect_compensated()
    with pytest.raises(StoryFailed, match="the order was pay, reserve"):
        story.expect_compensated("reserve", "pay")
    with pytest.raises(StoryFailed, match="undone were pay, reserve"):
        story.expect_compensated("reserve")
    with pytest.raises(StoryFailed, match="because of too_dear"):
        story.expect_compensated(because="too_dear")


def test_a_failure_tells_the_timeline() -> None:
    """Who was asked, who answered and when, on lines that fit a terminal; and the seed that plays it again."""
    with pytest.raises(StoryFailed) as failed:
        given(trade, ORDER, seed=7).loses_reply("reserve").expect_compensated()
    text = str(failed.value)
    assert text.startswith("expected the saga to be compensated\n   it is completed\n")
    assert "asks stock for reserve, attempt 2" in text
    assert 'answers reserve: succeeded {"reservation":"reservation-1"}' in text
    assert "trouble      reserve: reply lost" in text
    assert text.endswith("(seed 7)")
    assert max(map(len, text.splitlines())) <= 100


def test_the_same_seed_tells_the_same_story() -> None:
    """Another one may let messages arrive in another order."""
    told = [given(trade, ORDER, seed=seed).loses_reply("pay").expect_completed().timeline for seed in (1, 1, 2)]
    assert told[0] == told[1] != told[2]


def test_a_trouble_that_never_happens_fails_the_story() -> None:
    """A story that proves nothing is not one that passes."""
    with pytest.raises(StoryFailed, match="never happened: ship: rejected"):
        given(trade, ORDER).rejects("pay").rejects("ship").expect_compensated("reserve")


def test_names_are_checked_where_they_are_written() -> None:
    """A step that isn't there, a duration that is none, effects that nobody looks at."""
    with pytest.raises(ValueError, match="trade@1 has no node 'pya'; did you mean 'pay'"):
        given(trade, ORDER).rejects("pya")
    with pytest.raises(ValueError, match="'soon'"):
        given(trade, ORDER).advance("soon")
    with pytest.raises(ValueError, match="say how to look at them"):
        given(trade, ORDER).expect_effects({})


def test_an_input_that_does_not_fit_is_refused() -> None:
    """As the coordinator would refuse it."""
    with pytest.raises(StoryFailed, match="invalid_input"):
        given(trade, {"id": "1"}).expect_completed()


def test_an_incomplete_participant_is_refused() -> None:
    """What can be undone needs a compensation."""
    stock = Participant("stock", inbox=Shop().participants[0].inbox)

    @stock.handles(Reserve)
    async def reserve(command: Reserve, context: Context) -> Reserved:
        return Reserved(reservation="r")

    with pytest.raises(DefinitionError, match=r"write @stock\.compensates"):
        given(trade, ORDER, participants=[stock]).expect_completed()


def test_participants_are_opened_and_closed_around_the_story() -> None:
    """A function may open them, and say what follows when the story is over."""
    events: list[str] = []

    @asynccontextmanager
    async def shop() -> AsyncIterator[list[Participant]]:
        events.append("opened")
        yield Shop().participants
        events.append("closed")

    story = given(trade, ORDER, participants=shop).expect_completed(RECEIPT)
    assert events == ["opened", "closed"]
    with pytest.raises(RuntimeError, match="the story is over"):
        story.advance("1s").expect_completed()


def test_an_asynchronous_function_may_open_them() -> None:
    """As a service's own opener does."""

    async def shop() -> list[Participant]:
        await asyncio.sleep(0)
        return Shop().participants

    given(trade, ORDER, participants=shop).expect_completed(RECEIPT)


def test_a_saga_that_never_rests_is_noticed() -> None:
    """A step after the pivot that fails for ever."""
    with pytest.raises(AssertionError, match="not at rest"):
        given(trade, ORDER).fails("ship", times=None).expect_completed()


@saga("simple", version=1)
def simple(order: Order) -> None:
    step(Pay(order=order.id, cents=order.cents))


def test_a_saga_without_an_outcome_completes() -> None:
    """Null is a whole value too."""
    given(simple, ORDER).expect_completed(None)
