"""The one entrance of the core: what an event does to a saga.

Everything else in this package is either data or a part of this function.
"""

from collections.abc import Mapping
from typing import Final, assert_never, cast

import msgspec

from countermand.coordinator.core.children import asked_by_parent, begin, part_from_parent, turn_for_parent
from countermand.coordinator.core.commands import Tiding, command_body, is_lock
from countermand.coordinator.core.draft import Addressed, Draft, Parts
from countermand.coordinator.core.events import (
    CancelRequested,
    CommandUnroutable,
    OperationRequested,
    ParentEnded,
    ParentRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
)
from countermand.coordinator.core.evolve import wake_at
from countermand.coordinator.core.frontier import Due, backward_frontier, forward_frontier, in_vain
from countermand.coordinator.core.journal import (
    ChildAsked,
    CompensationStarted,
    LockAsked,
    Record,
    SagaEnded,
    SagaReleased,
    SagaStuck,
    SignalKept,
    WatcherAdded,
)
from countermand.coordinator.core.opening import fire_mark, meet_waits, open_node, unresolvable
from countermand.coordinator.core.operations import operate, told_before
from countermand.coordinator.core.phases import PHASES
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.rendering import render
from countermand.coordinator.core.settle import (
    ask_probes,
    is_genuine,
    settle_reply,
    settle_unroutable,
    time_out,
    to_be_probed,
)
from countermand.coordinator.core.state import Saga, StuckCause, TrackStatus, Wait
from countermand.coordinator.core.turning import end, outcome_of, pivot_stands, stick, turn
from countermand.schemas.codec import check_body, encode
from countermand.schemas.coordination import ChildBody, LockBody, ReleaseMessage
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.errors import LimitExceeded
from countermand.schemas.identifiers import Direction, step_name
from countermand.schemas.messages import Accepted, Answer, Failure, Refused, ReplyMessage, Succeeded
from countermand.schemas.template import UnresolvedPath

# Whoever waits for a saga is remembered in it; a client that asks again from ever new queues must not make it grow.
WATCHERS_MAX = 16
# So many signals that no wait has taken yet are kept.
SIGNALS_MAX = 1_000

# What a saga that has not turned back is stuck on, or one that has: the pivot's no turns a saga back, so a rejected
# action in a running one stands after the pivot.
_CAUSES: Final[Mapping[tuple[Direction, TrackStatus], StuckCause]] = {
    ("do", "exhausted"): "forward_exhausted",
    ("do", "rejected"): "forward_rejected",
    ("do", "unknown"): "pivot_unknown",
    ("do", "not_done"): "forward_exhausted",
    ("undo", "exhausted"): "compensation_exhausted",
    ("probe", "exhausted"): "pivot_unknown",
}


ClientRequest = SignalReceived | CancelRequested | WatchRequested | OperationRequested


class Decision(msgspec.Struct, frozen=True):
    """Everything that follows from an event. Nothing of it has happened yet.

    `saga` is the saga afterwards (null if there is none), `records` what is appended to its journal: empty means that
    there is nothing to commit. `parts` are those that are new beside the state. Once the commit stands, `answers` go to
    clients and `tidings` to other sagas.
    """

    saga: Saga | None
    records: tuple[Record, ...]
    parts: Parts
    answers: tuple[Addressed, ...]
    tidings: tuple[Tiding, ...] = ()

    @property
    def wake_at_ms(self) -> int | None:
        return None if self.saga is None else wake_at(self.saga.state)


def decide(plan: Plan, saga: Saga | None, event: SagaEvent) -> Decision:
    """What an event does to a saga; the same for the same arguments, always.

    `saga` is null for an id that the store doesn't know. Total: every event in every phase has an answer.

    Raises:
        NotLoaded: of a large saga, something is needed that isn't here: load it, and decide again.
    """
    away = frozenset[str]()
    if saga is not None and isinstance(event, OperationRequested) and not saga.state.ended:
        # What an operator asks for is weighed against everything that is known.
        away, saga = frozenset((*saga.steps, *saga.marks)), saga.whole()
    draft = Draft(plan, saga, event.event_id, event.at_ms, away)
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
        case "parent":
            asked_by_parent(draft, cast("ParentRequested", event), saga is None)
        case "part":
            part_from_parent(draft, cast("ParentEnded", event))
        case "late":
            _late(draft, cast("ReplyReceived", event).reply)
        case "refuse" if isinstance(event, SignalReceived) and event.wait is not None:
            pass  # Whoever sent the event has had its answer; this saga waits for it no more.
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
    return Decision(draft.after(), tuple(draft.records), draft.parts, tuple(draft.answers), tuple(draft.tidings))


