"""What an operator may do to a saga, and what it does.

`weigh` says whether an operation is possible in the saga's state, and if not, why not, in words that help. `operate`
carries one out, and `possible.possible_operations` lists those that `weigh` lets pass: so nothing is ever offered that
would be refused.
"""

import difflib
import hashlib
from typing import Final, assert_never

import msgspec

from countermand.coordinator.core.approvals import decide_approval, weigh_decision
from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.events import OperationRequested
from countermand.coordinator.core.journal import (
    ChildAsked,
    CompensationSettled,
    CompensationStarted,
    DeadlineExtended,
    OperatorActed,
    RetryGranted,
    SagaEnded,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    StepSkipped,
)
from countermand.coordinator.core.migrating import migrate, weigh_migration
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.refusal import Refusal
from countermand.coordinator.core.state import DONE, UNDONE, SagaState, Scoped, Track
from countermand.coordinator.core.turning import end, pivot_stands, turn
from countermand.schemas.codec import check_body
from countermand.schemas.coordination import SAGA_ACTION, child_id
from countermand.schemas.definition import COORDINATOR, StepNode
from countermand.schemas.errors import InvariantViolated, LimitExceeded
from countermand.schemas.identifiers import Direction, step_name
from countermand.schemas.messages import Accepted, Failure, Refused
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    DecideApproval,
    ExtendDeadline,
    MigrateSaga,
    Operation,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SettleCompensation,
    SkipStep,
    name_of,
    step_of,
)
from countermand.schemas.template import UnresolvedPath

_NULL: Final = msgspec.Raw(b"null")


class Target(msgspec.Struct, frozen=True):
    """What an operation is about: one direction of one step, by its name and place, or the saga as a whole."""

    ref: str | None = None
    step: StepNode | None = None
    direction: Direction = "do"
    track: Track | None = None


def operate(draft: Draft, event: OperationRequested) -> bool:
    """Carries an operator's request out, or refuses it; whether it counts now."""
    told = told_before(draft.state, event)
    if told is not None:
        draft.answer(event.reply_to, told)
        return False
    refusal = _refused_unweighed(draft.state, event)
    if isinstance(event.operation, MigrateSaga):
        return _migrate(draft, event, event.operation, refusal)
    weighed = refusal or weigh(draft.plan, draft.state, event.operation, draft.at_ms, event.actor)
    if isinstance(weighed, Target):
        weighed = _payload_refused(draft, weighed, event.operation) or weighed
    if isinstance(weighed, Refusal):
        _refuse(draft, event, weighed)
        return False
    _carry_out(draft, weighed, event)
    return True


def _refuse(draft: Draft, event: OperationRequested, refusal: Refusal) -> None:
    refused = Refused(event.request_id, refusal.code, refusal.problem, draft.state.saga_id)
    draft.answer(event.reply_to, refused)


def _migrate(draft: Draft, event: OperationRequested, operation: MigrateSaga, refusal: Refusal | None) -> bool:
    weighed = refusal or weigh_migration(draft.plan, event.target, draft.saga, operation.version)
    if isinstance(weighed, Refusal):
        _refuse(draft, event, weighed)
        return False
    if event.target is None:
        raise InvariantViolated("a migration was let pass without the other version")
    draft.add(_audit(Target(), event))
    migrate(draft, event.target, weighed)
    return True


def told_before(state: SagaState, event: OperationRequested) -> Accepted | Refused | None:
    """The answer to a request that counted already; null for one that is new."""
    known = next((each for each in state.operations if each.request_id == event.request_id), None)
    if known is None:
        return None
    if known.content != event.content:
        problem = f"request_id: stands for another request of {known.actor} ({known.operation})"
        return Refused(event.request_id, "id_taken", problem, state.saga_id)
    return Accepted(event.request_id, state.saga_id, state.phase, duplicate=True, saga_version=state.version)


# --- weighing


