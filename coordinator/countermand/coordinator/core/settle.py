"""What a reply, or a command that could not be delivered, does to its step.

A success of any attempt settles a step, because the key is the same for all of them. So does a rejection, because the
participant vouches for the key. A failure counts only for the attempt that is out.
"""

from countermand.coordinator.core.commands import BY_HAND_RESULT, is_lock
from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.events import CommandUnroutable
from countermand.coordinator.core.journal import (
    AttemptFailed,
    LostVersionSeen,
    RetryGranted,
    SagaStuck,
    StepRejected,
    StepSucceeded,
)
from countermand.coordinator.core.retry import delay_ms, may_retry
from countermand.coordinator.core.state import OPEN, StepState, StuckCause, Track
from countermand.coordinator.core.turning import fail, stick
from countermand.schemas.definition import COORDINATOR, StepNode
from countermand.schemas.identifiers import Direction, command_id, step_name
from countermand.schemas.messages import Failed, Failure, Rejected, ReplyMessage, Succeeded

# No store loses more of one saga than this; a reply that claims it is not worth going so far beyond.
VERSIONS_LOST_MAX = 1_000_000

_SETTLED = ("succeeded", "rejected")
# Of an action of which this is known, a probe has nothing to tell any more.
_ANSWERED = (*_SETTLED, "skipped")


def settle_reply(draft: Draft, reply: ReplyMessage) -> None:
    """Takes a reply in, or keeps it as a fact."""
    if not is_genuine(draft, reply):
        draft.ignore(reply, "forged")
        return
    if draft.state.halted:
        _take_halted(draft, reply)
        return
    known = draft.step(reply.step)
    asked = None if known is None else known.track(reply.direction)
    beyond = asked is None or reply.attempt > asked.attempt or reply.saga_version > draft.version - 1
    if reply.saga_version <= draft.state.lost_until and (beyond or isinstance(reply.outcome, Failed)):
        # An operator has looked at that loss, and whatever was out has been asked for again since.
        draft.ignore(reply, "late")
        return
    if beyond:
        # Nobody can make up a command's id: this one was sent, and the store has forgotten the version that sent it.
        stored = draft.version - 1
        detail = f"a reply to attempt {reply.attempt} names version {reply.saga_version}, the store knows {stored}"
        believed = reply.saga_version if _may_be_lost(draft, reply) else 0
        draft.add(SagaStuck("state_lost", reply.step, detail, believed))
        return
    step = draft.plan.steps[step_name(reply.step)]
    track = draft.state.steps[reply.step].track(reply.direction)
    if track is None:
        draft.ignore(reply, "late")
        return
    match reply.direction:
        case "do":
            _settle_do(draft, step, track, reply)
        case "undo":
            _settle_undo(draft, step, track, reply)
        case "probe":
            _settle_probe(draft, step, track, reply)


def _may_be_lost(draft: Draft, reply: ReplyMessage) -> bool:
    return reply.saga_version < draft.version + VERSIONS_LOST_MAX


def _take_halted(draft: Draft, reply: ReplyMessage) -> None:
    """Remembers how far the saga once was: what goes on from here must not look like a part of what was lost."""
    stuck = draft.state.stuck
    lost = 0 if stuck is None else stuck.lost_version
    if lost < reply.saga_version and _may_be_lost(draft, reply) and draft.takes_facts:
        draft.add(LostVersionSeen(reply.saga_version))
    else:
        draft.ignore(reply, "late")


def is_genuine(draft: Draft, reply: ReplyMessage) -> bool:
    """Whether the reply repeats the secret of a command that was really sent, from the participant it was sent to."""
    step = draft.plan.step(reply.step)
    known = draft.step(reply.step)
    route = None if known is None else known.route
    if step is None or reply.participant != (step.participant if route is None else route.participant):
        return False
    return reply.command_id == command_id(draft.state.secret, reply.step, reply.direction, reply.attempt)


