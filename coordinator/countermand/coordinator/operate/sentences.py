"""The journal in plain sentences: one for each entry. `assert_never` sees to it that a new kind of entry gets one."""

from typing import Final, assert_never

from countermand.coordinator.core.journal import (
    AttemptFailed,
    CompensationSettled,
    CompensationStarted,
    DeadlineExtended,
    DeadlineMissed,
    JournalEntry,
    LostVersionSeen,
    OperatorActed,
    ReplyIgnored,
    RetryGranted,
    SagaEnded,
    SagaMigrated,
    SagaPaused,
    SagaReleased,
    SagaResumed,
    SagaStarted,
    SagaStuck,
    SignalKept,
    StepAsked,
    StepRejected,
    StepSkipped,
    StepSucceeded,
    TurnDeferred,
    WatcherAdded,
)
from countermand.coordinator.core.possible import summed
from countermand.coordinator.operate.node_sentences import of_a_node
from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.schemas.envelope import timestamp
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Failure

_FAILED: Final = {"failed": "failed", "timed_out": "was not answered in time", "unroutable": "found no queue"}
_THEN: Final = {
    "not_done": "given up; nothing was done",
    "unknown": "given up; it may have been done",
    "exhausted": "given up; a person is needed",
}
_IGNORED: Final = {
    "late": "it came too late",
    "duplicate": "it was known already",
    "stale": "a later attempt is out",
    "forged": "it doesn't repeat the secret of its command",
}
_ENDED: Final = {
    "completed": "the saga completed",
    "compensated": "the saga ended compensated: everything was undone",
    "compensated_with_exceptions": "the saga ended compensated, with exceptions that an operator made",
    "abandoned": "the saga was abandoned where it stood",
}


def sentence(entry: JournalEntry) -> str:
    """What happened. The texts of participants and operators stand in it; payloads never do."""
    match entry:
        case StepAsked() | StepSucceeded() | StepRejected() | AttemptFailed() | ReplyIgnored():
            return _of_a_step(entry)
        case OperatorActed() | RetryGranted() | StepSkipped() | CompensationSettled() | DeadlineExtended():
            return _of_an_operator(entry)
        case SagaStarted(definition=definition, tags=tags):
            return f"the saga started as {definition}" + (f", tagged {', '.join(tags)}" if tags else "")
        case TurnDeferred(failure=failure):
            return f"the saga is to turn back once its pivot has answered: {because(failure)}"
        case CompensationStarted(failure=failure, scope=scope):
            what = "the saga" if scope is None else f"the scope {scope} of it"
            return f"{what} turned back: {because(failure)}"
        case DeadlineMissed():
            return "the deadline passed after the pivot: the saga goes on, because there is no way back"
        case SagaStuck(cause=cause, step=step, detail=detail):
            where = f" (step {step})" if step else ""
            return f"the saga is stuck: {CAUSES_IN_WORDS[cause]}{where}" + (f": {detail}" if detail else "")
        case LostVersionSeen(version=version):
            return f"revision {version} turned up, which the store has lost too"
        case SagaReleased():
            return "the saga is stuck no longer"
        case SagaPaused(actor=actor):
            return f"the saga was paused by {actor}"
        case SagaResumed(deadline_ms=deadline_ms):
            return "the saga was resumed" + (f"; its deadline is {timestamp(deadline_ms)}" if deadline_ms else "")
        case SagaMigrated(definition=definition, former=former):
            return f"the saga went over from {former} to {definition}{_kept(entry)}"
        case SignalKept(name=name, wait=wait):
            return f"the signal {name} was kept" if wait is None else f"the event {name} has come, for {wait}"
        case WatcherAdded(queue=queue):
            return f"{queue} waits for the outcome"
        case SagaEnded(phase=phase, problem=problem, remaining=remaining):
            left = f"; what remains: {', '.join(summed(remaining))}" if remaining else ""
            return _ENDED.get(phase, phase) + (f"; its outcome can't be made: {problem}" if problem else "") + left
        case _:
            return of_a_node(entry)


