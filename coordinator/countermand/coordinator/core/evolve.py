"""How one journal entry changes the state, and what follows from a state alone."""

from collections.abc import Callable
from typing import Final, TypeVar, assert_never

from msgspec.structs import replace

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
from countermand.coordinator.core.state import (
    OPEN,
    Approval,
    Ask,
    Chosen,
    Held,
    Kept,
    Looped,
    Mark,
    Operated,
    Parent,
    Paused,
    SagaState,
    Scoped,
    Sleep,
    StepState,
    Stuck,
    Track,
    TrackStatus,
    Wait,
)
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.identifiers import Direction, step_name

# Enough to recognise a request that is repeated within any sensible time; the history keeps them all.
OPERATIONS_KEPT: Final = 64
SIGNALS_REMEMBERED: Final = 1_000

M = TypeVar("M", Wait, Sleep, Approval, Scoped)


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
            return _succeeded(state, entry)
        case StepRejected():
            return _rejected(state, entry)
        case AttemptFailed():
            return _attempt_failed(state, entry)
        case TurnDeferred(failure=failure):
            # The first reason to turn stays the reason.
            return replace(
                state, turn=state.turn or failure, deadline_seen=state.deadline_seen or failure.code == "deadline"
            )
        case CompensationStarted():
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
            skipped = _closed(state, step, direction, "skipped")
            return _by_hand(skipped, step) if direction == "undo" else skipped
        case CompensationSettled(step=step):
            return _by_hand(_closed(state, step, "undo", "settled"), step)
        case SagaPaused(actor=actor):
            return replace(state, paused=Paused(at_ms, actor, clock_ms=at_ms))
        case SagaResumed(deadline_ms=deadline_ms, shift_ms=shift_ms):
            marks = {ref: _later(mark, shift_ms) for ref, mark in state.marks.items()} if shift_ms else state.marks
            return replace(state, paused=None, deadline_ms=deadline_ms, marks=marks)
        case DeadlineExtended(deadline_ms=deadline_ms):
            paused = None if state.paused is None else replace(state.paused, clock_ms=at_ms)
            return replace(state, deadline_ms=deadline_ms, paused=paused)
        case SagaMigrated():
            return _migrated(state, entry)
        case SignalKept(request_id=request_id, name=name, wait=wait, key=key):
            kept = (*state.kept, Kept(request_id, name, wait, key))
            # What comes for one wait is recognised by that wait; of the rest, the last ones are remembered.
            signals = state.signals if wait is not None else (*state.signals, request_id)[-SIGNALS_REMEMBERED:]
            return replace(state, signals=signals, kept=kept)
        case WatcherAdded(queue=queue):
            return replace(state, watchers=(*state.watchers, queue))
        case ReplyIgnored():
            return replace(state, facts=state.facts + 1)
        case SagaEnded(phase=phase):
            return replace(state, phase=phase, ended_ms=at_ms, stuck=None, turn=None, paused=None)
        case LockAsked(step=step, lock=lock, key=key):
            return _with_held(state, Held(step, lock, key))
        case ChildAsked(step=step, saga_id=saga_id):
            return _with_held(state, Held(step, "", saga_id))
        case ParentAsked():
            return _parent_asked(state, entry)
        case ParentGone():
            return replace(state, parent=None if state.parent is None else replace(state.parent, gone=True))
        case _:
            return _evolve_mark(state, entry)


Marking = (
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
)


