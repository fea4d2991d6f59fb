"""What a saga has to send, as a function of its state: that is what makes the journal the outbox."""

import msgspec

from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import Saga, Track
from countermand.schemas.codec import check_body, encode
from countermand.schemas.definition import StepNode
from countermand.schemas.identifiers import Direction, command_id, step_key
from countermand.schemas.messages import CommandMessage, UndoBody

_NULL = msgspec.Raw(b"null")


def pending_commands(plan: Plan, saga: Saga) -> list[CommandMessage]:
    """Every command that is out: asked for, and not yet answered."""
    state = saga.state
    if state.ended or state.halted:
        return []
    direction: Direction = "do" if state.phase == "running" else "undo"
    return [
        command_for(plan, saga, plan.steps[name], direction, track)
        for name, step in state.steps.items()
        if (track := step.track(direction)) is not None and track.status == "asked"
    ]


def command_for(plan: Plan, saga: Saga, step: StepNode, direction: Direction, track: Track) -> CommandMessage:
    """The command of one attempt; the same whenever it is made again, but for the saga's version."""
    state = saga.state
    return CommandMessage(
        saga_id=state.saga_id,
        definition=state.definition,
        step=step.name,
        participant=step.participant,
        action=step.action,
        direction=direction,
        attempt=track.attempt,
        key=step_key(state.saga_id, step.name, state.steps[step.name].keys_closed),
        command_id=command_id(state.secret, step.name, direction, track.attempt),
        saga_version=state.version,
        deadline_ms=expiry_ms(saga, direction, track),
        body=command_body(plan, saga, step, direction),
        traceparent=state.traceparent,
    )


def expiry_ms(saga: Saga, direction: Direction, track: Track) -> int:
    """The moment from which an action need not be begun. A compensation is due however late it is."""
    deadline = saga.state.deadline_ms
    if direction == "undo" or deadline is None or saga.state.deadline_seen:
        return track.until_ms
    return min(track.until_ms, deadline)


def command_body(plan: Plan, saga: Saga, step: StepNode, direction: Direction) -> bytes:
    """The JSON that the participant gets.

    Raises:
        UnresolvedPath: a field that the definition refers to does not exist.
        LimitExceeded: the command would be larger, or nested deeper, than a message may be.
    """
    edited = saga.edits.get(step.name)
    body = (
        plan.render_input(step.name, saga.state.saga_id, saga.input, saga.results) if edited is None else bytes(edited)
    )
    check_body(body, field=f"steps.{step.name}.input")
    if direction == "undo":
        return encode(UndoBody(msgspec.Raw(body), saga.results.get(step.name, _NULL)))
    return body