# --- the moves


def _begin(draft: Draft, event: StartRequested) -> None:
    try:
        begin(draft, event)
    except UnresolvedPath as error:
        problem = f"{error.expression}: {error.problem}"
        draft.answer(event.reply_to, Refused(event.request_id, "invalid_input", problem, event.saga_id))
        return
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
    # Each is looked at afresh: what came before it may have turned the saga, or a part of it, round.
    for ref in list(state.steps):
        direction, track = draft.state.steps[ref].newest
        if track.status == "asked" and track.until_ms <= draft.at_ms:
            time_out(draft, ref, direction, track)
        elif track.status == "waiting" and track.until_ms <= draft.at_ms:
            draft.ask(draft.plan.steps[step_name(ref)], ref, direction, track.attempt + 1)
    for ref in list(state.marks):
        fire_mark(draft, ref, draft.state.marks[ref])


def _keep(draft: Draft, event: SignalReceived) -> None:
    state = draft.state
    # One event may be waited for in several places of a saga, and comes to each of them.
    identity = event.request_id if event.wait is None else f"{event.request_id}/{event.wait}"
    mark = None if event.wait is None else draft.saga.mark(event.wait)
    wait, key = event.wait, None
    if isinstance(mark, Wait) and mark.status == "missed":
        # It came for a wait whose time was over: the next one with that key may take it.
        wait, key = None, mark.key
    kept = {each.request_id for each in state.kept}
    taken = isinstance(mark, Wait) and mark.status in ("met", "dropped")
    if taken or identity in state.signals or identity in kept:
        answer = Accepted(event.request_id, state.saga_id, state.phase, duplicate=True)
    elif len(state.kept) >= SIGNALS_MAX:
        problem = f"signals: {SIGNALS_MAX} are kept already"
        draft.answer(event.reply_to, Refused(event.request_id, "too_many_signals", problem, state.saga_id))
        return
    else:
        draft.take_event(identity, event.payload)
        draft.add(SignalKept(identity, event.name, wait, key))
        answer = Accepted(event.request_id, state.saga_id, state.phase)
    draft.answer(event.reply_to, answer)


def _late(draft: Draft, reply: ReplyMessage) -> None:
    draft.ignore(reply, "late")
    held = next((each for each in draft.state.held if each.step == reply.step and each.lock), None)
    if held is not None and isinstance(reply.outcome, Succeeded) and is_genuine(draft, reply):
        # A lock that is granted after the end would be held for ever.
        lost = ReleaseMessage(held.lock, held.key, draft.state.saga_id, held.step, reply.command_id)
        draft.tidings.append(lost)


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
    if draft.state.phase == "running":
        meet_waits(draft)
    if draft.state.paused is not None:
        return
    ask_probes(draft)
    turn_for_parent(draft)
    turn_later = draft.state.turn
    if draft.state.phase == "running" and turn_later is not None and pivot_stands(draft.plan, draft.state) == "ahead":
        draft.add(CompensationStarted(turn_later))
    while draft.state.phase == "running" and _step_forward(draft):
        pass
    while draft.state.phase == "compensating" and _step_back(draft):
        pass


def _step_forward(draft: Draft) -> bool:
    """Begins what can be begun; true if that may have made more possible."""
    if draft.state.confirming:
        return False  # Nothing new rests on what has yet to be confirmed.
    frontier = forward_frontier(draft.plan, draft.saga)
    draft.moved(frontier)
    if frontier.finished:
        _complete(draft)
        return False
    before = len(draft.records)
    for opening in frontier.openings:
        # Those that come after one that turned the saga, or their part of it, are not reached any more.
        reached = draft.state.phase == "running" and not draft.going_back(opening.ref)
        if reached and not _is_stuck_on(draft, opening.ref):
            open_node(draft, opening)
    meet_waits(draft)
    return len(draft.records) > before or _ask_all(draft, frontier.due)


