"""Lifecycle events in words."""

from typing import Any, Final, Literal, assert_never

from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.schemas.envelope import timestamp
from countermand.schemas.messages import LifecycleMessage

NodeEvent = Literal[
    "branch.taken",
    "wait.begun",
    "wait.met",
    "wait.timed_out",
    "approval.asked",
    "approval.escalated",
    "approval.decided",
    "approval.timed_out",
    "scope.compensating",
    "scope.compensated",
    "lock.asked",
    "child.asked",
]

_SAGA: Final = {
    "saga.started": "started",
    "saga.released": "is stuck no longer",
    "saga.resumed": "was resumed",
    "saga.completed": "completed",
    "saga.compensated": "ended compensated: everything was undone",
    "saga.compensated_with_exceptions": "ended compensated, with exceptions that an operator made",
    "saga.abandoned": "was abandoned where it stood",
}


def happening(event: LifecycleMessage) -> str:
    """What happened to the saga, without its id: `pay was done by attempt 2`."""
    data = event.data
    step = data.get("step")
    match event.name:
        case "saga.compensating":
            return f"turned back: {data.get('code')}" + (f" in step {step}" if step else "")
        case "saga.stuck":
            cause = str(data.get("cause"))
            return f"is STUCK: {CAUSES_IN_WORDS.get(cause, cause)}" + (f" (step {step})" if step else "")
        case "saga.paused":
            return f"was paused by {data.get('actor')}"
        case "saga.migrated":
            return f"was moved from {data.get('from')} to {data.get('to')}"
        case "step.succeeded":
            return f"{step} was done by attempt {data.get('attempt')}"
        case "step.rejected" if data.get("direction") == "probe":
            return f"{step} turned out not to have been done"
        case "step.rejected":
            return f"{_direction(data)}{step} was rejected: {data.get('code')}"
        case "step.failed":
            return f"{_direction(data)}{step}, attempt {data.get('attempt')}, failed: {data.get('code')}"
        case "step.compensated":
            return f"{step} was undone by attempt {data.get('attempt')}"
        case "step.skipped":
            return f"{_direction(data)}{step} was skipped"
        case "step.settled":
            return f"{step} was undone by hand"
        case (
            "saga.started"
            | "saga.released"
            | "saga.resumed"
            | "saga.completed"
            | "saga.compensated"
            | "saga.compensated_with_exceptions"
            | "saga.abandoned"
        ):
            return _SAGA[event.name]
        case _:
            return _at_a_node(event.name, data)


def _at_a_node(name: NodeEvent, data: dict[str, Any]) -> str:
    step = data.get("step")
    match name:
        case "branch.taken":
            return f"{step}: the condition {'holds' if data.get('then') else 'does not hold'}"
        case "wait.begun":
            key = f" with the key {data['key']}" if data.get("key") else ""
            return f"{step} waits for {data.get('event')}{key}"
        case "wait.met":
            return f"{step} has what it waited for"
        case "wait.timed_out":
            return f"{step} waited in vain"
        case "approval.asked":
            return f"{step} waits for a decision"
        case "approval.escalated":
            return f"nobody has decided {step} yet: the role {data.get('role')} may, too"
        case "approval.decided":
            return f"{step} was {data.get('decision')} by {data.get('by')}"
        case "approval.timed_out":
            return f"nobody decided {step} in time"
        case "scope.compensating":
            return f"turned back in its scope {data.get('scope')}: {data.get('code')}"
        case "scope.compensated":
            return f"undid its scope {data.get('scope')}, and goes on after it"
        case "lock.asked":
            key = f" of {data['key']}" if data.get("key") else ""
            return f"{step} asks for the lock {data.get('lock')}{key}"
        case "child.asked":
            return f"{step} starts the child saga {data.get('saga_id')}"
        case _:
            assert_never(name)


def _direction(data: dict[str, Any]) -> str:
    return {"undo": "the compensation of ", "probe": "the question what became of "}.get(str(data.get("direction")), "")


def happening_document(event: LifecycleMessage) -> dict[str, Any]:
    """The event ready for JSON."""
    return {
        "id": event.id,
        "at": timestamp(event.at_ms),
        "event": event.name,
        "saga_id": event.saga_id,
        "definition": event.definition,
        "version": event.saga_version,
        "data": event.data,
        "said": happening(event),
    }