def settle_unroutable(draft: Draft, event: CommandUnroutable) -> None:
    """Counts an attempt that no queue took as failed, in doubt only if an earlier copy may be on its way."""
    known = draft.state.steps.get(event.step)
    if known is None or draft.state.halted:
        return
    direction, track = known.newest
    if (direction, track.status, track.attempt) != (event.direction, "asked", event.attempt):
        return
    participant = draft.plan.steps[step_name(event.step)].participant
    failed = Failed("unroutable", f"no queue for participant {participant!r}", rolled_back=event.certain)
    fail_attempt(draft, event.step, direction, track, failed, why="unroutable")


def time_out(draft: Draft, ref: str, direction: Direction, track: Track) -> None:
    """Ends an attempt that was not answered in time: whether it did anything is unknown."""
    step = draft.plan.steps[step_name(ref)]
    failed = Failed("lock_timed_out", "others hold it") if is_lock(step) else Failed("timed_out")
    fail_attempt(draft, ref, direction, track, failed, why="timed_out")


def fail_attempt(draft: Draft, ref: str, direction: Direction, track: Track, failed: Failed, *, why: str) -> None:
    """Ends an attempt: another one later, or giving up, each in its direction's way."""
    step = draft.plan.steps[step_name(ref)]
    policy = step.retry_policy("do" if direction == "probe" else direction)
    doubtful = track.doubtful or not failed.rolled_back
    until_ms = 0
    if failed.retryable and may_retry(policy, track.attempt - track.forgiven):
        then = "waiting"
        pause = delay_ms(
            policy,
            draft.state.saga_id,
            ref,
            direction,
            track.attempt,
            failed.retry_after_ms,
            forgiven=track.forgiven,
        )
        until_ms = draft.at_ms + pause
    elif direction != "do" or step.kind == "retriable":
        then = "exhausted"
    else:
        then = "unknown" if doubtful else "not_done"
    entry = AttemptFailed(
        step=ref,
        direction=direction,
        attempt=track.attempt,
        why=why,  # type: ignore[arg-type]
        code=failed.code,
        then=then,  # type: ignore[arg-type]
        reason=failed.reason,
        doubtful=doubtful,
        until_ms=until_ms,
    )
    draft.add(entry)
    if then != "waiting":
        _given_up(draft, ref, direction, then, failed)


def _settle_do(draft: Draft, step: StepNode, track: Track, reply: ReplyMessage) -> None:
    known = draft.state.steps[reply.step]
    undo = known.undo
    match reply.outcome:
        case _ if reply.attempt <= known.key_since:
            # It speaks of a key that a rejection closed: of the step under its new key it says nothing.
            draft.ignore(reply, "stale")
        case _ if track.status in _SETTLED:
            draft.ignore(reply, "duplicate")
        case _ if track.status == "skipped":
            draft.ignore(reply, "late")
        case Succeeded(result=result) if undo is None or undo.status in ("waiting", "exhausted"):
            # While the saga goes back, a late success is still worth having: the next attempt to compensate learns the
            # result. A compensation that is out stays what it was: its command is the same whenever it is sent again.
            draft.take_result(reply.step, result)
            draft.add(StepSucceeded(reply.step, "do", reply.attempt))
        case _ if undo is not None or draft.going_back(reply.step):
            draft.ignore(reply, "late")
        case Rejected(code=code, reason=reason):
            draft.add(StepRejected(reply.step, "do", reply.attempt, code, reason))
            _rejected(draft, step, reply.step, Failure(code, reason, reply.step))
        case Failed() if track.status == "asked" and reply.attempt == track.attempt:
            fail_attempt(draft, reply.step, "do", track, reply.outcome, why="failed")
        case Failed():
            draft.ignore(reply, "stale")


def _settle_undo(draft: Draft, step: StepNode, track: Track, reply: ReplyMessage) -> None:
    match reply.outcome:
        case _ if track.status == "succeeded":
            draft.ignore(reply, "duplicate")
        case Succeeded(result=result):
            # A child saga may have been undone by a person; others say nothing here.
            by_hand = step.participant == COORDINATOR and bytes(result) == BY_HAND_RESULT
            draft.add(StepSucceeded(reply.step, "undo", reply.attempt, by_hand))
        case Rejected(code=code, reason=reason) if track.status in OPEN:
            refusal = Failed(code, reason, retryable=False)
            draft.add(AttemptFailed(reply.step, "undo", reply.attempt, "failed", code, "exhausted", reason))
            _stick(draft, "compensation_rejected", reply.step, refusal)
        case Failed() if track.status == "asked" and reply.attempt == track.attempt:
            fail_attempt(draft, reply.step, "undo", track, reply.outcome, why="failed")
        case _:
            draft.ignore(reply, "stale")


