"""The one entrance of the core: what an event does to a saga.

Everything else in this package is either data or a part of this function.
"""

from collections.abc import Mapping
from typing import Final, assert_never, cast

import msgspec

from countermand.coordinator.core.commands import command_body
from countermand.coordinator.core.draft import Addressed, Draft
from countermand.coordinator.core.events import (
    CancelRequested,
    CommandUnroutable,
    OperationRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
)
from countermand.coordinator.core.evolve import wake_at
from countermand.coordinator.core.frontier import BY_HAND, backward_frontier, forward_frontier
from countermand.coordinator.core.journal import (
    CompensationStarted,
    Record,
    SagaEnded,
    SagaReleased,
    SagaStarted,
    SagaStuck,
    SignalKept,
    WatcherAdded,
)
from countermand.coordinator.core.operations import operate, told_before
from countermand.coordinator.core.phases import PHASES
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.settle import settle_reply, settle_unroutable, time_out
from countermand.coordinator.core.state import Saga, SagaState, StuckCause, TrackStatus
from countermand.coordinator.core.turning import end, outcome_of, pivot_stands, turn
from countermand.schemas.definition import StepNode
from countermand.schemas.errors import LimitExceeded
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Accepted, Answer, Failure, Refused
from countermand.schemas.template import UnresolvedPath

# Whoever waits for a saga is remembered in it; a client that asks again from ever new queues must not make it grow.
WATCHERS_MAX = 16
# Kept signals are deduplicated by their request's id.
SIGNALS_MAX = 1_000

# What a saga that has not turned back is stuck on, or one that has: the pivot's no turns a saga back, so a rejected
# action in a running one stands after the pivot.
_CAUSES: Final[Mapping[tuple[Direction, TrackStatus], StuckCause]] = {
    ("do", "exhausted"): "forward_exhausted",
    ("do", "rejected"): "forward_rejected",
    ("do", "unknown"): "pivot_unknown",
    ("undo", "exhausted"): "compensation_exhausted",
}


ClientRequest = SignalReceived | CancelRequested | WatchRequested | OperationRequested


class Decision(msgspec.Struct, frozen=True):
    """Everything that follows from an event. Nothing of it has happened yet.

    `saga` is the saga afterwards (null if there is none), `records` what is appended to its journal: empty means that
    there is nothing to commit. `results` and `edits` are those that are new. `answers` go to clients once the commit
    stands.
    """

    saga: Saga | None
    records: tuple[Record, ...]
    results: dict[str, msgspec.Raw]
    answers: tuple[Addressed, ...]
    edits: dict[str, msgspec.Raw] = {}

    @property
    def wake_at_ms(self) -> int | None:
        return None if self.saga is None else wake_at(self.saga.state)


def decide(plan: Plan, saga: Saga | None, event: SagaEvent) -> Decision:
    """What an event does to a saga; the same for the same arguments, always.

    `saga` is null for an id that the store doesn't know. Total: every event in every phase has an answer.
    """
    draft = Draft(plan, saga, event.event_id, event.at_ms)
    counts = False
    move = PHASES[None if saga is None else saga.state.phase][type(event)]
    match move:
        case "begin":
            _begin(draft, cast("StartRequested", event))
        case "answer":
            _answer(draft, cast("StartRequested | CancelRequested", event))
        case "settle" if isinstance(event, ReplyReceived):
            settle_reply(draft, event.reply)
        case "settle":
            settle_unroutable(draft, cast("CommandUnroutable", event))
        case "fire":
            _fire(draft)
        case "keep":
            _keep(draft, cast("SignalReceived", event))
        case "turn":
            _cancel(draft, cast("CancelRequested", event))
        case "watch":
            _watch(draft, cast("WatchRequested", event))
        case "tell":
            draft.answer(cast("WatchRequested", event).reply_to, outcome_of(draft.saga))
        case "operate":
            counts = operate(draft, cast("OperationRequested", event))
        case "late":
            draft.ignore(cast("ReplyReceived", event).reply, "late")
        case "refuse":
            asked = cast("ClientRequest", event)
            draft.answer(asked.reply_to, _told_before(saga, asked) or _refusal(saga, asked))
        case "nothing":
            pass
        case _:
            assert_never(move)
    if draft.records:
        _advance(draft)
    if counts:
        request = cast("OperationRequested", event)
        state = draft.saga.state
        accepted = Accepted(request.request_id, state.saga_id, state.phase, saga_version=state.version)
        draft.answer(request.reply_to, accepted)
    return Decision(draft.after(), tuple(draft.records), draft.results, tuple(draft.answers), draft.edits)