def weigh(plan: Plan, state: SagaState, operation: Operation, at_ms: int, actor: str = "") -> Target | Refusal:
    """Whether an operation is possible for a saga in motion with nothing put away; payloads aside."""
    match operation:
        case RetryStep():
            return _weigh_retry(plan, state, operation)
        case SkipStep() | SettleCompensation():
            return _weigh_closing(plan, state, operation)
        case CompensateSaga():
            return _weigh_compensate(plan, state)
        case PauseSaga() if state.paused is not None:
            return Refusal("already_paused", f"the saga was paused by {state.paused.actor}")
        case PauseSaga() if state.halted:
            return Refusal("state_lost", "the saga does nothing anyway until it is retried or abandoned")
        case PauseSaga() | AbandonSaga():
            return Target()
        case ResumeSaga() if state.paused is None:
            stuck = "; it is stuck: see what `countermand show` offers" if state.stuck else ""
            return Refusal("not_paused", f"the saga is not paused{stuck}")
        case ResumeSaga():
            return Target()
        case ExtendDeadline():
            return _weigh_extend(plan, state, operation, at_ms)
        case DecideApproval():
            return weigh_decision(plan, state, operation, actor, at_ms) or Target(operation.step)
        case MigrateSaga():
            return Refusal("not_weighed", "version: a migration is weighed with the other definition at hand")
        case _:
            assert_never(operation)


def _weigh_retry(plan: Plan, state: SagaState, operation: RetryStep) -> Target | Refusal:
    if state.paused is not None:
        return Refusal("paused", f"the saga was paused by {state.paused.actor}; resume it first")
    if state.halted:
        if operation.step is None and operation.input is None:
            return Target()
        field = "input" if operation.step is None else "step"
        problem = f"{field}: a part of the saga's state was lost; retry it as a whole, without a step or an input"
        return Refusal("state_lost", problem)
    target = _target(plan, state, operation.step, again=True)
    if isinstance(target, Refusal):
        return target
    if target.step is None:
        edited = Refusal("not_editable", f"input: {target.ref} is begun again as the definition says")
        return target if operation.input is None else edited
    refusal = _not_open(state, target, "retry")
    if refusal is not None:
        return refusal
    if operation.input is not None and target.step.participant == COORDINATOR:
        return Refusal("not_editable", f"input: what {target.ref} asks for is what the definition says")
    if operation.input is not None and target.direction == "undo":
        return Refusal("not_editable", "input: a compensation gets the command that it undoes; it can't be edited")
    if operation.input is not None and target.track is not None and target.track.status != "rejected":
        problem = (
            f"input: an attempt of step {_name(target)} may still run or have run with the old input; only a step that "
            "was rejected or never asked for can be edited. Retry it as it is, or skip it with a result"
        )
        return Refusal("attempt_may_run", problem)
    return target


def _weigh_closing(plan: Plan, state: SagaState, operation: SkipStep | SettleCompensation) -> Target | Refusal:
    if state.halted:
        problem = "a part of the saga's state was lost: nobody knows what is open. Retry the saga, then look again"
        return Refusal("state_lost", problem)
    target = _target(plan, state, operation.step)
    if isinstance(operation, SettleCompensation) and (isinstance(target, Refusal) or target.direction != "undo"):
        going_back = state.phase != "running" or any(isinstance(mark, Scoped) for mark in state.marks.values())
        if not going_back or isinstance(target, Target):
            return Refusal("not_compensating", "the saga is not going back: there is no compensation to settle")
    if isinstance(target, Refusal):
        return target
    return _not_open(state, target, name_of(operation)) or target


def _weigh_compensate(plan: Plan, state: SagaState) -> Target | Refusal:
    if state.halted:
        problem = (
            "a part of the saga's state was lost: going back would be blind. Retry the saga first, then compensate"
        )
        return Refusal("state_lost", problem)
    if state.phase == "compensating":
        return Refusal("already_compensating", "the saga is going back already")
    if pivot_stands(plan, state) == "passed":
        return Refusal("past_pivot", f"the saga is past its pivot ({plan.pivot}) and can only go forward")
    if state.turn is not None and not _pivot_unknown(state):
        return Refusal("already_turning", f"the saga turns back as soon as its pivot ({plan.pivot}) has answered")
    return Target()


