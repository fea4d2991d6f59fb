"""How one journal entry changes the state, and what follows from a state alone."""

from typing import Final, assert_never

from msgspec.structs import replace

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
from countermand.coordinator.core.state import Operated, Paused, SagaState, StepState, Stuck, Track, TrackStatus
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.identifiers import Direction

# Enough to recognise a request that is repeated within any sensible time; the history keeps them all.
OPERATIONS_KEPT: Final = 64


def evolve(state: SagaState | None, entry: JournalEntry, at_ms: int) -> SagaState:
    """The state after an entry. Total over every entry that `decide` writes.

    Raises:
        InvariantViolated: the entry can't follow this state; a bug of ours or a damaged journal.
    """
    if isinstance(entry, SagaStarted):
        return _started(entry, at_ms)
    if state is None:
        raise InvariantViolated(f"{type(entry).__name__} before the saga was started")
    match entry:
        case StepAsked():
            return _asked(state, entry)
        case StepSucceeded():
            track = _known(state, entry.step, entry.direction)
            settled = replace(track, status="succeeded", until_ms=0, error=None)
            return _with_track(state, entry.step, entry.direction, settled)
        case StepRejected():
            track = _known(state, entry.step, entry.direction)
            settled = replace(track, status="rejected", until_ms=0, error=entry.code)
            return _with_track(state, entry.step, entry.direction, settled)
        case AttemptFailed():
            return _attempt_failed(state, entry)
        case TurnDeferred(failure=failure):
            # The first reason to turn stays the reason.
            return replace(
                state, turn=state.turn or failure, deadline_seen=state.deadline_seen or failure.code == "deadline"
            )
        case CompensationStarted(failure=failure):
            return _turned(state, entry)
        case DeadlineMissed():
            return replace(state, deadline_seen=True)
        case SagaStuck(cause=cause, step=step, detail=detail, lost_version=lost_version):
            return replace(state, stuck=Stuck(cause, at_ms, step, detail, lost_version))
        case LostVersionSeen(version=version):
            if state.stuck is None:
                raise InvariantViolated("a lost version was seen of a saga that is not stuck")
            return replace(state, stuck=replace(state.stuck, lost_version=version), facts=state.facts + 1)
        case SagaReleased():
            lost = state.stuck.lost_version if state.stuck is not None else 0
            return replace(state, stuck=None, lost_until=max(state.lost_until, lost))
        case OperatorActed():
            acted = Operated(entry.request_id, entry.content, entry.operation, entry.actor, at_ms)
            return replace(state, operations=(*state.operations, acted)[-OPERATIONS_KEPT:])
        case RetryGranted():
            return _retry_granted(state, entry, at_ms)
        case StepSkipped(step=step, direction=direction):
            return _closed(state, step, direction, "skipped")
        case CompensationSettled(step=step):
            return _closed(state, step, "undo", "settled")
        case SagaPaused(actor=actor):
            return replace(state, paused=Paused(at_ms, actor, clock_ms=at_ms))
        case SagaResumed(deadline_ms=deadline_ms):
            return replace(state, paused=None, deadline_ms=deadline_ms)
        case DeadlineExtended(deadline_ms=deadline_ms):
            paused = None if state.paused is None else replace(state.paused, clock_ms=at_ms)
            return replace(state, deadline_ms=deadline_ms, paused=paused)
        case SignalKept(request_id=request_id):
            return replace(state, signals=(*state.signals, request_id))
        case WatcherAdded(queue=queue):
            return replace(state, watchers=(*state.watchers, queue))
        case ReplyIgnored():
            return replace(state, facts=state.facts + 1)
        case SagaEnded(phase=phase):
            return replace(state, phase=phase, ended_ms=at_ms, stuck=None, turn=None, paused=None)
        case _:
            assert_never(entry)


