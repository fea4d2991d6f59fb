"""Every entry of the journal, and every lifecycle event, in a sentence."""

from typing import Any, get_args

import msgspec
import pytest

from coordinator import node_tales
from coordinator.telltale import EVERY
from countermand.coordinator.core.journal import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalTimedOut,
    AttemptFailed,
    BranchTaken,
    ChildAsked,
    CompensationSettled,
    CompensationStarted,
    DeadlineExtended,
    DeadlineMissed,
    EventTaken,
    JournalEntry,
    LockAsked,
    LoopOpened,
    LostVersionSeen,
    OperatorActed,
    ParentAsked,
    ParentGone,
    ReplyIgnored,
    RetryGranted,
    SagaEnded,
    SagaMigrated,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    ScopeUndone,
    SignalKept,
    SleepBegun,
    SleepOver,
    StepAsked,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    TurnDeferred,
    WaitBegun,
    WaitTimedOut,
    WatcherAdded,
)
from countermand.coordinator.core.state import Route
from countermand.coordinator.operate.happenings import happening, happening_document
from countermand.coordinator.operate.sentences import sentence
from countermand.coordinator.outbox import lifecycle_of
from countermand.schemas.messages import Failure, LifecycleMessage, LifecycleName

NOON_MS = 1_700_000_000_000
NO = Failure("unwilling", "not today", "ship")
ENTRIES: list[tuple[JournalEntry, str]] = [
    (SagaStarted("s-1", "order@3", "hash", "secret", "content", tags=("vip",)), "started as order@3, tagged vip"),
    (StepAsked("pay", "do", 1, NOON_MS), "pay was asked for, attempt 1; its reply is overdue from 22:13:20Z on"),
    (StepAsked("pay", "undo", 2, NOON_MS), "the compensation of pay was asked for, attempt 2"),
    (StepSucceeded("pay", "do", 2), "pay was done by attempt 2"),
    (StepSucceeded("pay", "undo", 2), "pay was undone by attempt 2"),
    (StepRejected("pay", "do", 1, "declined", "no money"), "pay was rejected: declined: no money"),
    (
        AttemptFailed("pay", "do", 1, "failed", "down", "waiting", "off", until_ms=NOON_MS),
        "failed: down: off; the",
    ),
    (AttemptFailed("pay", "do", 3, "timed_out", "timed_out", "unknown"), "was not answered in time; given up; it may"),
    (AttemptFailed("pay", "undo", 1, "unroutable", "unroutable", "exhausted"), "found no queue; given up; a person"),
    (AttemptFailed("pay", "do", 1, "failed", "down", "not_done"), "given up; nothing was done"),
    (TurnDeferred(NO), "once its pivot has answered: unwilling in step ship: not today"),
    (CompensationStarted(NO), "turned back: unwilling in step ship: not today"),
    (DeadlineMissed(), "the deadline passed after the pivot"),
    (SagaStuck("pivot_unknown", "capture", "timed_out"), "is stuck: the pivot was not answered"),
    (LostVersionSeen(7), "revision 7 turned up"),
    (SagaReleased(), "stuck no longer"),
    (OperatorActed("r", "c", "ana", "bank is back", "retry", "pay"), "ana asked for retry of pay: bank is back"),
    (OperatorActed("r", "c", "ana", "x", "skip", "pay", "abcdef" * 8), "(payload sha256 abcdefabcdef…)"),
    (RetryGranted("pay", "do", new_key=True, edited=True), "fresh patience under a new key, with an edited input"),
    (StepSkipped("pay", "do"), "pay was skipped; it counts as done"),
    (StepSkipped("pay", "undo"), "what it did remains"),
    (CompensationSettled("pay", "ticket 7"), "pay was undone by hand; evidence: ticket 7"),
    (SagaPaused("ana"), "paused by ana"),
    (
        SagaMigrated(
            *("order@2", "hash", "order@1", "other"),
            routes={"pay": Route("bank", "pay", compensated=True, undo_timeout_ms=1_000)},
            inputs_kept=("pay", "reserve"),
            forgotten=("night",),
        ),
        (
            "went over from order@1 to order@2; pay: undone as the former one says; "
            "pay, reserve: what was sent is kept; night: left behind"
        ),
    ),
    (SagaResumed(NOON_MS), "resumed; its deadline is 2023-11-14T22:13:20.000Z"),
    (DeadlineExtended(NOON_MS), "moved to 2023-11-14T22:13:20.000Z"),
    (SignalKept("r-1", "paid"), "the signal paid was kept"),
    (WatcherAdded("clients.1"), "clients.1 waits for the outcome"),
    (ReplyIgnored("pay", "undo", 1, "succeeded", "late"), "changed nothing: it came too late"),
    (SignalKept("r-1/paid[3]", "payment_received", "paid[3]"), "the event payment_received has come, for paid[3]"),
    (StepAsked("pay", "probe", 1, NOON_MS), "the question what became of pay was asked, attempt 1"),
    (StepSucceeded("pay", "probe", 1), "pay turned out to have been done"),
    (StepRejected("pay", "probe", 1, "not_done"), "pay turned out not to have been done"),
    (CompensationStarted(NO, "hotel", ("wrap",)), "the scope hotel of it turned back: unwilling in step ship"),
    (BranchTaken("is_large", False), "is_large: the condition does not hold"),
    (LoopOpened("quotes", 1), "quotes goes through 1 item"),
    (
        WaitBegun("paid[3]", "payment_received", NOON_MS, "o-1"),
        "waits for payment_received with the key o-1 until 2023",
    ),
    (EventTaken("paid[3]", "r-1"), "paid[3] has what it waited for"),
    (WaitTimedOut("paid"), "paid waited in vain"),
    (SleepBegun("cool_down", NOON_MS), "cool_down sleeps until 2023-11-14T22:13:20.000Z"),
    (SleepOver("cool_down"), "cool_down has slept"),
    (
        ApprovalAsked("review", NOON_MS, "digest", ("fraud",), ("alice",)),
        "review waits for the role fraud or alice to decide until 2023",
    ),
    (ApprovalEscalated("review", "managers"), "nobody has decided review yet: the role managers may, too"),
    (ApprovalDecided("review", "denied", "alice"), "review was denied by alice"),
    (ApprovalTimedOut("review"), "nobody decided review in time"),
    (ScopeUndone("hotel"), "the scope hotel is undone; the saga goes on after it"),
    (LockAsked("hold", "customer", "carol"), "hold asks for the lock customer of carol"),
    (ChildAsked("car", "trip-1:car"), "car starts the child saga trip-1:car"),
    (ParentAsked("trip-1", "car", "key", "undo", 1, "id", 4), "trip-1, at car, asks for the undoing of this saga"),
    (ParentGone(), "the saga that started this one has ended"),
    (
        SagaEnded("abandoned", remaining=("a: done", "q[0]: done", "q[1]: done", "q[2]: may have been done")),
        "what remains: a: done, q[…]: done (2 items), q[2]: may have been done",
    ),
    (SagaEnded("completed", "input.x is missing"), "the saga completed; its outcome can't be made: input.x is missing"),
    (SagaEnded("abandoned", remaining=("pay: done",)), "abandoned where it stood; what remains: pay: done"),
]


