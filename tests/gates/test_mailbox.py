"""Events by business key, told as stories: who waits, who is told, and what is kept."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from countermand.coordinator.core.commands import HOLD_MS
from countermand.coordinator.core.draft import Addressed
from countermand.coordinator.gates import mailbox as mailboxes
from countermand.coordinator.gates.decision import Decision
from countermand.coordinator.gates.mailbox import Mailbox
from countermand.schemas.messages import EventAccepted, SignalMessage
from gates.asking import EVENT, KEY, event, signals, subscription

NOON_MS = 1_769_860_800_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Box:
    """One mailbox at a moment that tests move."""

    def __init__(self) -> None:
        self.mailbox: Mailbox | None = None
        self.at_ms = NOON_MS

    def happens(self, request_id: str, *, again: bool = False, **said: Any) -> Decision[Mailbox]:
        return self._take(mailboxes.happened(self.mailbox, event(request_id, **said), self.at_ms, again=again))

    def waits(self, saga_id: str, *, step: str = "paid", for_ms: int = DAY_MS) -> Decision[Mailbox]:
        asked = subscription(saga_id, step=step, until_ms=NOON_MS + for_ms)
        return self._take(mailboxes.subscribe(self.mailbox, asked, self.at_ms))

    def _take(self, decision: Decision[Mailbox]) -> Decision[Mailbox]:
        self.mailbox = decision.state
        return decision


def test_an_event_goes_to_every_saga_that_waits() -> None:
    """Once, with what it says; and they wait no more."""
    box = Box()
    assert signals(box.waits("a")) == []
    assert signals(box.waits("b")) == []
    told = box.happens("e1", payload={"amount": 7})
    assert signals(told) == [("a", "paid", "e1"), ("b", "paid", "e1")]
    first = told.tells[0]
    assert isinstance(first, SignalMessage)
    assert (first.name, bytes(first.payload), first.reply_to) == (EVENT, b'{"amount":7}', None)
    assert signals(box.happens("e2")) == []


def test_an_event_that_came_early_is_kept() -> None:
    """For every saga that begins to wait within the time; for nobody afterwards."""
    box = Box()
    box.happens("e1", keep_ms=HOUR_MS)
    assert signals(box.waits("a")) == [("a", "paid", "e1")]
    box.at_ms += HOUR_MS - 1
    assert signals(box.waits("b")) == [("b", "paid", "e1")]
    box.at_ms += 1
    assert signals(box.waits("c")) == []


def test_the_oldest_kept_event_comes_first_and_none_twice() -> None:
    """A saga that waits again gets the next one; the second wait of a saga never gets what the first one had."""
    box = Box()
    for request_id in ("e1", "e2"):
        box.happens(request_id)
    assert signals(box.waits("a", step="first")) == [("a", "first", "e1")]
    assert signals(box.waits("a", step="second")) == [("a", "second", "e2")]
    assert signals(box.waits("a", step="third")) == []
    assert signals(box.happens("e3")) == [("a", "third", "e3")]


def test_one_event_goes_to_one_wait_of_a_saga() -> None:
    """To the one that began first."""
    box = Box()
    box.waits("a", step="first")
    box.waits("a", step="second")
    assert signals(box.happens("e1")) == [("a", "first", "e1")]
    assert signals(box.happens("e2")) == [("a", "second", "e2")]


def test_a_wait_that_is_in_time_goes_before_one_that_is_overdue() -> None:
    """An overdue wait stays for a while, as its saga may be paused; it takes no event from the saga's next wait."""
    box = Box()
    box.waits("a", step="first", for_ms=HOUR_MS + HOLD_MS)
    box.at_ms += HOUR_MS
    box.waits("a", step="second", for_ms=2 * HOUR_MS + HOLD_MS)
    assert signals(box.happens("e1")) == [("a", "second", "e1")]
    assert signals(box.happens("e2")) == [("a", "first", "e2")]


def test_whoever_was_told_is_told_again_when_it_asks_again() -> None:
    """The same event, for the same wait: the signal may have been lost with a coordinator."""
    box = Box()
    box.waits("a")
    box.happens("e1")
    box.happens("e2")
    before = box.mailbox
    again = box.waits("a")
    assert (signals(again), again.state) == ([("a", "paid", "e1")], before)


def test_a_wait_that_is_asked_for_twice_counts_once() -> None:
    box = Box()
    box.waits("a")
    before = box.mailbox
    assert box.waits("a").state is before
    assert signals(box.happens("e1")) == [("a", "paid", "e1")]


def test_the_same_event_counts_once() -> None:
    """Also long after nobody may have it any more; whoever came in between is not told by the copy."""
    box = Box()
    box.waits("a")
    box.happens("e1", keep_ms=0)
    box.waits("b")
    box.at_ms += HOUR_MS - 1
    assert signals(box.happens("e1", keep_ms=0)) == []
    box.at_ms += 1
    assert signals(box.happens("e1", keep_ms=0)) == [("b", "paid", "e1")]


