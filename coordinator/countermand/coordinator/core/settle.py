"""What a reply, or a command that could not be delivered, does to its step.

A success of any attempt settles a step, because the key is the same for all of them. So does a rejection, because the
participant vouches for the key. A failure counts only for the attempt that is out.
"""

from countermand.coordinator.core.draft import Draft
from countermand.coordinator.core.events import CommandUnroutable
from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationStarted,
    LostVersionSeen,
    SagaStuck,
    StepRejected,
    StepSucceeded,
)
from countermand.coordinator.core.retry import delay_ms, may_retry
from countermand.coordinator.core.state import StuckCause, Track
from countermand.schemas.definition import StepNode
from countermand.schemas.identifiers import Direction, command_id
from countermand.schemas.messages import Failed, Failure, Rejected, ReplyMessage, Succeeded

# No store loses more of one saga than this; a reply that claims it is not worth going so far beyond.
VERSIONS_LOST_MAX = 1_000_000

_SETTLED = ("succeeded", "rejected")


def settle_reply(draft: Draft, reply: ReplyMessage) -> None:
    """Takes a reply in, or keeps it as a fact."""
    if not is_genuine(draft, reply):
        draft.ignore(reply, "forged")
        return
    if draft.state.halted:
        _take_halted(draft, reply)
        return
    known = draft.state.steps.get(reply.step)
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
    step = draft.plan.steps[reply.step]
    track = draft.state.steps[reply.step].track(reply.direction)
    if track is None:
        draft.ignore(reply, "late")
    elif reply.direction == "do":
        _settle_do(draft, step, track, reply)
    else:
        _settle_undo(draft, step, track, reply)


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
    step = draft.plan.steps.get(reply.step)
    if step is None or reply.participant != step.participant:
        return False
    return reply.command_id == command_id(draft.state.secret, reply.step, reply.direction, reply.attempt)


def settle_unroutable(draft: Draft, event: CommandUnroutable) -> None:
    """Counts an attempt that no queue took as failed, in doubt only if an earlier copy may be on its way."""
    known = draft.state.steps.get(event.step)
    track = None if known is None else known.track(event.direction)
    current = (draft.state.phase == "running") == (event.direction == "do") and not draft.state.halted
    if track is None or track.status != "asked" or track.attempt != event.attempt or not current:
        return
    step = draft.plan.steps[event.step]
    failed = Failed("unroutable", f"no queue for participant {step.participant!r}", rolled_back=event.certain)
    fail_attempt(draft, step, event.direction, track, failed, why="unroutable")


def time_out(draft: Draft, step: StepNode, direction: Direction, track: Track) -> None:
    """Ends an attempt that was not answered in time: whether it did anything is unknown."""
    fail_attempt(draft, step, direction, track, Failed("timed_out"), why="timed_out")


def fail_attempt(draft: Draft, step: StepNode, direction: Direction, track: Track, failed: Failed, *, why: str) -> None:
    """Ends an attempt: another one later, or giving up, each in its direction's way."""
    policy = step.retry_policy(direction)
    doubtful = track.doubtful or not failed.rolled_back
    until_ms = 0
    if failed.retryable and may_retry(policy, track.attempt - track.forgiven):
        then = "waiting"
        pause = delay_ms(
            policy,
            draft.state.saga_id,
            step.name,
            direction,
            track.attempt,
            failed.retry_after_ms,
            forgiven=track.forgiven,
        )
        until_ms = draft.at_ms + pause
    elif direction == "undo" or step.kind == "retriable":
        then = "exhausted"
    else:
        then = "unknown" if doubtful else "not_done"
    entry = AttemptFailed(
        step=step.name,
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
        _given_up(draft, step, direction, then, failed)


def _settle_do(draft: Draft, step: StepNode, track: Track, reply: ReplyMessage) -> None:
    known = draft.state.steps[step.name]
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
            draft.take_result(step.name, result)
            draft.add(StepSucceeded(step.name, "do", reply.attempt))
        case _ if undo is not None or draft.state.phase == "compensating":
            draft.ignore(reply, "late")
        case Rejected(code=code, reason=reason):
            draft.add(StepRejected(step.name, "do", reply.attempt, code, reason))
            _rejected(draft, step, code, reason)
        case Failed() if track.status == "asked" and reply.attempt == track.attempt:
            fail_attempt(draft, step, "do", track, reply.outcome, why="failed")
        case Failed():
            draft.ignore(reply, "stale")


def _settle_undo(draft: Draft, step: StepNode, track: Track, reply: ReplyMessage) -> None:
    match reply.outcome:
        case _ if track.status == "succeeded":
            draft.ignore(reply, "duplicate")
        case Succeeded():
            draft.add(StepSucceeded(step.name, "undo", reply.attempt))
        case Rejected(code=code, reason=reason) if track.status in ("asked", "waiting"):
            refusal = Failed(code, reason, retryable=False)
            draft.add(AttemptFailed(step.name, "undo", reply.attempt, "failed", code, "exhausted", reason))
            _stick(draft, "compensation_rejected", step.name, refusal)
        case Failed() if track.status == "asked" and reply.attempt == track.attempt:
            fail_attempt(draft, step, "undo", track, reply.outcome, why="failed")
        case _:
            draft.ignore(reply, "stale")


def _rejected(draft: Draft, step: StepNode, code: str, reason: str) -> None:
    if draft.state.phase != "running":
        return
    if step.kind == "retriable":
        _stick(draft, "forward_rejected", step.name, Failed(code, reason))
    else:
        draft.add(CompensationStarted(Failure(code, reason, step.name)))


def _given_up(draft: Draft, step: StepNode, direction: Direction, then: str, failed: Failed) -> None:
    if direction == "undo":
        _stick(draft, "compensation_exhausted", step.name, failed)
    elif step.kind == "retriable":
        _stick(draft, "forward_exhausted", step.name, failed)
    elif step.kind == "pivot" and then == "unknown":
        _stick(draft, "pivot_unknown", step.name, failed)
    else:
        draft.add(CompensationStarted(Failure(failed.code, failed.reason, step.name)))


def _stick(draft: Draft, cause: StuckCause, step: str, failed: Failed) -> None:
    # The first cause is told; the others stand in the history and show once it is settled. Newer word of the same step
    # takes the place of the older.
    stuck = draft.state.stuck
    if stuck is None or stuck.step == step:
        detail = f"{failed.code}: {failed.reason}" if failed.reason else failed.code
        draft.add(SagaStuck(cause, step, detail))
