"""What a saga has to send, as a function of its state: that is what makes the journal the outbox."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from countermand.coordinator.core.plan import LIMIT_STEP, Plan
from countermand.coordinator.core.rendering import render
from countermand.coordinator.core.state import DONE, EDIT, RESULT, NotLoaded, Saga, Track, Wait
from countermand.schemas.codec import check_body, encode
from countermand.schemas.coordination import (
    LOCK_ACTION,
    ChildBody,
    LockBody,
    ParentEndedMessage,
    ReleaseMessage,
    SubscribeMessage,
    checked_key,
    child_id,
    gate_id,
)
from countermand.schemas.definition import COORDINATOR, ChildNode, LockNode, StepNode
from countermand.schemas.errors import InvalidIdentifier
from countermand.schemas.identifiers import Direction, command_id, step_key, step_name, step_place
from countermand.schemas.messages import (
    CommandMessage,
    Failed,
    Rejected,
    ReplyMessage,
    ReplyOutcome,
    Succeeded,
    UndoBody,
)
from countermand.schemas.moments import MOMENT_MAX_MS
from countermand.schemas.template import UnresolvedPath

_NULL: Final = msgspec.Raw(b"null")
# What a child saga answers that was undone, but not wholly by its participants.
CHILD_DONE: Final = msgspec.Raw(b'{"done":true}')
BY_HAND_RESULT: Final = b'{"by_hand":true}'

# While a saga is paused its waits stand still, and the events that come are for them all the same.
HOLD_MS: Final = 30 * 24 * 60 * 60 * 1000

# A message from one saga to another, or to a lock or mailbox, beside its commands.
Tiding = ReplyMessage | ReleaseMessage | ParentEndedMessage | SubscribeMessage
Attempt = tuple[str, Direction, int]


def pending_commands(
    plan: Plan, saga: Saga, wanted: Callable[[Attempt], bool] = lambda _: True
) -> list[CommandMessage]:
    """Every command that is out, of those that are wanted: asked for, and not yet answered.

    Raises:
        NotLoaded: of a large saga, something is needed that isn't here.
    """
    state = saga.state
    if state.ended or state.halted:
        return []
    out = ((ref, *step.newest) for ref, step in state.steps.items())
    return [
        command_for(plan, saga, ref, direction, track)
        for ref, direction, track in out
        if track.status == "asked" and wanted((ref, direction, track.attempt))
    ]


def command_for(plan: Plan, saga: Saga, ref: str, direction: Direction, track: Track) -> CommandMessage:
    """The command of one attempt; the same whenever it is made again, but for the saga's version."""
    state = saga.state
    step, known = plan.steps[step_name(ref)], state.steps[ref]
    return CommandMessage(
        saga_id=state.saga_id,
        definition=state.definition,
        step=ref,
        participant=step.participant if known.route is None else known.route.participant,
        action=step.action if known.route is None else known.route.action,
        direction=direction,
        attempt=track.attempt,
        key=step_key(state.saga_id, ref, known.keys_closed),
        command_id=command_id(state.secret, ref, direction, track.attempt),
        saga_version=state.version,
        deadline_ms=expiry_ms(saga, direction, track),
        body=command_body(plan, saga, ref, direction),
        traceparent=state.traceparent,
    )


def expiry_ms(saga: Saga, direction: Direction, track: Track) -> int:
    """The moment from which an action need not be begun. A compensation is due however late it is."""
    deadline = saga.state.deadline_ms
    if direction != "do" or deadline is None or saga.state.deadline_seen:
        return track.until_ms
    return min(track.until_ms, deadline)


def command_body(plan: Plan, saga: Saga, ref: str, direction: Direction) -> bytes:
    """The JSON that the participant gets.

    Raises:
        UnresolvedPath: a field that the definition refers to does not exist.
        LimitExceeded: the command would be larger, or nested deeper, than a message may be.
        NotLoaded: of a large saga, something is needed that isn't here.
    """
    missing: NotLoaded | None = None
    edited = result = None
    try:
        edited = saga.edit(ref)
        result = saga.result(ref) if direction == "undo" else None
    except NotLoaded:
        # What else is needed is found out at once, so that it is loaded in one go.
        missing = NotLoaded(frozenset({EDIT + ref, RESULT + ref} if direction == "undo" else {EDIT + ref}))
    try:
        body = _asked_for(plan, saga, ref) if edited is None else bytes(edited)
    except NotLoaded as more:
        raise more | missing from None
    if missing is not None:
        raise missing
    check_body(body, field=f"steps.{ref}.input")
    if direction != "undo":
        return body
    if plan.steps[step_name(ref)].participant == COORDINATOR:
        # What a child gave is in the child; that it has completed tells one that was lost from one that never was.
        known = saga.state.steps.get(ref)
        result = CHILD_DONE if known is not None and known.do.status in DONE else None
    return encode(UndoBody(msgspec.Raw(body), result or _NULL))