def _step_back(draft: Draft) -> bool:
    frontier = backward_frontier(draft.plan, draft.saga)
    draft.moved(frontier)
    if frontier.finished:
        end(draft, SagaEnded("compensated_with_exceptions" if draft.state.by_hand else "compensated"))
        return False
    return _ask_all(draft, frontier.due)


def _ask_all(draft: Draft, due: tuple[Due, ...]) -> bool:
    """Asks for steps, in the directions in which they are due; true if the way has changed meanwhile."""
    for each in due:
        ref, direction = each.ref, each.direction
        if _is_stuck_on(draft, ref):
            continue
        if direction == "do" and draft.going_back(ref):
            return True
        if direction != "do":
            draft.step(ref)  # Brought back, if it was put away.
        try:
            body = command_body(draft.plan, draft.saga, ref, direction)
        except (UnresolvedPath, LimitExceeded) as error:
            if direction == "do":
                unresolvable(draft, ref, str(error))
            else:
                stick(draft, "unresolvable", ref, str(error))
            continue
        if direction == "do" and each.step.participant == COORDINATOR:
            draft.add(_held(each, body))
        draft.ask(each.step, ref, direction, 1)
    return any(each.direction == "do" and draft.going_back(each.ref) for each in due)


def _is_stuck_on(draft: Draft, ref: str) -> bool:
    stuck = draft.state.stuck
    return stuck is not None and stuck.cause == "unresolvable" and stuck.step == ref


def _held(due: Due, body: bytes) -> LockAsked | ChildAsked:
    """What the saga has of the coordinator's own from now on, until it ends."""
    if is_lock(due.step):
        lock = msgspec.json.decode(body, type=LockBody)
        return LockAsked(due.ref, lock.lock, lock.key)
    return ChildAsked(due.ref, msgspec.json.decode(body, type=ChildBody).saga_id)


def _complete(draft: Draft) -> None:
    problem = ""
    try:
        outcome = encode(render(draft.plan, draft.saga, draft.plan.outcome))
        check_body(outcome, field="outcome")
        draft.take_outcome(msgspec.Raw(outcome))
    except (UnresolvedPath, LimitExceeded) as error:
        # Every step is done: a saga whose answer can't be made has completed all the same, and says what is missing.
        problem = str(error)
    end(draft, SagaEnded("completed", problem))


def _release(draft: Draft) -> None:
    """A late success can settle what a saga is stuck on."""
    stuck = draft.state.stuck
    if stuck is not None and stuck.step is not None and not _still_stuck(draft, stuck.cause, stuck.step):
        draft.add(SagaReleased())


def _stick_again(draft: Draft) -> None:
    """What else waits for a person shows once the first cause is settled."""
    if draft.state.stuck is not None:
        return
    for ref, step in draft.state.steps.items():
        direction, track = step.newest
        cause = _CAUSES.get((direction, track.status))
        # What was given up in a part that goes back waits for its compensation.
        if cause is None or to_be_probed(draft, ref, step):
            continue
        if cause == "pivot_unknown" and ref != draft.plan.pivot:
            cause = "forward_exhausted"  # It was done before the pivot, and a loss of state made it doubtful.
        if direction == "undo" or not draft.going_back(ref):
            draft.add(SagaStuck(cause, ref, track.error or ""))
            return
    for ref, mark in draft.state.marks.items():
        spot = draft.plan.spot(ref)
        if spot is not None and in_vain(spot, mark) and not draft.going_back(ref):
            draft.add(SagaStuck("forward_rejected", ref, "waited in vain"))
            return


def _still_stuck(draft: Draft, cause: StuckCause, ref: str) -> bool:
    known = draft.state.steps.get(ref)
    if known is None:
        return True
    if cause == "unresolvable":
        return draft.going_back(ref) and known.undo is None
    return known.newest[1].status in ("unknown", "not_done", "exhausted", "rejected")


def refuse_unknown(event: SagaEvent) -> tuple[Addressed, ...]:
    """The answers to an event for an id that stands for no saga."""
    # An event by business key has been answered to whoever sent it; a saga that is gone waits for it no more.
    if not isinstance(event, ClientRequest) or (isinstance(event, SignalReceived) and event.wait is not None):
        return ()
    return (Addressed(event.reply_to, _refusal(None, event)),)
