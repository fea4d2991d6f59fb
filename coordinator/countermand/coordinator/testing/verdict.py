"""How a saga stands, as the stories compare it and as people read it."""

from typing import Any

import msgspec

from countermand.coordinator.core.journal import Record, StepSucceeded
from countermand.coordinator.core.state import Saga
from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.coordinator.operate.sentences import because
from countermand.schemas.messages import Phase


class Verdict(msgspec.Struct, frozen=True):
    """A saga's standing. `undone` are the steps whose compensation succeeded, in the order of succeeding.

    `stuck_cause` and `stuck_step` say what it is stuck on, `code` why it turned back.
    """

    phase: Phase
    ended: bool
    outcome: Any = None
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    stuck_cause: str | None = None
    stuck_step: str | None = None
    code: str | None = None
    words: str = ""


def verdict_on(saga: Saga, records: list[Record]) -> Verdict:
    """Reads it from the state and from the journal."""
    state = saga.state
    succeeded = [record.entry for record in records if isinstance(record.entry, StepSucceeded)]
    return Verdict(
        phase=state.phase,
        ended=state.ended,
        outcome=None if saga.outcome is None else msgspec.json.decode(saga.outcome),
        done=tuple(entry.step for entry in succeeded if entry.direction == "do"),
        undone=tuple(entry.step for entry in succeeded if entry.direction == "undo"),
        stuck_cause=None if state.stuck is None else state.stuck.cause,
        stuck_step=None if state.stuck is None else state.stuck.step,
        code=None if state.failure is None else state.failure.code,
        words=_in_words(saga),
    )


def _in_words(saga: Saga) -> str:
    state = saga.state
    turned = "" if state.failure is None else f" after {because(state.failure)}"
    if state.stuck is not None:
        where = "" if state.stuck.step is None else f" (step {state.stuck.step})"
        detail = f": {state.stuck.detail}" if state.stuck.detail else ""
        return f"stuck as {state.stuck.cause}{where}{detail}: {CAUSES_IN_WORDS[state.stuck.cause]}"
    if state.ended:
        return f"{state.phase.replace('_', ' ')}{turned}"
    waiting = [
        f"{name} {step.do.status if step.undo is None else step.undo.status}" for name, step in state.steps.items()
    ]
    return f"still {state.phase}{turned} ({', '.join(waiting)})"