def _asked_for(plan: Plan, saga: Saga, ref: str) -> bytes:
    name, place = step_name(ref), step_place(ref)
    spot = plan.spots[name]
    if name == LIMIT_STEP and plan.limit is not None:
        key = "" if plan.limit_key is None else key_text(render(plan, saga, plan.limit_key), "$.concurrency.key")
        return encode(LockBody(f"definition:{plan.definition.name}", key, plan.limit.at_once))
    match spot.node:
        case ChildNode(definition=definition, version=version):
            value = msgspec.Raw(encode(render(plan, saga, plan.template(name, "input"), spot, place)))
            known, parent = saga.state.steps.get(ref), saga.state.parent
            identity = child_id(saga.state.saga_id, ref, 0 if known is None else known.keys_closed)
            depth = 1 if parent is None else parent.depth + 1
            return encode(ChildBody(identity, definition, version, value, depth))
        case LockNode(lock=lock):
            key = key_text(render(plan, saga, plan.template(name, "key"), spot, place), f"{ref}.key")
            return encode(LockBody(lock, key))
        case _:
            return encode(render(plan, saga, plan.template(name, "input"), spot, place))


def key_text(value: Any, at: str) -> str:
    """A business key, as text.

    Raises:
        UnresolvedPath: it is neither text nor a whole number, or no key.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise UnresolvedPath("key", at, "a key is text or a whole number")
    try:
        return checked_key("key", value)
    except InvalidIdentifier as error:
        raise UnresolvedPath("key", at, str(error)) from error


# --- what goes to other sagas, locks and mailboxes


def pending_tidings(plan: Plan, saga: Saga, waits: Callable[[str], bool] = lambda _: True) -> list[Tiding]:
    """Everything that this saga has to tell others than participants and clients; of its waits, those that are wanted.

    Raises:
        NotLoaded: of a large saga, something is needed that isn't here.
    """
    state = saga.state
    if state.halted:
        return []
    told: list[Tiding] = [
        SubscribeMessage(state.saga_id, ref, mark.event, mark.key, min(mark.until_ms + HOLD_MS, MOMENT_MAX_MS))
        for ref, mark in state.marks.items()
        if isinstance(mark, Wait) and mark.status == "open" and mark.key is not None and waits(ref)
    ]
    if state.ended:
        told += _farewells(saga)
    if (answer := answer_to_parent(plan, saga)) is not None:
        told.append(answer)
    return told


def _farewells(saga: Saga) -> list[Tiding]:
    """What ends with the saga: its locks are released, and its children need not wait for their undoing any more."""
    state = saga.state
    told: list[Tiding] = []
    # A child that has completed may still be undone itself, and then its own children have to be.
    final = state.parent is None or state.parent.gone or state.phase != "completed"
    for held in state.held:
        if not held.lock:
            told += [ParentEndedMessage(held.key, state.saga_id, held.step)] if final else []
            continue
        # Which of its attempts the gate has seen, nobody here can know; each is proof enough, and only one counts.
        known = saga.step(held.step)
        for attempt in range(1, 2 if known is None else known.do.attempt + 1):
            proof = command_id(state.secret, held.step, "do", attempt)
            told.append(ReleaseMessage(held.lock, held.key, state.saga_id, held.step, proof))
    return told


def answer_to_parent(plan: Plan, saga: Saga) -> ReplyMessage | None:
    """What a child saga answers to the saga that started it; null while there is nothing to say."""
    state = saga.state
    parent = state.parent
    if parent is None or parent.gone:
        return None
    direction: Direction = "do" if parent.undo is None else "undo"
    ask = parent.do if parent.undo is None else parent.undo
    outcome = _ended_as(saga) if direction == "do" else _undone_as(plan, saga)
    if ask is None or outcome is None:
        return None
    return ReplyMessage(
        saga_id=parent.saga_id,
        step=parent.step,
        direction=direction,
        attempt=ask.attempt,
        key=parent.key,
        command_id=ask.command_id,
        saga_version=ask.saga_version,
        participant=COORDINATOR,
        outcome=outcome,
        traceparent=state.traceparent,
    )


def _ended_as(saga: Saga) -> ReplyOutcome | None:
    failure = saga.state.failure
    match saga.state.phase:
        case "completed":
            return Succeeded(saga.outcome or _NULL)
        case "compensated" | "compensated_with_exceptions" if failure is not None:
            return Rejected(failure.code, failure.reason)
        case "abandoned":
            return Failed("child_abandoned", "the child saga was abandoned by an operator", retryable=False)
        case _:
            return None


def _undone_as(plan: Plan, saga: Saga) -> ReplyOutcome | None:
    match saga.state.phase:
        case "compensated":
            return Succeeded()
        case "compensated_with_exceptions":
            return Succeeded(msgspec.Raw(BY_HAND_RESULT))
        case "completed":
            return Rejected("past_pivot", f"the child saga is past its pivot ({plan.pivot}) and can't be undone")
        case "abandoned" if saga.state.failure is not None and saga.state.failure.code == "child_lost":
            return Rejected("child_lost", saga.state.failure.reason)
        case "abandoned":
            return Rejected("child_abandoned", "the child saga was abandoned by an operator")
        case _:
            return None


def asked_of(command: CommandMessage) -> str:
    """The id of the child saga, or of the lock's gate, that a command of the coordinator to itself is for."""
    body = command.body
    if command.direction == "undo":
        body = bytes(msgspec.json.decode(body, type=UndoBody).command)
    if command.action == LOCK_ACTION:
        lock = msgspec.json.decode(body, type=LockBody)
        return gate_id(lock.lock, lock.key)
    return msgspec.json.decode(body, type=ChildBody).saga_id


def is_lock(step: StepNode) -> bool:
    """Whether this step asks for a lock."""
    return step.participant == COORDINATOR and step.action == LOCK_ACTION
