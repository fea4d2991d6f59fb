"""One saga for people: where it stands, what happened to each step, why it is stuck, and what can be done about it.

A `Story` is made from a plan, a saga, the newest part of its journal and the moment, and from nothing else. The screen
and the JSON are both drawn from it, so they can't disagree.
"""

import shlex
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from countermand.coordinator.core import Plan, wake_at
from countermand.coordinator.core.frontier import needs_compensation
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.possible import Possible, possible_operations
from countermand.coordinator.core.state import Saga, SagaState, Track
from countermand.coordinator.operate.sentences import because
from countermand.coordinator.operate.timeline import Span, spans
from countermand.coordinator.operate.trouble import Trouble, trouble_of
from countermand.schemas.definition import StepKind, StepNode
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Phase

HISTORY_PAGE: Final = 1_000  # Enough for every ordinary saga; of a longer journal the newest part is told.

_PHASES: Final[dict[Phase, str]] = {
    "running": "running",
    "compensating": "going back (compensating)",
    "completed": "completed",
    "compensated": "compensated: everything was undone",
    "compensated_with_exceptions": "compensated, with exceptions that an operator made",
    "abandoned": "abandoned where it stood",
}
_DO: Final = {
    "asked": "asked, no reply yet",
    "waiting": "failed, will try again",
    "succeeded": "done",
    "rejected": "rejected",
    "not_done": "given up, not done",
    "unknown": "given up, maybe done",
    "exhausted": "given up, needs you",
    "skipped": "skipped, counts as done",
}
_UNDO: Final = {
    "asked": "undo asked, no reply yet",
    "waiting": "undo failed, tries again",
    "succeeded": "undone",
    "rejected": "undo refused",
    "exhausted": "undo given up, needs you",
    "skipped": "undo skipped, effect stays",
    "settled": "undone by hand",
}
# What the operator has to fill in, by operation.
_ARGUMENTS: Final = {
    "settle_compensation": " --evidence '…'",
    "extend": " --by 1h",
}

Hold = Literal["stuck", "paused"]


class NextMoment(msgspec.Struct, frozen=True):
    """When something happens by itself: the reply becomes overdue, or the next attempt is made."""

    what: Literal["reply_overdue", "next_attempt"]
    at_ms: int


class LaneStory(msgspec.Struct, frozen=True):
    """One direction of a step. `attempts_max` is null for no limit; attempts before an operator's retry don't count."""

    status: str
    words: str
    attempts: int = 0
    attempts_max: int | None = None
    error: str | None = None
    reason: str | None = None
    next: NextMoment | None = None
    spans: tuple[Span, ...] = ()


class StepStory(msgspec.Struct, frozen=True):
    """A step of the definition. `undo` is null where nothing has to be undone."""

    step: str
    participant: str
    command: str
    kind: StepKind
    do: LaneStory
    undo: LaneStory | None = None


class Choice(msgspec.Struct, frozen=True):
    """An operation that would be accepted now, and the command line that asks for it."""

    operation: str
    step: str | None
    direction: Direction | None
    effect: str
    command: str


class Story(msgspec.Struct, frozen=True):
    """Everything about one saga but its payloads, told at `now_ms`. Moments are Unix time in milliseconds.

    `turned_back` says why, also when the saga is only about to. `more_history` says that `history` lacks older entries.
    """

    saga_id: str
    definition: str
    definition_hash: str
    version: int
    phase: Phase
    phase_words: str
    hold: Hold | None
    hold_since_ms: int | None
    paused_by: str | None
    now_ms: int
    started_ms: int
    updated_ms: int
    ended_ms: int | None
    deadline_ms: int | None
    wake_at_ms: int | None
    tags: tuple[str, ...]
    turned_back: str | None
    trouble: Trouble | None
    steps: tuple[StepStory, ...]
    possible: tuple[Choice, ...]
    history: tuple[Record, ...]
    more_history: bool

    @property
    def ended(self) -> bool:
        return self.ended_ms is not None

    @property
    def age_ms(self) -> int:
        """How long it took, or has been taking."""
        return (self.ended_ms or self.now_ms) - self.started_ms