def _weigh_extend(plan: Plan, state: SagaState, operation: ExtendDeadline, at_ms: int) -> Target | Refusal:
    deadline_ms = _extended_to(state, operation, at_ms)
    if deadline_ms is None:
        return Refusal("invalid_payload", "deadline: say either a moment (deadline_ms) or by how much (by_ms)")
    if state.phase != "running":
        return Refusal("already_compensating", "the saga is going back: its deadline counts no more")
    if pivot_stands(plan, state) == "passed":
        return Refusal("past_pivot", f"the saga is past its pivot ({plan.pivot}): its deadline counts no more")
    if state.deadline_seen:
        return Refusal("deadline_passed", "the deadline has passed; the saga turns back as soon as its pivot answers")
    if deadline_ms <= max(at_ms, state.deadline_ms or 0):
        now = "in the past" if deadline_ms <= at_ms else "not later than the deadline that the saga has"
        return Refusal("not_later", f"deadline: the moment is {now}")
    return Target()


def _target(plan: Plan, state: SagaState, named: str | None, *, again: bool = False) -> Target | Refusal:
    stuck_on = None if state.stuck is None else state.stuck.step
    name = stuck_on if named is None else named
    if name is None:
        return Refusal("step_needed", "step: the saga is not stuck on a step; say which one")
    step = plan.step(name)
    if step is None:
        # A wait or an approval in vain can be begun again, but there is nothing of it to skip or to undo.
        return Target(name) if again and name == stuck_on else _no_step(plan, state, name)
    direction: Direction = "undo" if going_back(plan, state, name) else "do"
    found = state.steps.get(name)
    if found is not None and found.route is not None:
        step = msgspec.structs.replace(step, participant=found.route.participant)
    return Target(name, step, direction, None if found is None else found.track(direction))


def _no_step(plan: Plan, state: SagaState, name: str) -> Refusal:
    spot = plan.spots.get(step_name(name))
    if spot is not None and spot.step is None:
        kind = str(type(spot.node).__struct_config__.tag)
        return Refusal("not_a_step", f"step: {name} is a {kind}, not a step; there is nothing of it to be done by hand")
    if spot is not None and spot.loops:
        each = spot.name + "[0]" * len(spot.loops)
        problem = f"step: {spot.name} stands in the for_each {', '.join(spot.loops)}: say which one, such as {each}"
        return Refusal("unknown_step", problem)
    known = [*plan.steps, *state.steps]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; its steps are {', '.join(plan.steps)}"
    return Refusal("unknown_step", f"step: {name!r} is not a step of {plan.label}{hint}")


def going_back(plan: Plan, state: SagaState, ref: str) -> bool:
    """Whether a node's part of the saga is being undone, or has been; of a saga with nothing put away."""
    return state.phase != "running" or any(scope in state.marks for scope in plan.scopes_around(ref))


def _not_open(state: SagaState, target: Target, verb: str) -> Refusal | None:
    """Why a step can't be retried, skipped or settled; null if it waits or has been given up."""
    name, track = _name(target), target.track
    what = f"step {name}" if target.direction == "do" else f"the compensation of step {name}"
    match None if track is None else track.status:
        case None:
            if state.stuck is not None and state.stuck.cause == "unresolvable" and state.stuck.step == name:
                return None
            return Refusal("not_asked", f"step: {what} has not been asked for, so there is nothing to {verb}")
        case "asked":
            number = 0 if track is None else track.attempt
            problem = f"step: attempt {number} of {what} is out; wait for its answer or its timeout, then look again"
            return Refusal("attempt_out", problem)
        case status if status in (DONE if target.direction == "do" else UNDONE):
            return Refusal("already_done", f"step: {what} is {status} already")
        case _:
            return None


