"""Lifecycle events in words."""

from typing import Any, Final, assert_never

from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.schemas.envelope import timestamp
from countermand.schemas.messages import LifecycleMessage

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
        case "step.succeeded":
            return f"{step} was done by attempt {data.get('attempt')}"
        case "step.rejected":
            return f"{step} was rejected: {data.get('code')}"
        case "step.failed":
            undo = "the compensation of " if data.get("direction") == "undo" else ""
            return f"{undo}{step}, attempt {data.get('attempt')}, failed: {data.get('code')}"
        case "step.compensated":
            return f"{step} was undone by attempt {data.get('attempt')}"
        case "step.skipped":
            undo = "the compensation of " if data.get("direction") == "undo" else ""
            return f"{undo}{step} was skipped"
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
            assert_never(event.name)


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
