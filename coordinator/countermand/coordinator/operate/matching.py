"""What a filter asks of the indexes, and what can only be seen on a saga itself."""

from typing import Final, cast

from msgspec.structs import replace

from countermand.coordinator.core.state import SagaState, StuckCause
from countermand.coordinator.operate.filters import Filter
from countermand.coordinator.ports import SagaQuery
from countermand.coordinator.store.indexes import stuck_code
from countermand.schemas.identifiers import step_name

_INDEXED: Final = ("phase", "definition", "stuck", "paused", "tags", "approval", "assignee")


def query_for(filter_: Filter, at_ms: int) -> SagaQuery:
    """As much of the filter as the indexes know, at this moment."""
    stuck = filter_.stuck or ("any" if "" in (filter_.step, filter_.error) else None)
    held = stuck is not None or filter_.paused
    of_held = filter_.since_over_ms is not None or filter_.since_under_ms is not None
    return SagaQuery(
        phase=filter_.phase,
        definition=filter_.definition,
        stuck=cast("StuckCause | None", stuck),
        stuck_step=filter_.step if stuck else None,
        stuck_error=filter_.error if stuck else None,
        paused=filter_.paused,
        in_motion=filter_.phase is None and not held and (of_held or filter_.step is not None),
        tags=filter_.tags,
        approval=filter_.approval,
        assignee=filter_.assignee,
        started_from_ms=None if filter_.age_under_ms is None else at_ms - filter_.age_under_ms + 1,
        started_before_ms=None if filter_.age_over_ms is None else at_ms - filter_.age_over_ms,
    )


def is_indexed(filter_: Filter) -> bool:
    """Whether the indexes know everything that the filter asks for."""
    query = query_for(filter_, 0)
    rest = replace(filter_, age_over_ms=None, age_under_ms=None)
    rest = replace(rest, step=None) if query.stuck_step is not None else rest
    rest = replace(rest, error=None) if query.stuck_error is not None else rest
    return rest == replace(Filter(), **{name: getattr(rest, name) for name in _INDEXED})


def matches(filter_: Filter, state: SagaState, at_ms: int) -> bool:
    """Whether a saga that the indexes have found meets the conditions that they know nothing of."""
    since_ms = held_since(state)
    if filter_.since_over_ms is not None and (since_ms is None or at_ms - since_ms <= filter_.since_over_ms):
        return False
    if filter_.since_under_ms is not None and (since_ms is None or at_ms - since_ms >= filter_.since_under_ms):
        return False
    unchanged_ms = at_ms - state.updated_ms
    if filter_.updated_over_ms is not None and unchanged_ms <= filter_.updated_over_ms:
        return False
    if filter_.updated_under_ms is not None and unchanged_ms >= filter_.updated_under_ms:
        return False
    return (filter_.step is None or filter_.step in steps_at_work(state)) and (
        filter_.error is None or filter_.error in errors(state)
    )


def steps_at_work(state: SagaState) -> set[str]:
    """The step on which a saga is stuck; of one that is not, those that are out or wait for their next attempt.

    By the definition's names for them: `ask_quote` for any item's.
    """
    if state.stuck is not None:
        return {step_name(state.stuck.step or "")}
    return {step_name(ref) for ref, step in state.steps.items() if step.open}


def errors(state: SagaState) -> set[str]:
    """The error code on which a saga is stuck; of one that is not, those of its steps and why it turned back."""
    if state.stuck is not None:
        return {stuck_code(state, state.stuck)}
    tracks = (track for step in state.steps.values() for track in (step.do, step.undo, step.probe))
    found = {track.error for track in tracks if track is not None and track.error}
    return found | ({state.failure.code} if state.failure is not None else set())


def held_since(state: SagaState) -> int | None:
    """Since when a saga is stuck or paused, whichever came first; null if it is neither, or has ended."""
    moments = [hold.since_ms for hold in (state.stuck, state.paused) if hold is not None]
    return None if state.ended else min(moments, default=None)
