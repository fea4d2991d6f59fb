"""Acts on one saga for an operator, and tells apart what was accepted and what took effect.

Accepted means that the coordinator has committed the request, with its reason, to the saga's history. Whether a
participant then does what it is asked to do again is another matter, and may take a while.
"""

import asyncio
from typing import Final, Literal

import msgspec

from countermand.coordinator.core.state import Approval, Saga, Track
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.ports import SagaStore
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Accepted, OperateMessage, Refused
from countermand.schemas.operations import CompensateSaga, DecideApproval, MigrateSaga, Operation, RetryStep, name_of

POLL_S: Final = 0.1

Standing = Literal["took_effect", "pending", "failed_again"]


class Effect(msgspec.Struct, frozen=True):
    """What became of an accepted operation so far, in words. `stuck`: the saga needs a person again."""

    standing: Standing
    text: str
    stuck: bool = False


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was asked of one saga and what came of it. `effect` is null where nobody waited, or it was refused."""

    saga_id: str
    operation: str
    request_id: str
    answer: Accepted | Refused
    effect: Effect | None = None


async def ask(
    requests: Requests,
    saga_id: str,
    operation: Operation,
    *,
    actor: str,
    reason: str,
    request_id: str,
    expected_version: int | None,
) -> Act:
    """Asks the coordinators for an operation. The same `request_id` counts once, however often it is asked.

    Raises:
        BrokerUnavailable: nobody answered in time; ask again with the same `request_id`.
    """
    message = OperateMessage(
        request_id=request_id,
        saga_id=saga_id,
        operation=operation,
        actor=actor,
        reason=reason,
        expected_version=expected_version,
        reply_to=requests.queue,
    )
    answer = await requests.ask(message, key=saga_id)
    if not isinstance(answer, Accepted | Refused):
        raise TypeError(f"a coordinator answered an operation with {type(answer).__name__}")
    return Act(saga_id, name_of(operation), request_id, answer)


async def follow(store: SagaStore, before: Saga, operation: Operation, *, timeout_s: float) -> Effect:
    """Waits, for a time, until it is known what came of an operation that was accepted. `before` is the saga that was
    looked at when it was asked for."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    saga_id = before.state.saga_id
    while True:
        (loaded,) = await store.load([saga_id])
        if loaded is None:
            return Effect("took_effect", "the saga is no longer kept")
        effect = effect_of(before, loaded.saga, operation)
        if effect.standing != "pending" or loop.time() >= end_s:
            return effect
        await asyncio.sleep(POLL_S)


def effect_of(before: Saga, now: Saga, operation: Operation) -> Effect:
    """What came of an operation, from the saga as it was and as it is."""
    if isinstance(operation, CompensateSaga) and now.state.phase == "running" and now.state.turn is not None:
        return Effect("pending", "the saga turns back as soon as its pivot has answered that it was not done")
    if isinstance(operation, DecideApproval):
        decided = now.state.marks.get(operation.step)
        status = decided.status if isinstance(decided, Approval) else operation.decision
        text = f"{operation.step} is {status}; {_state_in_words(now)}"
        return Effect("took_effect", text, stuck=now.state.stuck is not None)
    if isinstance(operation, MigrateSaga):
        text = f"it is a saga of {now.state.definition}; {_state_in_words(now)}"
        return Effect("took_effect", text, stuck=now.state.stuck is not None)
    if not isinstance(operation, RetryStep):
        return Effect("took_effect", _state_in_words(now), stuck=now.state.stuck is not None)
    name = operation.step or (None if before.state.stuck is None else before.state.stuck.step)
    tried = None if name is None else before.state.steps.get(name)
    # Not the saga's own direction: a scope of it may go back while the rest goes on.
    undo = before.state.phase != "running" if tried is None else tried.undo is not None
    direction: Direction = "undo" if undo else "do"
    known = None if name is None else now.state.steps.get(name)
    track = None if known is None else known.track(direction)
    what = f"step {name}" if direction == "do" else f"the compensation of step {name}"
    match None if track is None else track.status:
        case "succeeded":
            return Effect("took_effect", f"{what} succeeded; {_state_in_words(now)}", stuck=now.state.stuck is not None)
        case "asked" if track is not None:
            return Effect("pending", f"attempt {track.attempt} of {what} is out; not answered yet")
        case None:
            stuck = now.state.stuck is not None
            return Effect("failed_again" if stuck else "pending", _state_in_words(now), stuck=stuck)
        case _:
            return _failed_again(now, what, track)


def _failed_again(now: Saga, what: str, track: Track | None) -> Effect:
    attempt, status = (0, "") if track is None else (track.attempt, track.status)
    error = "" if track is None or track.error is None else f" ({track.error})"
    stuck = now.state.stuck is not None
    then = "the saga is stuck on it again" if stuck else "it is tried again by its retry policy"
    if status == "rejected" and not stuck:
        then = _state_in_words(now)
    return Effect("failed_again", f"attempt {attempt} of {what} failed{error}; {then}", stuck=stuck)


def _state_in_words(saga: Saga) -> str:
    state = saga.state
    if state.stuck is not None:
        on = f" on {state.stuck.step}" if state.stuck.step else ""
        return f"the saga is {state.phase}, and stuck{on}"
    if state.paused is not None:
        return f"the saga is {state.phase}, and paused"
    return f"the saga is {state.phase}"