@pytest.mark.parametrize(("entry", "said"), ENTRIES)
def test_an_entry_is_a_sentence(entry: JournalEntry, said: str) -> None:
    """What happened, in the words of the field, with the participant's own where there are any."""
    assert said in sentence(entry)
    assert "secret" not in sentence(entry)


def test_no_kind_of_entry_is_left_out() -> None:
    """A new kind has to come with its sentence, and with its line above."""
    assert {type(entry) for entry, _ in ENTRIES} == set(get_args(JournalEntry))


def test_what_is_told_of_real_sagas_is_said() -> None:
    """Everything that the coordinator sends as a lifecycle event has words and is JSON."""
    names: set[str] = set()
    for make in EVERY:
        world = make()
        for event in lifecycle_of(world.state, world.records):
            assert happening(event)
            assert "None" not in happening(event)
            assert msgspec.json.decode(msgspec.json.encode(happening_document(event)))["event"] == event.name
            names.add(event.name)
    for made in node_tales.EVERY:
        tale = made()
        for event in lifecycle_of(tale.state, tale.records):
            assert "None" not in happening(event), event
            names.add(event.name)
    assert {"saga.started", "saga.stuck", "step.failed", "step.compensated"} <= names
    assert {"branch.taken", "wait.begun", "approval.asked", "approval.decided", "child.asked", "lock.asked"} <= names


def test_a_scope_that_turns_back_is_no_saga_that_does() -> None:
    """Whoever listens for sagas that turned back is told of those, and of scopes by names of their own."""
    tale = node_tales.everything()
    told = [event for event in lifecycle_of(tale.state, tale.records) if "compensat" in event.name]
    assert [(event.name, event.data) for event in told] == [
        ("scope.compensating", {"scope": "hotel", "code": "sold_out", "step": "book_breakfast"}),
        ("step.compensated", {"step": "book_hotel", "attempt": 1}),
        ("scope.compensated", {"scope": "hotel"}),
    ]
    assert happening(told[0]) == "turned back in its scope hotel: sold_out"


@pytest.mark.parametrize("name", get_args(LifecycleName))
def test_no_kind_of_event_is_left_out(name: Any) -> None:
    """Also with data of a later release, every kind is said in words."""
    data = {"step": "pay", "code": "x", "cause": "of tomorrow", "actor": "ana", "attempt": 1, "direction": "undo"}
    assert happening(LifecycleMessage("s/1/0", name, "s", "order@1", 1, NOON_MS, data))


def test_what_was_asked_about_is_not_what_failed() -> None:
    """A probe that fails, or finds nothing done, is told as what it is."""
    failed = {"step": "pay", "attempt": 1, "code": "down", "direction": "probe"}
    told = [
        happening(LifecycleMessage("s/1/0", name, "s", "order@1", 1, NOON_MS, failed))
        for name in ("step.failed", "step.rejected")
    ]
    assert told == [
        "the question what became of pay, attempt 1, failed: down",
        "pay turned out not to have been done",
    ]
