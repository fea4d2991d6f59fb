"""Beginning a saga, and what a child saga and the one that started it have to do with each other.

A child is asked for by a command of its parent, as any participant is: to be started, or to be undone. Asking again is
answered, not repeated; an undoing that comes before the start leaves an ended saga behind, so that nothing starts any
more. What the child answers is a function of its state, see `commands.answer_to_parent`.
"""

from typing import Final

from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.events import ParentEnded, ParentRequested, StartRequested
from countermand.coordinator.core.journal import (
    CompensationStarted,
    ParentAsked,
    ParentGone,
    SagaEnded,
    SagaStarted,
)
from countermand.coordinator.core.turning import end, pivot_stands, turn
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.messages import Failure, Rejected, ReplyMessage, Succeeded
from countermand.schemas.template import UnresolvedPath

_UNDONE: Final = "parent_compensated"
# A definition that starts itself would go on for ever.
CHILD_DEPTH_MAX: Final = 8
_BECAUSE: Final = "the saga that started this one is undone"


def begin(draft: Draft, event: StartRequested | ParentRequested) -> None:
    """Begins a saga.

    Raises:
        UnresolvedPath: its input lacks something that every saga of the definition reads.
    """
    draft.plan.check_input(event.saga_id, event.input)
    deadline = draft.plan.definition.deadline_ms
    draft.take_input(event.input)
    draft.add(
        SagaStarted(
            saga_id=event.saga_id,
            definition=draft.plan.label,
            definition_hash=draft.plan.hash,
            secret=event.secret,
            content=event.content,
            deadline_ms=None if deadline is None else draft.at_ms + deadline,
            tags=event.tags if isinstance(event, StartRequested) else (),
            traceparent=event.traceparent,
        )
    )


def asked_by_parent(draft: Draft, event: ParentRequested, new: bool) -> None:
    """The parent asks for this saga, or for its undoing."""
    if new:
        _begin_for(draft, event)
        return
    parent = draft.state.parent
    if parent is None or (parent.saga_id, parent.step) != (event.parent, event.step):
        # Somebody else's saga has this id: nothing of the one that asks was done, or will be.
        draft.tidings.append(refuse_parent(event, "id_taken", f"saga_id: {event.saga_id} is another saga"))
        return
    known = parent.undo if event.direction == "undo" else parent.do
    if known is None or event.ask.attempt > known.attempt:
        draft.add(_asked(event))
    if event.direction == "undo" and known is None:
        _undo(draft)


def part_from_parent(draft: Draft, event: ParentEnded) -> None:
    """The parent has ended."""
    parent = draft.state.parent
    if parent is not None and not parent.gone and (parent.saga_id, parent.step) == (event.parent, event.step):
        draft.add(ParentGone())


def refuse_parent(event: ParentRequested, code: str, problem: str) -> ReplyMessage:
    """The answer to a parent that asks for a child that can't be: nothing was done."""
    undone = event.direction == "undo"
    return ReplyMessage(
        saga_id=event.parent,
        step=event.step,
        direction=event.direction,
        attempt=event.ask.attempt,
        key=event.key,
        command_id=event.ask.command_id,
        saga_version=event.ask.saga_version,
        participant=COORDINATOR,
        outcome=Succeeded() if undone else Rejected(code, problem),
        traceparent=event.traceparent,
    )


def _begin_for(draft: Draft, event: ParentRequested) -> None:
    failure: Failure | None = None
    try:
        begin(draft, event)
    except UnresolvedPath as error:
        failure = Failure("invalid_input", f"{error.expression}: {error.problem}")
        begin_nothing(draft, event)
    draft.add(_asked(event))
    if event.depth > CHILD_DEPTH_MAX:
        failure = Failure("too_deep", f"sagas that start sagas, more than {CHILD_DEPTH_MAX} levels deep")
    if event.direction == "undo" and event.done:
        # Its parent knows that it was done, and here nothing is known of it: nobody can undo it any more.
        draft.add(CompensationStarted(Failure("child_lost", "nothing is known of this child saga any more")))
        end(draft, SagaEnded("abandoned"))
    elif failure is not None:
        _end_undone(draft, failure)
    elif event.direction == "undo":
        _end_undone(draft, Failure(_UNDONE, "undone before it was started"))


def begin_nothing(draft: Draft, event: ParentRequested) -> None:
    """A saga that will do nothing: it stands for the refusal."""
    draft.take_input(event.input)
    draft.add(
        SagaStarted(
            saga_id=event.saga_id,
            definition=draft.plan.label,
            definition_hash=draft.plan.hash,
            secret=event.secret,
            content=event.content,
            traceparent=event.traceparent,
        )
    )


def _undo(draft: Draft) -> None:
    match draft.state.phase:
        case _ if draft.state.halted or pivot_stands(draft.plan, draft.state) == "passed":
            pass  # It can't be undone, or nobody can tell: its answer says so when it ends.
        case "running":
            turn_for_parent(draft)
        case "completed":
            draft.add(CompensationStarted(Failure(_UNDONE, _BECAUSE)))
        case _:
            pass  # It is going back already, or has ended undone: its answer says so.


def turn_for_parent(draft: Draft) -> None:
    """A running child whose undoing was asked for turns back as soon as it may: after a loss of state, not at once."""
    state = draft.state
    wanted = state.parent is not None and state.parent.undo is not None
    if wanted and state.phase == "running" and state.turn is None and pivot_stands(draft.plan, state) != "passed":
        turn(draft, Failure(_UNDONE, _BECAUSE))


def _end_undone(draft: Draft, failure: Failure) -> None:
    draft.add(CompensationStarted(failure))
    end(draft, SagaEnded("compensated"))


def _asked(event: ParentRequested) -> ParentAsked:
    return ParentAsked(
        saga_id=event.parent,
        depth=event.depth,
        step=event.step,
        key=event.key,
        direction=event.direction,
        attempt=event.ask.attempt,
        command_id=event.ask.command_id,
        saga_version=event.ask.saga_version,
    )