def _refused_unweighed(state: SagaState, event: OperationRequested) -> Refusal | None:
    """What has nothing to do with the saga's state: the version that was looked at."""
    if event.expected_version is None and isinstance(event.operation, AbandonSaga):
        return Refusal(
            "version_needed", "expected_version: say which version you looked at; abandoning can't be undone"
        )
    if event.expected_version is None or event.expected_version == state.version:
        return None
    last = state.operations[-1] if state.operations else None
    # Only an operator of whom the asker can't have known is worth a word.
    by = f"; the last operator was {last.actor} ({last.operation})" if last is not None else ""
    problem = f"expected_version: the saga is at revision {state.version}, not {event.expected_version}{by}; look again"
    return Refusal("version_conflict", problem)


def _payload_refused(draft: Draft, target: Target, operation: Operation) -> Refusal | None:
    match operation:
        case RetryStep(input=msgspec.Raw() as payload):
            field = "input"
        case SkipStep(result=msgspec.Raw()) if target.direction == "undo":
            return Refusal("no_result", "result: a compensation has none")
        case SkipStep(result=msgspec.Raw()) if target.ref in draft.state.confirming:
            problem = f"result: {target.ref} was done before, and others may have read its result; skip it without one"
            return Refusal("no_result", problem)
        case SkipStep() if target.direction == "do":
            field, payload = "result", operation.result or _NULL
        case _:
            return None
    try:
        check_body(bytes(payload), field=field)
        if isinstance(operation, SkipStep):
            draft.plan.check_result(draft.state.saga_id, _name(target), payload)
    except (LimitExceeded, UnresolvedPath) as error:
        return Refusal("invalid_payload", f"{field}: {error}")
    return None


# --- carrying out


def _carry_out(draft: Draft, target: Target, event: OperationRequested) -> None:
    operation, state = event.operation, draft.state
    if state.stuck is not None and isinstance(operation, RetryStep):
        draft.leave_behind(state.stuck.lost_version)
    draft.add(_audit(target, event))
    match operation:
        case RetryStep() if target.ref is None:
            _retry_whole(draft)
        case RetryStep():
            _retry_step(draft, target, operation)
        case SkipStep():
            if target.direction == "do" and target.ref not in state.confirming:
                draft.take_result(_name(target), operation.result or _NULL)
            draft.add(StepSkipped(_name(target), target.direction))
        case SettleCompensation(evidence=evidence):
            draft.add(CompensationSettled(_name(target), evidence))
        case CompensateSaga():
            _compensate(draft, Failure("operator", event.reason))
        case PauseSaga():
            draft.add(SagaPaused(event.actor))
        case ResumeSaga(clock=clock):
            _resume(draft, stopped=clock == "stopped")
        case ExtendDeadline():
            draft.add(DeadlineExtended(_extended_to(state, operation, draft.at_ms) or 0))
        case AbandonSaga():
            end(draft, SagaEnded("abandoned", remaining=remaining_effects(state)))
        case DecideApproval():
            decide_approval(draft, operation, event.actor)
        case MigrateSaga():
            raise InvariantViolated("a migration was let pass without having been weighed")
        case _:
            assert_never(operation)


def _audit(target: Target, event: OperationRequested) -> OperatorActed:
    operation = event.operation
    payload: msgspec.Raw | None = None
    if isinstance(operation, RetryStep):
        payload = operation.input
    elif isinstance(operation, SkipStep):
        payload = operation.result
    return OperatorActed(
        request_id=event.request_id,
        content=event.content,
        actor=event.actor,
        reason=event.reason,
        operation=name_of(operation),
        step=target.ref if target.ref is not None else step_of(operation),
        payload_digest=None if payload is None else hashlib.sha256(bytes(payload)).hexdigest(),
        evidence=operation.evidence if isinstance(operation, SettleCompensation) else None,
    )


