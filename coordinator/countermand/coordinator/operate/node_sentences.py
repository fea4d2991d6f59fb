"""What happened at the nodes of a saga that are no steps of a participant, in words."""

from typing import assert_never

from countermand.coordinator.core.journal import (
    ApprovalAsked,
    ApprovalDecided,
    ApprovalEscalated,
    ApprovalTimedOut,
    BranchTaken,
    ChildAsked,
    EventTaken,
    LockAsked,
    LoopOpened,
    ParentAsked,
    ParentGone,
    ScopeUndone,
    SleepBegun,
    SleepOver,
    WaitBegun,
    WaitTimedOut,
)
from countermand.schemas.envelope import timestamp

NodeEntry = (
    BranchTaken
    | LoopOpened
    | WaitBegun
    | EventTaken
    | WaitTimedOut
    | SleepBegun
    | SleepOver
    | ApprovalAsked
    | ApprovalEscalated
    | ApprovalDecided
    | ApprovalTimedOut
    | ScopeUndone
    | LockAsked
    | ChildAsked
    | ParentAsked
    | ParentGone
)


def of_a_node(entry: NodeEntry) -> str:
    """What happened there."""
    match entry:
        case BranchTaken(step=step, then=then):
            return f"{step}: the condition {'holds' if then else 'does not hold'}"
        case LoopOpened(step=step, count=count):
            return f"{step} goes through {count} item{'' if count == 1 else 's'}"
        case WaitBegun(step=step, event=event, until_ms=until_ms, key=key):
            which = event if key is None else f"{event} with the key {key}"
            return f"{step} waits for {which} until {timestamp(until_ms)}"
        case EventTaken(step=step):
            return f"{step} has what it waited for"
        case WaitTimedOut(step=step):
            return f"{step} waited in vain: its time is up"
        case SleepBegun(step=step, until_ms=until_ms):
            return f"{step} sleeps until {timestamp(until_ms)}"
        case SleepOver(step=step):
            return f"{step} has slept"
        case ApprovalAsked(step=step, until_ms=until_ms, roles=roles, assignees=assignees):
            who = " or ".join((*(f"the role {role}" for role in roles), *assignees))
            return f"{step} waits for {who} to decide until {timestamp(until_ms)}"
        case ApprovalEscalated(step=step, role=role):
            return f"nobody has decided {step} yet: the role {role} may, too"
        case ApprovalDecided(step=step, decision=decision, by=by):
            return f"{step} was {decision} by {by}"
        case ApprovalTimedOut(step=step):
            return f"nobody decided {step} in time"
        case ScopeUndone(step=step):
            return f"the scope {step} is undone; the saga goes on after it"
        case LockAsked(step=step, lock=lock, key=key):
            return f"{step} asks for the lock {lock}" + (f" of {key}" if key else "")
        case ChildAsked(step=step, saga_id=saga_id):
            return f"{step} starts the child saga {saga_id}"
        case ParentAsked(saga_id=saga_id, step=step, direction=direction):
            what = "asks for this saga" if direction == "do" else "asks for the undoing of this saga"
            return f"{saga_id}, at {step}, {what}"
        case ParentGone():
            return "the saga that started this one has ended"
        case _:
            assert_never(entry)
