"""What happens at a saga's nodes, for the timeline: branches, waits, approvals, locks, scopes, children."""

from typing import Final

from countermand.coordinator.core.journal import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalTimedOut,
    BranchTaken,
    ChildAsked,
    CompensationStarted,
    EventTaken,
    JournalEntry,
    LockAsked,
    LoopOpened,
    ScopeUndone,
    SleepBegun,
    SleepOver,
    WaitBegun,
    WaitTimedOut,
)
from countermand.coordinator.operate.durations import in_words, short
from countermand.coordinator.operate.node_sentences import of_a_node
from countermand.coordinator.operate.sentences import because

_SECOND_MS: Final = 1_000


def node_words(entry: JournalEntry, at_ms: int) -> str | None:
    """What an entry says of a node; null if it says nothing of one. Moments are told as durations from now."""
    match entry:
        case WaitBegun(step=step, event=event, key=key, until_ms=until_ms):
            which = event if key is None else f"{event} with the key {key}"
            return f"{step} waits for {which}, {_left(until_ms, at_ms)} at most"
        case SleepBegun(step=step, until_ms=until_ms):
            return f"{step} sleeps for {_left(until_ms, at_ms)}"
        case ApprovalAsked(step=step, until_ms=until_ms, roles=roles, assignees=assignees):
            who = " or ".join((*(f"the role {role}" for role in roles), *assignees)) or "nobody"
            return f"{step} waits for {who} to decide, {_left(until_ms, at_ms)} at most"
        case CompensationStarted(failure=failure, scope=str() as scope):
            return f"the scope {scope} turns back: {because(failure)}"
        case (
            BranchTaken()
            | LoopOpened()
            | EventTaken()
            | WaitTimedOut()
            | SleepOver()
            | ApprovalEscalated()
            | ApprovalDecided()
            | ApprovalTimedOut()
            | ScopeUndone()
            | LockAsked()
            | ChildAsked()
        ):
            return of_a_node(entry)
        case _:
            return None


def _left(until_ms: int, at_ms: int) -> str:
    left_ms = max(0, until_ms - at_ms)
    return short(left_ms) if left_ms >= _SECOND_MS else in_words(left_ms)