def wake_at(state: SagaState) -> int | None:
    """The next moment at which something must happen even if no message ever arrives; None if there is none.

    A saga in motion has one, unless it is stuck or paused (invariant I3).
    """
    if state.ended or state.halted or state.paused is not None:
        return None
    direction: Direction = "do" if state.phase == "running" else "undo"
    moments = [
        track.until_ms
        for step in state.steps.values()
        if (track := step.track(direction)) is not None and track.status in ("asked", "waiting")
    ]
    if state.phase == "running" and state.deadline_ms is not None and not state.deadline_seen:
        moments.append(state.deadline_ms)
    return min(moments, default=None)


def _started(entry: SagaStarted, at_ms: int) -> SagaState:
    return SagaState(
        saga_id=entry.saga_id,
        definition=entry.definition,
        definition_hash=entry.definition_hash,
        version=0,
        phase="running",
        secret=entry.secret,
        content=entry.content,
        started_ms=at_ms,
        updated_ms=at_ms,
        deadline_ms=entry.deadline_ms,
        tags=entry.tags,
        traceparent=entry.traceparent,
    )


def _asked(state: SagaState, entry: StepAsked) -> SagaState:
    step = state.steps.get(entry.step)
    before = None if step is None else step.track(entry.direction)
    if before is None:
        track = Track("asked", entry.attempt, entry.until_ms)
    else:
        track = replace(before, status="asked", attempt=entry.attempt, until_ms=entry.until_ms)
    return _with_track(state, entry.step, entry.direction, track)


def _attempt_failed(state: SagaState, entry: AttemptFailed) -> SagaState:
    track = replace(
        _known(state, entry.step, entry.direction),
        status=entry.then,
        until_ms=entry.until_ms,
        error=entry.code,
        doubtful=entry.doubtful,
    )
    return _with_track(state, entry.step, entry.direction, track)


def _retry_granted(state: SagaState, entry: RetryGranted, at_ms: int) -> SagaState:
    step = state.steps.get(entry.step)
    track = None if step is None else step.track(entry.direction)
    if step is None or track is None:
        return state  # It has never been asked for: there is nothing to forgive.
    if entry.new_key:
        step = replace(step, key_since=track.attempt, keys_closed=step.keys_closed + 1)
    # An attempt that is out, or was done, when another one follows has not vouched that it did nothing.
    doubtful = track.doubtful or track.status in ("asked", "succeeded")
    forgiven = replace(track, status="waiting", until_ms=at_ms, doubtful=doubtful, forgiven=track.attempt)
    return _with_track(replace(state, steps={**state.steps, entry.step: step}), entry.step, entry.direction, forgiven)


def _closed(state: SagaState, name: str, direction: Direction, status: TrackStatus) -> SagaState:
    step = state.steps.get(name)
    track = (None if step is None else step.track(direction)) or Track(status, 0)
    return _with_track(state, name, direction, replace(track, status=status, until_ms=0))


def _turned(state: SagaState, entry: CompensationStarted) -> SagaState:
    # What is still out may have been done: it counts as unknown, and its compensation closes the door behind it.
    steps = {name: _given_up(step) for name, step in state.steps.items()}
    return replace(state, phase="compensating", failure=entry.failure, turn=None, steps=steps, stuck=None)


def _given_up(step: StepState) -> StepState:
    track = step.do
    if track.status == "asked" or (track.status == "waiting" and track.doubtful):
        return replace(step, do=replace(track, status="unknown", until_ms=0))
    if track.status == "waiting":
        return replace(step, do=replace(track, status="not_done", until_ms=0))
    return step


def _with_track(state: SagaState, name: str, direction: Direction, track: Track) -> SagaState:
    step = state.steps.get(name)
    if direction == "do":
        changed = StepState(track) if step is None else replace(step, do=track)
    elif step is None:
        raise InvariantViolated(f"step {name!r} is undone without having been asked for")
    else:
        changed = replace(step, undo=track)
    return replace(state, steps={**state.steps, name: changed})


def _known(state: SagaState, name: str, direction: Direction) -> Track:
    step = state.steps.get(name)
    track = None if step is None else step.track(direction)
    if track is None:
        raise InvariantViolated(f"step {name!r} has no {direction} to settle")
    return track