def _settle_probe(draft: Draft, step: StepNode, track: Track, reply: ReplyMessage) -> None:
    """Takes in what became of an action that was given up in doubt."""
    known = draft.state.steps[reply.step]
    match reply.outcome:
        case _ if track.status in _SETTLED:
            draft.ignore(reply, "duplicate")
        case _ if known.undo is not None or known.do.status in _ANSWERED:
            draft.ignore(reply, "late")
        case Succeeded(result=result):
            draft.take_result(reply.step, result)
            draft.add(StepSucceeded(reply.step, "probe", reply.attempt))
        case Rejected(code=code, reason=reason):
            draft.add(StepRejected(reply.step, "probe", reply.attempt, code, reason))
            if not draft.going_back(reply.step):
                _rejected(draft, step, reply.step, Failure(known.do.error or code, reason, reply.step))
        case Failed() if (
            known.newest == ("probe", track) and track.status == "asked" and reply.attempt == track.attempt
        ):
            fail_attempt(draft, reply.step, "probe", track, reply.outcome, why="failed")
        case Failed():
            draft.ignore(reply, "stale")


def _rejected(draft: Draft, step: StepNode, ref: str, failure: Failure) -> None:
    if draft.going_back(ref):
        return
    if step.kind == "retriable":
        _stick(draft, "forward_rejected", ref, Failed(failure.code, failure.reason))
    else:
        fail(draft, failure, ref)


def _given_up(draft: Draft, ref: str, direction: Direction, then: str, failed: Failed) -> None:
    step = draft.plan.steps[step_name(ref)]
    if direction == "undo":
        _stick(draft, "compensation_exhausted", ref, failed)
    elif direction == "probe":
        if not draft.going_back(ref):
            # What went wrong is what the action said; that its participant doesn't know more adds nothing.
            code = draft.state.steps[ref].do.error or failed.code
            _doubted(draft, step, ref, Failed(code, failed.reason))
    elif step.kind == "retriable":
        _stick(draft, "forward_exhausted", ref, failed)
    elif then == "unknown" and step.on_unknown == "probe":
        _probe(draft, step, ref)
    else:
        _doubted(draft, step, ref, failed)


def _probe(draft: Draft, step: StepNode, ref: str) -> None:
    """Asks the participant what became of an action that was given up in doubt."""
    before = draft.state.steps[ref].probe
    if before is not None:
        draft.add(RetryGranted(ref, "probe"))
    if draft.state.paused is None:  # Else it is asked when the saga goes on.
        draft.ask(step, ref, "probe", 1 if before is None else before.attempt + 1)


def to_be_probed(draft: Draft, ref: str, known: StepState) -> bool:
    """Whether an action was given up in doubt, and the question what became of it has still to be asked."""
    step = draft.plan.step(ref)
    in_doubt = known.undo is None and known.do.status == "unknown" and known.probe is None
    return step is not None and in_doubt and step.on_unknown == "probe" and not draft.going_back(ref)


def ask_probes(draft: Draft) -> None:
    """Asks what could not be asked while the saga was paused."""
    for ref, known in list(draft.state.steps.items()):
        if to_be_probed(draft, ref, known):
            _probe(draft, draft.plan.steps[step_name(ref)], ref)


def _doubted(draft: Draft, step: StepNode, ref: str, failed: Failed) -> None:
    """An action was given up, and nobody can say more of it."""
    if step.kind == "pivot" and draft.state.steps[ref].do.status == "unknown":
        _stick(draft, "pivot_unknown", ref, failed)
    else:
        fail(draft, Failure(failed.code, failed.reason, ref), ref)


def _stick(draft: Draft, cause: StuckCause, step: str, failed: Failed) -> None:
    stick(draft, cause, step, f"{failed.code}: {failed.reason}" if failed.reason else failed.code)