def test_an_event_that_may_not_have_been_told_is_told_again() -> None:
    """To those that it was committed for, and to nobody else."""
    box = Box()
    box.waits("a")
    box.happens("e1", keep_ms=0)
    box.waits("b")
    assert signals(box.happens("e1", again=True)) == [("a", "paid", "e1")]


def test_the_sender_is_answered_if_it_wants_to_be() -> None:
    """With how many sagas were told; the second time as a duplicate, with how many had been by then."""
    box = Box()
    box.waits("a")
    queue = "countermand.client.x"
    assert _answers(box.happens("e1", queue=queue)) == [(queue, EventAccepted("e1", EVENT, KEY, 1))]
    box.waits("b")
    assert _answers(box.happens("e1", queue=queue)) == [(queue, EventAccepted("e1", EVENT, KEY, 2, duplicate=True))]
    assert _answers(box.happens("e2")) == []


def _answers(decision: Decision[Mailbox]) -> list[tuple[str | None, object]]:
    return [(each.queue, each.answer) for each in decision.tells if isinstance(each, Addressed)]


def test_a_wait_ends_by_itself() -> None:
    """Nobody is told after its time, and what waits no more takes no room."""
    box = Box()
    box.waits("a", for_ms=HOUR_MS)
    box.waits("b", for_ms=2 * HOUR_MS)
    box.at_ms += HOUR_MS
    assert signals(box.happens("e1")) == [("b", "paid", "e1")]
    assert box.waits("c", for_ms=HOUR_MS).state is box.mailbox


def test_a_wait_can_get_more_time() -> None:
    """It keeps its place; a late copy of what it asked for first takes nothing away."""
    box = Box()
    box.waits("a", for_ms=HOUR_MS)
    box.waits("b", for_ms=HOUR_MS)
    box.waits("a", for_ms=2 * HOUR_MS)
    before = box.mailbox
    assert before is not None
    assert [each.saga_id for each in before.waiters] == ["a", "b"]
    assert box.waits("a", for_ms=HOUR_MS).state is before
    box.at_ms += HOUR_MS
    assert signals(box.happens("e1")) == [("a", "paid", "e1")]


def test_a_mailbox_expires_when_all_in_it_has() -> None:
    """The last wait, or the last event that must be known."""
    box = Box()
    box.waits("a", for_ms=DAY_MS)
    assert box.mailbox is not None
    assert box.mailbox.expires_ms() == NOON_MS + DAY_MS
    box.happens("e1", keep_ms=2 * DAY_MS)
    assert box.mailbox.expires_ms() == NOON_MS + 2 * DAY_MS


def test_what_is_kept_is_bounded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest make room; one that nobody has had is counted."""
    monkeypatch.setattr(mailboxes, "EVENTS_MAX", 2)
    box = Box()
    box.happens("e1")
    box.waits("a")
    box.happens("e2")
    assert box.happens("e3").counts == ()
    assert box.happens("e4").counts == ("events_dropped",)
    assert box.mailbox is not None
    assert [each.request_id for each in box.mailbox.kept] == ["e3", "e4"]
    assert box.mailbox.told == ()


def test_what_is_kept_is_bounded_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest event is kept, however large; older ones as far as there is room."""
    monkeypatch.setattr(mailboxes, "EVENTS_BYTES_MAX", 20)
    box = Box()
    for number, size in enumerate((8, 8, 8, 30)):
        box.happens(f"e{number}", payload="x" * (size - 2))
        assert box.mailbox is not None
        kept = [each.request_id for each in box.mailbox.kept]
        assert kept == [["e0"], ["e0", "e1"], ["e1", "e2"], ["e3"]][number]


def test_the_waiting_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one too many is counted, and will time out."""
    monkeypatch.setattr(mailboxes, "WAITERS_MAX", 1)
    box = Box()
    box.waits("a")
    assert box.waits("b").counts == ("subscriptions_refused",)
    assert signals(box.happens("e1")) == [("a", "paid", "e1")]


Move = tuple[str, str]
moves = some.lists(
    some.one_of(
        some.tuples(some.just("happens"), some.sampled_from(["e1", "e2", "e3"])),
        some.tuples(some.sampled_from(["waits first", "waits second"]), some.sampled_from("ab")),
    ),
    max_size=30,
)


@given(moves=moves)
def test_any_stream_of_messages(moves: list[Move]) -> None:
    """While everything is kept: a saga's waits get the events in their order, each another one, none left out."""
    box = Box()
    happened: list[str] = []
    began: dict[str, list[str]] = {"a": [], "b": []}
    had: dict[tuple[str, str], set[str]] = {}
    for verb, name in moves:
        if verb == "happens":
            decision = box.happens(name, again=True)
            happened += [] if name in happened else [name]
        else:
            step = verb.removeprefix("waits ")
            decision = box.waits(name, step=step)
            began[name] += [] if step in began[name] else [step]
        for saga_id, step, request_id in signals(decision):
            had.setdefault((saga_id, step), set()).add(request_id)
    for saga_id, steps in began.items():
        for step, request_id in zip(steps, happened, strict=False):
            assert had.pop((saga_id, step)) == {request_id}
    assert had == {}
