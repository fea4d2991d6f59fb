"""Every trouble really happens: each leaves its mark in the timeline, and is mended by those whose task that is."""

import pytest

from countermand.coordinator.testing.play import Play, Played, play
from countermand.coordinator.testing.timeline import written
from countermand.coordinator.testing.troubles import Kind, Trouble
from countermand.schemas.codec import encode
from kit.shop import ALL_DONE, ORDER, Shop, trade

# What the timeline says; and whether the saga has to ask again, or the broker's delivering again is enough.
MARKS: dict[Kind, tuple[str, bool]] = {
    "fails": ("answers reserve: failed: failed_by_the_test", True),
    "command_late": ("trouble      reserve: command delivered too late", False),
    "command_duplicated": ("(from its records)", False),
    "command_overtaken": ("the overtaken command for reserve arrives", True),
    "reply_late": ("trouble      the late reply to reserve arrives at last", True),
    "reply_lost": ("trouble      reserve: reply lost", True),
    "reply_duplicated": ("trouble      reserve: reply delivered twice", False),
    "crash_before_effect": ("stock        crashes at reserve, before its effect", False),
    "crash_after_effect": ("stock        crashes at reserve, after its effect", False),
    "crash_after_commit": ("(from its records)", False),
    "coordinator_crash_before_commit": ("coordinator  crashes at the reply to reserve, before its commit", False),
    "coordinator_crash_after_commit": ("coordinator  crashes at the reply to reserve, after its commit", False),
    "coordinator_crash_after_publish": ("coordinator  crashes at the reply to reserve, after publishing", False),
}


async def played(*troubles: Trouble) -> Played:
    shop = Shop()
    return await play(Play(trade, encode(ORDER), shop.participants, shop.effects, 0), "saga-1", troubles)


@pytest.mark.parametrize("kind", MARKS)
async def test_it_happens_and_is_mended(kind: Kind) -> None:
    """The saga asks again only where nobody else can mend it: a crash costs no attempt."""
    story = await played(Trouble("reserve", kind))
    mark, asks_again = MARKS[kind]
    timeline = written(list(story.happenings))
    assert mark in timeline
    assert (", attempt 2" in timeline) is asks_again
    assert story.verdict is not None
    assert (story.verdict.phase, story.changed) == ("completed", ALL_DONE)


async def test_a_crash_for_good_ends_in_the_dead_letter_queue() -> None:
    """The broker delivers a command a limited number of times; the saga goes back meanwhile."""
    always = Trouble("reserve", "crash_after_effect", times=None)
    story = await play(Play(trade, encode(ORDER), (), None, 0), "saga-1", [always])
    assert "broker       gives reserve up after 20 deliveries" in written(list(story.happenings))
    assert story.verdict is not None
    assert story.verdict.phase == "compensated"


async def test_a_participant_without_rehearsal_can_crash_too() -> None:
    """Whatever has a name and answers commands takes part; it crashes around its handler."""
    for kind, words in (("crash_before_effect", "before its effect"), ("crash_after_effect", "after its effect")):
        story = await play(Play(trade, encode(ORDER), (), None, 0), "saga-1", [Trouble("reserve", kind)])  # type: ignore[arg-type]
        assert f"crashes at reserve, {words}" in written(list(story.happenings))
        assert story.verdict is not None
        assert story.verdict.phase == "completed"


async def test_what_comes_too_late_for_good_is_given_up() -> None:
    """Every attempt is answered when the saga has gone back already: it is undone, and the answers change nothing."""
    story = await played(Trouble("reserve", "reply_late", times=None))
    assert story.verdict is not None
    assert (story.verdict.phase, story.verdict.undone, story.changed) == ("compensated", ("reserve",), {})


async def test_a_handler_that_has_run_is_told_from_one_that_has_not() -> None:
    """Who ran, and what it changed: the reasons of the exhaustive test stand on it."""
    story = await played(Trouble("pay", "command_duplicated"))
    pays = [touch for touch in story.touches if touch.step == "pay"]
    assert [(touch.ran, touch.changed) for touch in pays] == [(True, {"held": 1}), (False, {})]
    assert story.nets["pay"] == {"held": 1}