def _retry_whole(draft: Draft) -> None:
    """Goes on from the stored state: what is out is asked for again under the same keys, and so is what was done.

    Whatever the participants did meanwhile stands on record there, and is answered from it. That an action still stands
    has to be asked: what was lost may have undone it, and then its participant refuses it.
    """
    draft.add(SagaReleased())
    for ref, known in list(draft.state.steps.items()):
        direction, track = known.newest
        done = direction == "do" and track.status == "succeeded" and not draft.going_back(ref)
        # A turn at a limit that another version had, before a migration, is asked for by nobody any more.
        if draft.plan.step(ref) is not None and (track.status == "asked" or done):
            draft.add(RetryGranted(ref, direction))
            draft.ask(draft.plan.steps[step_name(ref)], ref, direction, track.attempt + 1)


def _retry_step(draft: Draft, target: Target, operation: RetryStep) -> None:
    name, track = _name(target), target.track
    edited = operation.input is not None
    if operation.input is not None:
        draft.take_edit(name, operation.input)
    rejected = track is not None and track.status == "rejected"
    draft.add(RetryGranted(name, target.direction, new_key=rejected, edited=edited))
    step = target.step
    if step is not None and rejected and step.participant == COORDINATOR and step.action == SAGA_ACTION:
        # Another key is another child saga.
        keys_closed = draft.state.steps[name].keys_closed
        draft.add(ChildAsked(name, child_id(draft.state.saga_id, name, keys_closed)))
    if step is None or track is None:
        # Its command could not be made, or nobody decided in time; once released, the frontier tries again.
        draft.add(SagaReleased())
    else:
        draft.ask(step, name, target.direction, track.attempt + 1)


def _compensate(draft: Draft, failure: Failure) -> None:
    state = draft.state
    if state.paused is not None:
        _resume(draft, stopped=True)
    if _pivot_unknown(state):
        # Nobody knows whether the pivot was done. Its participant does, and closes its key or says that it was.
        draft.add(CompensationStarted(failure))
    else:
        turn(draft, failure)


def _extended_to(state: SagaState, operation: ExtendDeadline, at_ms: int) -> int | None:
    """The moment that an extension means; null unless it says exactly one thing."""
    if (operation.deadline_ms is None) == (operation.by_ms is None):
        return None
    if operation.by_ms is None:
        return operation.deadline_ms
    return max(at_ms, state.deadline_ms or 0) + operation.by_ms


def _resume(draft: Draft, *, stopped: bool) -> None:
    state = draft.state
    deadline_ms = state.deadline_ms
    if stopped and deadline_ms is not None and state.paused is not None:
        deadline_ms += draft.at_ms - state.paused.clock_ms
    # What the saga itself waits for has stood still with its clock.
    shifts = stopped and state.paused is not None and state.marks
    shift_ms = draft.at_ms - state.paused.since_ms if shifts and state.paused is not None else 0
    draft.add(SagaResumed(deadline_ms, shift_ms))


def remaining_effects(state: SagaState) -> tuple[str, ...]:
    """What an abandoned saga leaves behind: `step: done` or `step: may have been done`, in the order of asking."""
    words = {
        "succeeded": "done",
        "skipped": "skipped, counts as done",
        "asked": "may have been done",
        "waiting": "may have been done",
        "unknown": "may have been done",
        "exhausted": "may have been done",
        "not_done": "probably not done",
    }
    locks = {held.step for held in state.held if held.lock}
    found = {
        name: words[step.do.status]
        for name, step in state.steps.items()
        # A lock is released whatever the end.
        if name not in locks
        and step.do.status in words
        and (step.undo is None or step.undo.status not in ("succeeded", "settled"))
    }
    if state.stuck is not None and state.halted and state.stuck.step is not None:
        # Its participant answered what the store has forgotten to have asked for.
        found.setdefault(state.stuck.step, "may have been done")
    return tuple(f"{name}: {how}" for name, how in found.items())


def _pivot_unknown(state: SagaState) -> bool:
    return state.stuck is not None and state.stuck.cause == "pivot_unknown"


def _name(target: Target) -> str:
    return target.ref or ""
