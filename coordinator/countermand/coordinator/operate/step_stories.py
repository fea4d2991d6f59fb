"""What happened to each step of a saga: of a participant's, and of the coordinator's own (child sagas, locks)."""

from typing import Final, Literal

import msgspec

from countermand.coordinator.core.frontier import needs_compensation
from countermand.coordinator.core.operations import going_back
from countermand.coordinator.core.plan import LIMIT_STEP, Spot
from countermand.coordinator.core.state import StepState, Track
from countermand.coordinator.operate.timeline import Span
from countermand.coordinator.operate.view import ABSENT_WORDS, View
from countermand.schemas.coordination import child_id
from countermand.schemas.definition import ChildNode, LockNode, StepKind, StepNode
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Phase

StepSort = Literal["step", "child", "lock", "limit"]

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
_PROBE: Final = {
    "asked": "asked what became of it",
    "waiting": "no answer, asks again",
    "succeeded": "it was done",
    "rejected": "it was not done",
    "unknown": "nobody knows",
    "not_done": "nobody knows",
    "exhausted": "nobody knows",
}
# Where the coordinator itself is asked, other words say what it does.
_OWN: Final[dict[tuple[StepSort, Direction], dict[str, str]]] = {
    ("child", "do"): {"asked": "child saga runs", "succeeded": "child completed", "rejected": "child was undone"},
    ("child", "undo"): {"asked": "child is being undone", "succeeded": "child undone"},
    ("lock", "do"): {"asked": "waits for its turn", "succeeded": "held", "unknown": "not got", "not_done": "not got"},
    ("limit", "do"): {
        "asked": "waits for its turn",
        "succeeded": "let in",
        "unknown": "not got",
        "not_done": "not got",
    },
}


class NextMoment(msgspec.Struct, frozen=True):
    """When something happens by itself.

    A reply becomes overdue, the next attempt is made, a wait or an approval is given up, a sleep is over.
    """

    what: Literal["reply_overdue", "next_attempt", "given_up", "goes_on"]
    at_ms: int


class LaneStory(msgspec.Struct, frozen=True):
    """One direction of a node. `attempts_max` is null for no limit; attempts before an operator's retry don't count."""

    status: str
    words: str
    attempts: int = 0
    attempts_max: int | None = None
    error: str | None = None
    reason: str | None = None
    next: NextMoment | None = None
    spans: tuple[Span, ...] = ()


class ChildLook(msgspec.Struct, frozen=True):
    """The child saga of a step; `phase` is null where the store doesn't know it (any more, or yet)."""

    saga_id: str
    phase: Phase | None = None
    stuck: bool = False


class LockLook(msgspec.Struct, frozen=True):
    """The lock of a step, and the key that it is held for; empty for a lock without keys."""

    lock: str
    key: str


class StepStory(msgspec.Struct, frozen=True):
    """A step, by name and place. `undo` is null where nothing has to be undone, `probe` where nothing was asked about.

    `child` and `lock` are what the coordinator was asked for, if it was the one that was asked.
    """

    step: str
    participant: str
    command: str
    kind: StepKind
    do: LaneStory
    undo: LaneStory | None = None
    probe: LaneStory | None = None
    sort: StepSort = "step"
    child: ChildLook | None = None
    lock: LockLook | None = None


def step_stories(view: View) -> dict[str, StepStory]:
    """Every step by name and place, in the order of the definition and of loops' items.

    Of a step in a loop, those of which something is known; if there are none, one without a place stands for all.
    """
    found: dict[str, StepStory] = {}
    for spot in view.plan.spots.values():
        if spot.step is None:
            continue
        known = view.traces(spot.name) if spot.loops else [""]
        for place in known or [""]:
            found[spot.ref(place)] = step_story(view, spot, spot.step, place)
    return found


def step_story(view: View, spot: Spot, step: StepNode, place: str) -> StepStory:
    """One step in one place."""
    ref = spot.ref(place)
    known = view.state.steps.get(ref)
    route = None if known is None else known.route
    held = view.held.get(ref)
    sort = _sort(spot)
    return StepStory(
        step=ref,
        participant=step.participant if route is None else route.participant,
        command=step.action if route is None else route.action,
        kind=step.kind,
        do=_do(view, spot, step, place, known),
        undo=_undo(view, spot, step, ref, known),
        probe=None if known is None or known.probe is None else _lane(view, spot, step, ref, known, "probe"),
        sort=sort,
        child=_child(view, ref) if sort == "child" and held is not None else None,
        lock=LockLook(held.lock, held.key) if held is not None and held.lock else None,
    )


def _sort(spot: Spot) -> StepSort:
    match spot.node:
        case ChildNode():
            return "child"
        case LockNode(name=name):
            return "limit" if name == LIMIT_STEP else "lock"
        case _:
            return "step"


def _child(view: View, ref: str) -> ChildLook:
    saga_id = child_id(view.state.saga_id, ref)
    state = view.children.get(saga_id)
    return ChildLook(saga_id) if state is None else ChildLook(saga_id, state.phase, state.stuck is not None)


def _do(view: View, spot: Spot, step: StepNode, place: str, known: StepState | None) -> LaneStory:
    if known is None:
        absence = view.absent(spot, place)
        return LaneStory(absence, ABSENT_WORDS[absence])
    return _lane(view, spot, step, spot.ref(place), known, "do")


def _undo(view: View, spot: Spot, step: StepNode, ref: str, known: StepState | None) -> LaneStory | None:
    if known is not None and known.undo is not None:
        return _lane(view, spot, step, ref, known, "undo")
    if not view.state.ended and needs_compensation(step, known) and going_back(view.plan, view.state, ref):
        return LaneStory("not_yet", "to be undone")
    return None


def _lane(view: View, spot: Spot, step: StepNode, ref: str, known: StepState, direction: Direction) -> LaneStory:
    track = known.track(direction) or known.do
    drawn = view.spans(ref, direction)
    limit = step.retry_policy("do" if direction == "probe" else direction).attempts_max
    last = next((span for span in reversed(drawn) if span.code is not None and span.code == track.error), None)
    return LaneStory(
        status=track.status,
        words=_words(spot, track.status, direction, ended=view.state.ended),
        attempts=track.attempt,
        attempts_max=None if limit is None else limit + track.forgiven,
        error=track.error,
        reason=None if last is None else last.reason,
        next=_next(view, track),
        spans=drawn,
    )


def _words(spot: Spot, status: str, direction: Direction, *, ended: bool) -> str:
    sort = _sort(spot)
    if ended and sort == "lock" and status == "succeeded":
        return "was held"
    usual = {"do": _DO, "undo": _UNDO, "probe": _PROBE}[direction]
    return _OWN.get((sort, direction), {}).get(status) or usual.get(status, status.replace("_", " "))


def _next(view: View, track: Track) -> NextMoment | None:
    state = view.state
    if state.ended or state.halted:
        return None
    if track.status == "asked":
        return NextMoment("reply_overdue", track.until_ms)
    # While a saga is paused nothing is asked for: the moment stands, but nothing will happen at it.
    if track.status == "waiting" and state.paused is None:
        return NextMoment("next_attempt", track.until_ms)
    return None