# --- the moves


def _begin(draft: Draft, event: StartRequested) -> None:
    try:
        draft.plan.check_input(event.saga_id, event.input)
    except UnresolvedPath as error:
        problem = f"{error.expression}: {error.problem}"
        draft.answer(event.reply_to, Refused(event.request_id, "invalid_input", problem, event.saga_id))
        return
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
            tags=event.tags,
            traceparent=event.traceparent,
        )
    )
    if event.reply_to is not None:
        draft.add(WatcherAdded(event.reply_to))
        draft.answer(event.reply_to, Accepted(event.request_id, event.saga_id, "running"))


def _answer(draft: Draft, event: StartRequested | CancelRequested) -> None:
    state = draft.state
    if isinstance(event, StartRequested) and event.content != state.content:
        problem = "saga_id: a saga with this id was started with another definition, input or tags"
        draft.answer(event.reply_to, Refused(event.request_id, "id_taken", problem, state.saga_id))
        return
    if isinstance(event, StartRequested) and event.reply_to is not None:
        if state.ended:
            draft.answer(event.reply_to, outcome_of(draft.saga))
        else:
            _add_watcher(draft, event.reply_to)
    draft.answer(event.reply_to, Accepted(event.request_id, state.saga_id, state.phase, duplicate=True))


def _fire(draft: Draft) -> None:
    state = draft.state
    if state.halted or state.paused is not None:
        return
    deadline = state.deadline_ms
    if state.phase == "running" and deadline is not None and deadline <= draft.at_ms and not state.deadline_seen:
        turn(draft, Failure("deadline", "the saga's deadline passed"))
    # The deadline may just have turned the saga round: then its actions are no longer waited for.
    direction: Direction = "do" if draft.state.phase == "running" else "undo"
    for name in list(draft.state.steps):
        track = draft.state.steps[name].track(direction)
        if (draft.state.phase == "running") != (direction == "do"):
            return
        if track is None or track.until_ms > draft.at_ms:
            continue
        step = draft.plan.steps[name]
        if track.status == "asked":
            time_out(draft, step, direction, track)
        elif track.status == "waiting":
            draft.ask(step, direction, track.attempt + 1)


def _keep(draft: Draft, event: SignalReceived) -> None:
    state = draft.state
    if event.request_id in state.signals:
        answer = Accepted(event.request_id, state.saga_id, state.phase, duplicate=True)
    elif len(state.signals) >= SIGNALS_MAX:
        problem = f"signals: {SIGNALS_MAX} are kept already"
        draft.answer(event.reply_to, Refused(event.request_id, "too_many_signals", problem, state.saga_id))
        return
    else:
        draft.add(SignalKept(event.request_id, event.name))
        answer = Accepted(event.request_id, state.saga_id, state.phase)
    draft.answer(event.reply_to, answer)


def _cancel(draft: Draft, event: CancelRequested) -> None:
    state = draft.state
    if state.halted:
        # Going back would be as blind as going on: what the saga has done is not known.
        problem = "saga_id: a part of the saga's state was lost; a person has to look at it first"
        draft.answer(event.reply_to, Refused(event.request_id, "state_lost", problem, state.saga_id))
        return
    if pivot_stands(draft.plan, draft.state) == "passed":
        problem = f"saga_id: the saga is past its pivot ({draft.plan.pivot}) and can only go forward"
        draft.answer(event.reply_to, Refused(event.request_id, "past_pivot", problem, state.saga_id))
        return
    if state.turn is None:
        turn(draft, Failure("cancelled", event.reason))
    draft.answer(event.reply_to, Accepted(event.request_id, state.saga_id, draft.state.phase))


def _watch(draft: Draft, event: WatchRequested) -> None:
    _add_watcher(draft, event.reply_to)
    draft.answer(event.reply_to, Accepted(event.request_id, draft.state.saga_id, draft.state.phase))


def _told_before(saga: Saga | None, event: ClientRequest) -> Answer | None:
    """The answer to a request that counted while it could, and comes again."""
    if saga is None:
        return None
    if isinstance(event, OperationRequested):
        return told_before(saga.state, event)
    kept = isinstance(event, SignalReceived) and event.request_id in saga.state.signals
    failure = saga.state.failure
    cancelled = isinstance(event, CancelRequested) and failure is not None and failure.code == "cancelled"
    if not (kept or cancelled):
        return None
    return Accepted(event.request_id, saga.state.saga_id, saga.state.phase, duplicate=True)