def _evolve_mark(state: SagaState, entry: Marking) -> SagaState:
    """What an entry says of a node that is no step."""
    ref = entry.step
    match entry:
        case BranchTaken(then=then):
            return _with_mark(state, ref, Chosen(then))
        case LoopOpened(count=count):
            return _with_mark(state, ref, Looped(count))
        case WaitBegun(event=event, until_ms=until_ms, key=key):
            return _with_mark(state, ref, Wait(event, until_ms, key))
        case EventTaken(request_id=request_id):
            kept = tuple(each for each in state.kept if each.request_id != request_id)
            return _with_mark(replace(state, kept=kept), ref, replace(_marked(state, ref, Wait), status="met"))
        case WaitTimedOut():
            return _with_mark(state, ref, replace(_marked(state, ref, Wait), status="missed"))
        case SleepBegun(until_ms=until_ms):
            return _with_mark(state, ref, Sleep(until_ms))
        case SleepOver():
            return _with_mark(state, ref, replace(_marked(state, ref, Sleep), status="met"))
        case ApprovalAsked():
            return _with_mark(
                state,
                ref,
                Approval(
                    until_ms=entry.until_ms,
                    digest=entry.digest,
                    roles=entry.roles,
                    assignees=entry.assignees,
                    requester=entry.requester,
                    escalate_ms=entry.escalate_ms,
                    escalate_to=entry.escalate_to,
                ),
            )
        case ApprovalEscalated(role=role):
            asked = _marked(state, ref, Approval)
            return _with_mark(state, ref, replace(asked, roles=(*asked.roles, role), escalate_ms=None))
        case ApprovalDecided(decision=decision, by=by):
            return _with_mark(state, ref, replace(_marked(state, ref, Approval), status=decision, by=by))
        case ApprovalTimedOut():
            return _with_mark(state, ref, replace(_marked(state, ref, Approval), status="timed_out"))
        case ScopeUndone():
            return _with_mark(state, ref, replace(_marked(state, ref, Scoped), undone=True))
        case _:
            assert_never(entry)


def wake_at(state: SagaState) -> int | None:
    """The next moment at which something must happen even if no message ever arrives; None if there is none.

    A saga in motion has one, unless it is stuck or paused (invariant I3).
    """
    if state.ended or state.halted or state.paused is not None:
        return None
    moments = [step.newest[1].until_ms for step in state.steps.values() if step.open]
    for mark in state.marks.values():
        if isinstance(mark, Wait | Sleep) and mark.status == "open":
            moments.append(mark.until_ms)
        elif isinstance(mark, Approval) and mark.status == "open":
            moments.append(mark.next_ms)
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
        # It has never been asked for: there is nothing to forgive. A wait or an approval begins anew.
        return replace(state, marks={ref: mark for ref, mark in state.marks.items() if ref != entry.step})
    if entry.new_key:
        step = replace(step, key_since=track.attempt, keys_closed=step.keys_closed + 1)
    if track.status == "succeeded":
        state = replace(state, confirming=(*state.confirming, entry.step))
    # An attempt that is out, or was done, when another one follows has not vouched that it did nothing.
    doubtful = track.doubtful or track.status in ("asked", "succeeded")
    forgiven = replace(track, status="waiting", until_ms=at_ms, doubtful=doubtful, forgiven=track.attempt)
    return _with_track(replace(state, steps={**state.steps, entry.step: step}), entry.step, entry.direction, forgiven)


def _closed(state: SagaState, name: str, direction: Direction, status: TrackStatus) -> SagaState:
    step = state.steps.get(name)
    track = (None if step is None else step.track(direction)) or Track(status, 0)
    return _confirmed(_with_track(state, name, direction, replace(track, status=status, until_ms=0)), name)


def _succeeded(state: SagaState, entry: StepSucceeded) -> SagaState:
    track = _known(state, entry.step, entry.direction)
    settled = _with_track(
        state, entry.step, entry.direction, replace(track, status="succeeded", until_ms=0, error=None)
    )
    settled = _confirmed(settled, entry.step)
    if entry.direction == "probe":
        # What was asked about turns out to have been done.
        done = replace(_known(state, entry.step, "do"), status="succeeded", until_ms=0, error=None)
        settled = _with_track(settled, entry.step, "do", done)
    if entry.direction == "undo" and entry.step in settled.by_hand:
        # Its participant undid it after all.
        settled = replace(settled, by_hand=tuple(each for each in settled.by_hand if each != entry.step))
    return _by_hand(settled, entry.step) if entry.by_hand else settled


def _confirmed(state: SagaState, ref: str) -> SagaState:
    if ref not in state.confirming:
        return state
    return replace(state, confirming=tuple(each for each in state.confirming if each != ref))


def _by_hand(state: SagaState, ref: str) -> SagaState:
    return state if ref in state.by_hand else replace(state, by_hand=(*state.by_hand, ref))


def _rejected(state: SagaState, entry: StepRejected) -> SagaState:
    track = _known(state, entry.step, entry.direction)
    settled = _with_track(
        state, entry.step, entry.direction, replace(track, status="rejected", until_ms=0, error=entry.code)
    )
    if entry.direction == "probe":
        # Nothing was done, and its participant sees to it that nothing will be.
        not_done = replace(_known(state, entry.step, "do"), status="rejected", until_ms=0, error=entry.code)
        settled = _with_track(settled, entry.step, "do", not_done)
    return settled


