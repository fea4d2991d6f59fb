"""Reads sagas for people: from the store's indexes, never by a scan."""

from typing import Any

import msgspec

from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga
from countermand.schemas.envelope import timestamp

CAUSES_IN_WORDS = {
    "compensation_exhausted": "a compensation failed as often as its retry policy allows",
    "compensation_rejected": "a participant refused to compensate",
    "pivot_unknown": "the pivot was not answered: nobody knows whether the saga may go on or must go back",
    "forward_exhausted": "a step after the pivot failed as often as its retry policy allows",
    "forward_rejected": "a participant refused a step after the pivot, where there is no way back",
    "unresolvable": "a command can't be made: a field that the definition refers to is missing",
    "state_lost": "the store has lost what was committed: a participant answered a command that it does not know of",
}


def summary(saga: Saga) -> dict[str, Any]:
    """One line of a list, ready for JSON."""
    state = saga.state
    return {
        "saga_id": state.saga_id,
        "definition": state.definition,
        "phase": state.phase,
        "stuck": None if state.stuck is None else state.stuck.cause,
        "steps_done": sum(step.do.status == "succeeded" for step in state.steps.values()),
        "started": timestamp(state.started_ms),
        "updated": timestamp(state.updated_ms),
    }


def detail(saga: Saga, history: list[Record]) -> dict[str, Any]:
    """Everything about one saga but its payloads, ready for JSON."""
    state = saga.state
    return {
        **summary(saga),
        "definition_hash": state.definition_hash,
        "version": state.version,
        "tags": list(state.tags),
        "deadline": None if state.deadline_ms is None else timestamp(state.deadline_ms),
        "ended": None if state.ended_ms is None else timestamp(state.ended_ms),
        "failure": None if state.failure is None else msgspec.to_builtins(state.failure),
        "stuck_because": None if state.stuck is None else _stuck_because(saga),
        "steps": [
            {
                "step": name,
                "action": step.do.status,
                "attempts": step.do.attempt,
                "error": step.do.error,
                "compensation": None if step.undo is None else step.undo.status,
                "compensation_attempts": 0 if step.undo is None else step.undo.attempt,
                "compensation_error": None if step.undo is None else step.undo.error,
            }
            for name, step in state.steps.items()
        ],
        "history": [history_line(record) for record in history],
    }


def history_line(record: Record) -> dict[str, Any]:
    """One journal entry, ready for JSON. The secret of the saga stays out of it."""
    entry = msgspec.to_builtins(record.entry)
    entry.pop("secret", None)
    return {"version": record.version, "at": timestamp(record.at_ms), "cause": record.cause, **entry}


def _stuck_because(saga: Saga) -> str:
    stuck = saga.state.stuck
    if stuck is None:
        return ""
    where = f" (step {stuck.step})" if stuck.step else ""
    return f"{CAUSES_IN_WORDS[stuck.cause]}{where}: {stuck.detail}"
