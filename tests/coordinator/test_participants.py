"""What is said of participants: who is gone, who lacks what, and who is simply silent."""

import pytest

from countermand.coordinator.cli.participant_table import print_participants
from countermand.coordinator.operate.participants import (
    ALIVE_MS,
    ParticipantStory,
    in_use,
    participant_document,
    participant_stories,
)
from countermand.coordinator.ports import Announced
from countermand.schemas.definition import Definition, SequenceNode, StepNode
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage
from countermand.wire.inspection import QueueFacts

NOW_MS = 1_700_000_000_000
BUSY = QueueFacts(messages=0, consumers=1)
RESERVE, SHIP = AnnouncedAction("reserve", compensation=True), AnnouncedAction("ship")


def order(version: int = 1, *, name: str = "order") -> Definition:
    nodes = (
        StepNode("reserve", "stock", "reserve"),
        StepNode("ship", "carrier", "ship", compensation=False, because="x"),
    )
    return Definition(1, name, version, SequenceNode(nodes))


def said(participant: str, *actions: AnnouncedAction, instance: str = "one", ago_ms: int = 0) -> Announced:
    return Announced(AnnounceMessage(participant, instance, actions), NOW_MS - ago_ms)


def stock(*announced: Announced, queue: QueueFacts | None = BUSY) -> ParticipantStory:
    """The participant that the definition needs for `reserve`, with its compensation."""
    stories = participant_stories([order()], announced, {"stock": queue, "carrier": BUSY}, NOW_MS)
    return next(each for each in stories if each.participant == "stock")


def test_all_is_well() -> None:
    """Nothing is wrong, and nothing is noted."""
    story = stock(said("stock", RESERVE))
    assert (story.problems, story.notes, story.alive) == ((), (), 1)
    (action,) = story.actions
    assert (action.announced, action.compensation, action.needed_by) == (True, True, ("order@1",))


@pytest.mark.parametrize(
    ("queue", "problem"),
    [
        (None, "it has no queue"),
        (QueueFacts(0, 0), "no consumer"),
        (QueueFacts(1_234, 0), "no consumer: 1,234 commands wait"),
    ],
)
def test_a_queue_that_nobody_serves(queue: QueueFacts | None, problem: str) -> None:
    """Whether it is missing, idle, or filling up."""
    (found,) = stock(said("stock", RESERVE), queue=queue).problems
    assert found.startswith(problem)


def test_who_never_announces_itself_is_judged_by_its_queue_alone() -> None:
    """It may be of an older release or in another language: that is no problem."""
    story = stock()
    assert story.problems == ()
    assert story.notes[0].startswith("never announced itself")
    assert [(each.action, each.announced) for each in story.actions] == [("reserve", False)]


def test_an_action_that_nobody_announces() -> None:
    """The definition that needs it is named."""
    story = stock(said("stock", AnnouncedAction("count")))
    assert story.problems == ("definition order@1 needs action reserve, which nobody announces",)


def test_a_compensation_that_is_missing() -> None:
    """It would be missed only when something has to be undone: too late."""
    story = stock(said("stock", AnnouncedAction("reserve")))
    assert story.problems == ("stock announces no compensation for reserve, which definition order@1 needs",)


@pytest.mark.parametrize(
    ("action", "said_of_it"),
    [
        (AnnouncedAction("reserve"), "does reserve"),
        (AnnouncedAction("reserve", probe=True), "does reserve (and probes it)"),
        (AnnouncedAction("reserve", compensation=True, probe=True), "does reserve (and undoes it and probes it)"),
    ],
)
def test_what_a_participant_does(action: AnnouncedAction, said_of_it: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The action, and whether it is undone and probed, on the screen and for machines."""
    story = stock(said("stock", action))
    (told,) = participant_document(story)["actions"]
    assert (told["compensation"], told["probe"]) == (action.compensation, action.probe)
    print_participants([story], NOW_MS)
    assert said_of_it in [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_an_action_that_needs_no_compensation() -> None:
    """Is not asked for one."""
    stories = participant_stories([order()], [said("carrier", SHIP)], {"stock": BUSY, "carrier": BUSY}, NOW_MS)
    assert stories[0].problems == ()


def test_instances_that_differ() -> None:
    """In the middle of a deployment some know an action, and some don't."""
    story = stock(said("stock", RESERVE), said("stock", instance="old"), queue=QueueFacts(0, consumers=2))
    assert story.problems == ("1 of 2 instances announce no action reserve, which definition order@1 needs",)


def test_the_dead_have_no_say() -> None:
    """What a process announced before it died serves nobody; it is still listed."""
    story = stock(said("stock", RESERVE, instance="dead", ago_ms=ALIVE_MS + 1), said("stock", instance="new"))
    assert story.problems == ("definition order@1 needs action reserve, which nobody announces",)
    assert [(each.instance, each.alive) for each in story.instances] == [("dead", False), ("new", True)]


@pytest.mark.parametrize(("consumers", "living"), [(0, []), (1, ["c"]), (2, ["b", "c"]), (3, ["a", "b", "c"])])
def test_the_killed_are_not_counted(consumers: int, living: list[str]) -> None:
    """No more live than consume the queue, and those heard of last are taken for them."""
    killed = [said("stock", RESERVE, instance=name, ago_ms=ago_ms) for name, ago_ms in (("a", 9), ("b", 6), ("c", 3))]
    story = stock(*killed, queue=QueueFacts(0, consumers))
    assert [each.instance for each in story.instances if each.alive] == living
    assert story.alive == consumers


def test_where_the_broker_says_nothing_those_heard_of_count() -> None:
    """Without consumers to compare with, an announcement is all there is."""
    (_, story) = participant_stories([order()], [said("stock", RESERVE), said("stock", instance="b")], None, NOW_MS)
    assert story.alive == 2


def test_a_consumer_that_is_silent() -> None:
    """Somebody consumes, who once announced itself and does so no more."""
    story = stock(said("stock", RESERVE, ago_ms=ALIVE_MS + 1))
    assert story.problems == ("its queue has a consumer, and yet nobody has announced itself for minutes",)
    assert story.last_seen_ms == NOW_MS - ALIVE_MS - 1


def test_a_broker_that_could_not_be_asked() -> None:
    """Then nothing is said of queues, rather than something wrong."""
    (carrier, _) = participant_stories([order()], [], None, NOW_MS)
    assert carrier.problems == ()
    assert participant_document(carrier)["queue_exists"] is None


def test_who_is_needed_by_nobody() -> None:
    """It is listed, and said to be so."""
    stories = participant_stories([], [said("extra", RESERVE)], {"extra": BUSY}, NOW_MS)
    assert (stories[0].problems, stories[0].notes) == ((), ("no definition in use names it",))


def test_only_definitions_in_use_make_demands() -> None:
    """The newest of each name, and older ones as long as sagas of theirs are in motion."""
    every = [order(1), order(2), order(10), order(1, name="refund")]
    assert [each.label for each in in_use(every, {"order@2": 3, "order@1": 0})] == ["order@2", "order@10", "refund@1"]