def _kept(entry: SagaMigrated) -> str:
    """What a saga keeps of the version that it went over from, and what it leaves there."""
    said = ""
    if entry.routes:
        said += f"; {', '.join(entry.routes)}: undone as the former one says"
    if entry.inputs_kept:
        said += f"; {', '.join(entry.inputs_kept)}: what was sent is kept"
    return said + (f"; {', '.join(entry.forgotten)}: left behind" if entry.forgotten else "")


def because(failure: Failure) -> str:
    """Why a saga turned back: `unwilling in step ship: not today`."""
    step = f" in step {failure.step}" if failure.step else ""
    return f"{failure.code}{step}" + (f": {failure.reason}" if failure.reason else "")


def _of_a_step(entry: StepAsked | StepSucceeded | StepRejected | AttemptFailed | ReplyIgnored) -> str:
    what = _what(entry.step, entry.direction)
    match entry:
        case StepAsked(attempt=attempt, until_ms=until_ms):
            verb = "was asked" if entry.direction == "probe" else "was asked for"
            return f"{what} {verb}, attempt {attempt}; its reply is overdue from {_clock(until_ms)} on"
        case StepSucceeded(direction="do", attempt=attempt):
            return f"{entry.step} was done by attempt {attempt}"
        case StepSucceeded(direction="probe"):
            return f"{entry.step} turned out to have been done"
        case StepSucceeded(attempt=attempt):
            return f"{entry.step} was undone by attempt {attempt}"
        case StepRejected(direction="probe"):
            return f"{entry.step} turned out not to have been done"
        case StepRejected(code=code, reason=reason):
            return f"{what} was rejected: {code}" + (f": {reason}" if reason else "")
        case AttemptFailed(attempt=attempt, why=why, code=code, reason=reason, then=then, until_ms=until_ms):
            said = f": {code}" + (f": {reason}" if reason else "") if why == "failed" else ""
            after = f"the next one is due at {_clock(until_ms)}" if then == "waiting" else _THEN[then]
            return f"{what}, attempt {attempt}, {_FAILED[why]}{said}; {after}"
        case ReplyIgnored(attempt=attempt, kind=kind, why=why):
            return f"a reply to {what}, attempt {attempt} ({kind}), changed nothing: {_IGNORED[why]}"
        case _:
            assert_never(entry)


def _of_an_operator(
    entry: OperatorActed | RetryGranted | StepSkipped | CompensationSettled | DeadlineExtended,
) -> str:
    match entry:
        case OperatorActed(actor=actor, operation=operation, step=step, reason=reason):
            digest = f" (payload sha256 {entry.payload_digest[:12]}…)" if entry.payload_digest else ""
            on = f" of {step}" if step else ""
            return f"{actor} asked for {operation.replace('_', ' ')}{on}{digest}: {reason}"
        case RetryGranted(step=step, direction=direction, new_key=new_key, edited=edited):
            extra = (" under a new key" if new_key else "") + (", with an edited input" if edited else "")
            return f"{_what(step, direction)} is tried again with fresh patience{extra}"
        case StepSkipped(step=step, direction="do"):
            return f"{step} was skipped; it counts as done"
        case StepSkipped(step=step):
            return f"the compensation of {step} was skipped; what it did remains"
        case CompensationSettled(step=step, evidence=evidence):
            return f"{step} was undone by hand; evidence: {evidence}"
        case DeadlineExtended(deadline_ms=deadline_ms):
            return f"the deadline was moved to {timestamp(deadline_ms)}"
        case _:
            assert_never(entry)


def _what(step: str, direction: Direction) -> str:
    match direction:
        case "do":
            return step
        case "undo":
            return f"the compensation of {step}"
        case "probe":
            return f"the question what became of {step}"


def _clock(at_ms: int) -> str:
    return f"{timestamp(at_ms)[11:19]}Z"
