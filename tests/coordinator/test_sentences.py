"""Every entry of the journal, and every lifecycle event, in a sentence."""

from typing import Any, get_args

import msgspec
import pytest

from coordinator.telltale import EVERY
from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationSettled,
    CompensationStarted,
    DeadlineExtended,
    DeadlineMissed,
    JournalEntry,
    LostVersionSeen,
    OperatorActed,
    ReplyIgnored,
    RetryGranted,
    SagaEnded,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    SignalKept,
    StepAsked,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    TurnDeferred,
    WatcherAdded,
)
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
    (SagaResumed(NOON_MS), "resumed; its deadline is 2023-11-14T22:13:20.000Z"),
    (DeadlineExtended(NOON_MS), "moved to 2023-11-14T22:13:20.000Z"),
    (SignalKept("r-1", "paid"), "the signal paid was kept"),
    (WatcherAdded("clients.1"), "clients.1 waits for the outcome"),
    (ReplyIgnored("pay", "undo", 1, "succeeded", "late"), "changed nothing: it came too late"),
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
    assert {"saga.started", "saga.stuck", "step.failed", "step.compensated"} <= names


@pytest.mark.parametrize("name", get_args(LifecycleName))
def test_no_kind_of_event_is_left_out(name: Any) -> None:
    """Also with data of a later release, every kind is said in words."""
    data = {"step": "pay", "code": "x", "cause": "of tomorrow", "actor": "ana", "attempt": 1, "direction": "undo"}
    assert happening(LifecycleMessage("s/1/0", name, "s", "order@1", 1, NOON_MS, data))