def _turned(state: SagaState, entry: CompensationStarted) -> SagaState:
    if entry.scope is not None:
        among = set(entry.given_up)
        state = replace(state, confirming=tuple(ref for ref in state.confirming if ref not in among))
        return _given_up_in(_with_mark(state, entry.scope, Scoped(entry.failure)), lambda ref: ref in among)
    turned = replace(state, phase="compensating", failure=entry.failure, turn=None, stuck=None, ended_ms=None)
    turned = replace(turned, confirming=())
    return _given_up_in(turned, lambda _: True)


def _given_up_in(state: SagaState, among: Callable[[str], bool]) -> SagaState:
    """Nothing more is waited for: what is still out may have been done.

    It counts as unknown, and its compensation closes the door behind it.
    """
    steps = {ref: _given_up(step) if among(ref) else step for ref, step in state.steps.items()}
    marks = {ref: _dropped(mark) if among(ref) else mark for ref, mark in state.marks.items()}
    return replace(state, steps=steps, marks=marks)


def _dropped(mark: Mark) -> Mark:
    return (
        replace(mark, status="dropped") if isinstance(mark, Wait | Sleep | Approval) and mark.status == "open" else mark
    )


def _later(mark: Mark, by_ms: int) -> Mark:
    if isinstance(mark, Approval) and mark.escalate_ms is not None:
        mark = replace(mark, escalate_ms=mark.escalate_ms + by_ms)
    if isinstance(mark, Wait | Sleep | Approval) and mark.status == "open":
        return replace(mark, until_ms=mark.until_ms + by_ms)
    return mark


def _migrated(state: SagaState, entry: SagaMigrated) -> SagaState:
    gone = set(entry.forgotten)
    # Of a rejected one nothing was done: it is asked for again as the other version says.
    steps = {
        ref: replace(step, route=step.route or entry.routes.get(step_name(ref)))
        if step.do.status != "rejected"
        else step
        for ref, step in state.steps.items()
        if step_name(ref) not in gone
    }
    steps |= {name: StepState(Track("skipped", 0)) for name in entry.exempt}
    routes = {step.route for step in steps.values() if step.route is not None and step.route.compensated}
    return replace(
        state,
        definition=entry.definition,
        definition_hash=entry.definition_hash,
        steps=steps,
        marks={ref: mark for ref, mark in state.marks.items() if step_name(ref) not in gone},
        frames={},  # They are those of the other tree; the evidence leads to the place in this one.
        undo_routes=tuple(sorted({f"{route.participant}/{route.action}" for route in routes})),
    )


def _parent_asked(state: SagaState, entry: ParentAsked) -> SagaState:
    parent = state.parent or Parent(entry.saga_id, entry.step, entry.key, depth=entry.depth)
    ask = Ask(entry.attempt, entry.command_id, entry.saga_version)
    asked = replace(parent, undo=ask) if entry.direction == "undo" else replace(parent, do=ask)
    return replace(state, parent=asked)


def _with_held(state: SagaState, held: Held) -> SagaState:
    return state if held in state.held else replace(state, held=(*state.held, held))


def _with_mark(state: SagaState, ref: str, mark: Mark) -> SagaState:
    return replace(state, marks={**state.marks, ref: mark})


def _marked(state: SagaState, ref: str, kind: type[M]) -> M:
    mark = state.marks.get(ref)
    if not isinstance(mark, kind):
        raise InvariantViolated(f"{ref!r} is no {kind.__name__.lower()} that has begun")
    return mark


def _given_up(step: StepState) -> StepState:
    track = step.do
    if track.status in OPEN and (track.status == "asked" or track.doubtful):
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
    elif direction == "undo":
        changed = replace(step, undo=track)
    else:
        changed = replace(step, probe=track)
    return replace(state, steps={**state.steps, name: changed})


def _known(state: SagaState, name: str, direction: Direction) -> Track:
    step = state.steps.get(name)
    track = None if step is None else step.track(direction)
    if track is None:
        raise InvariantViolated(f"step {name!r} has no {direction} to settle")
    return track