def tell(plan: Plan, saga: Saga, records: Sequence[Record], now_ms: int, *, more_history: bool = False) -> Story:
    """The story of a saga; `records` is its journal, or the newest part of it."""
    state = saga.state
    hold, since_ms = _hold(state)
    drawn = spans(records)
    return Story(
        saga_id=state.saga_id,
        definition=state.definition,
        definition_hash=state.definition_hash,
        version=state.version,
        phase=state.phase,
        phase_words=_PHASES[state.phase],
        hold=hold,
        hold_since_ms=since_ms,
        paused_by=None if state.paused is None else state.paused.actor,
        now_ms=now_ms,
        started_ms=state.started_ms,
        updated_ms=state.updated_ms,
        ended_ms=state.ended_ms,
        deadline_ms=state.deadline_ms,
        wake_at_ms=wake_at(state),
        tags=state.tags,
        turned_back=_turned_back(state),
        trouble=trouble_of(plan, state),
        steps=tuple(
            StepStory(
                step=step.name,
                participant=step.participant,
                command=step.action,
                kind=step.kind,
                do=_do(step, state, tuple(drawn.get((step.name, "do"), ()))),
                undo=_undo(step, state, tuple(drawn.get((step.name, "undo"), ()))),
            )
            for step in plan.steps.values()
        ),
        possible=tuple(_choice(each, state.saga_id) for each in possible_operations(plan, state, now_ms)),
        history=tuple(records),
        more_history=more_history,
    )


def _hold(state: SagaState) -> tuple[Hold | None, int | None]:
    # Paused comes first: it says what has to be done before anything else.
    if state.paused is not None:
        return "paused", state.paused.since_ms
    return (None, None) if state.stuck is None else ("stuck", state.stuck.since_ms)


def _turned_back(state: SagaState) -> str | None:
    if state.failure is not None:
        return because(state.failure)
    return None if state.turn is None else f"{because(state.turn)} (as soon as the pivot has answered)"


def _do(step: StepNode, state: SagaState, drawn: tuple[Span, ...]) -> LaneStory:
    known = state.steps.get(step.name)
    if known is None:
        waits = state.phase == "running"
        return LaneStory("not_yet" if waits else "never", "not yet" if waits else "never asked for")
    return _lane(step, "do", known.do, state, drawn)


def _undo(step: StepNode, state: SagaState, drawn: tuple[Span, ...]) -> LaneStory | None:
    known = state.steps.get(step.name)
    track = None if known is None else known.undo
    if track is not None:
        return _lane(step, "undo", track, state, drawn)
    if state.phase == "compensating" and needs_compensation(step, state):
        return LaneStory("not_yet", "to be undone")
    return None


def _lane(step: StepNode, direction: Direction, track: Track, state: SagaState, drawn: tuple[Span, ...]) -> LaneStory:
    limit = step.retry_policy(direction).attempts_max
    last = next((span for span in reversed(drawn) if span.code is not None and span.code == track.error), None)
    return LaneStory(
        status=track.status,
        words=(_DO if direction == "do" else _UNDO).get(track.status, track.status.replace("_", " ")),
        attempts=track.attempt,
        attempts_max=None if limit is None else limit + track.forgiven,
        error=track.error,
        reason=None if last is None else last.reason,
        next=_next(direction, track, state),
        spans=drawn,
    )


def _next(direction: Direction, track: Track, state: SagaState) -> NextMoment | None:
    current: Direction = "do" if state.phase == "running" else "undo"
    if state.ended or state.halted or direction != current:
        return None
    if track.status == "asked":
        return NextMoment("reply_overdue", track.until_ms)
    # While a saga is paused nothing is asked for: the moment stands, but nothing will happen at it.
    if track.status == "waiting" and state.paused is None:
        return NextMoment("next_attempt", track.until_ms)
    return None


def _choice(possible: Possible, saga_id: str) -> Choice:
    step = "" if possible.step is None else f" --step {possible.step}"
    arguments = _ARGUMENTS.get(possible.operation, "")
    if possible.operation == "abandon":
        arguments = f" --confirm {shlex.quote(saga_id)}"
    if possible.operation == "skip" and possible.direction == "do":
        arguments = " --result '…'"
    name = possible.operation.replace("_", "-")
    command = f"countermand {name} {shlex.quote(saga_id)}{step}{arguments} --reason '…'"
    return Choice(possible.operation, possible.step, possible.direction, possible.effect, command)