def _refusal(saga: Saga | None, event: ClientRequest) -> Refused:
    if saga is None:
        return Refused(event.request_id, "unknown_saga", "saga_id: no saga has this id")
    then = "; nothing can be changed any more" if saga.state.ended else " and takes this no more"
    problem = f"the saga is {saga.state.phase}{then}"
    return Refused(event.request_id, "wrong_phase", problem, saga.state.saga_id)


def _add_watcher(draft: Draft, queue: str) -> None:
    if queue not in draft.state.watchers and len(draft.state.watchers) < WATCHERS_MAX:
        draft.add(WatcherAdded(queue))


# --- going on


def _advance(draft: Draft) -> None:
    """Asks for whatever can be asked for now, or ends the saga."""
    if draft.state.ended or draft.state.halted:
        return
    _release(draft)
    _stick_again(draft)
    if draft.state.paused is not None:
        return
    if (
        draft.state.phase == "running"
        and draft.state.turn is not None
        and pivot_stands(draft.plan, draft.state) == "ahead"
    ):
        draft.add(CompensationStarted(draft.state.turn))
    if draft.state.phase == "running" and not _go_forward(draft):
        return
    if draft.state.phase == "compensating":
        _go_back(draft)


def _go_forward(draft: Draft) -> bool:
    """True if the saga has to turn back after all, because a command can't be made."""
    frontier = forward_frontier(draft.plan.root, draft.state)
    if frontier.finished:
        _complete(draft)
        return False
    for step in frontier.steps:
        problem = _problem_with(draft, step, "do")
        if problem is None:
            draft.ask(step, "do", 1)
        elif pivot_stands(draft.plan, draft.state) == "ahead":
            draft.add(CompensationStarted(Failure("unresolvable", problem, step.name)))
            return True
        elif draft.state.stuck is None:
            draft.add(SagaStuck("unresolvable", step.name, problem))
    return False


def _go_back(draft: Draft) -> None:
    frontier = backward_frontier(draft.plan.root, draft.state)
    if frontier.finished:
        by_hand = any(step.undo is not None and step.undo.status in BY_HAND for step in draft.state.steps.values())
        end(draft, SagaEnded("compensated_with_exceptions" if by_hand else "compensated"))
        return
    for step in frontier.steps:
        problem = _problem_with(draft, step, "undo")
        if problem is None:
            draft.ask(step, "undo", 1)
        elif draft.state.stuck is None:
            draft.add(SagaStuck("unresolvable", step.name, problem))


def _problem_with(draft: Draft, step: StepNode, direction: Direction) -> str | None:
    try:
        command_body(draft.plan, draft.saga, step, direction)
    except (UnresolvedPath, LimitExceeded) as error:
        return str(error)
    return None


def _complete(draft: Draft) -> None:
    problem = ""
    try:
        state = draft.state
        outcome = draft.plan.render_outcome(state.saga_id, draft.saga.input, draft.saga.results)
        draft.take_outcome(msgspec.Raw(outcome))
    except UnresolvedPath as error:
        # Every step is done: a saga whose answer can't be made has completed all the same, and says what is missing.
        problem = str(error)
    end(draft, SagaEnded("completed", problem))


def _release(draft: Draft) -> None:
    """A late success can settle what a saga is stuck on."""
    stuck = draft.state.stuck
    if stuck is None or stuck.step is None or _still_stuck(draft.state, stuck.step):
        return
    draft.add(SagaReleased())


def _stick_again(draft: Draft) -> None:
    """What else waits for a person shows once the first cause is settled."""
    if draft.state.stuck is not None:
        return
    direction: Direction = "do" if draft.state.phase == "running" else "undo"
    for name, step in draft.state.steps.items():
        track = step.track(direction)
        cause = None if track is None else _CAUSES.get((direction, track.status))
        if track is not None and cause is not None:
            draft.add(SagaStuck(cause, name, track.error or ""))
            return


def _still_stuck(state: SagaState, name: str) -> bool:
    step = state.steps.get(name)
    track = None if step is None else step.track("do" if state.phase == "running" else "undo")
    return track is None or track.status in ("unknown", "exhausted", "rejected")


def refuse_unknown(event: SagaEvent) -> tuple[Addressed, ...]:
    """The answers to an event for an id that stands for no saga."""
    if not isinstance(event, ClientRequest):
        return ()
    return (Addressed(event.reply_to, _refusal(None, event)),)
