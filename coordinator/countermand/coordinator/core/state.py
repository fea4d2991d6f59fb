"""What is known of a saga. Every field is evidence or is computed from evidence by `evolve`."""

from collections.abc import Mapping
from typing import Final, Literal, TypeVar

import msgspec

from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Failure, Phase

TrackStatus = Literal[
    "asked", "waiting", "succeeded", "rejected", "not_done", "unknown", "exhausted", "skipped", "settled"
]

StuckCause = Literal[
    "compensation_exhausted",
    "compensation_rejected",
    "pivot_unknown",
    "forward_exhausted",
    "forward_rejected",
    "unresolvable",
    "state_lost",
]


# The parts of a saga beside its state, by the names under which they are stored.
INPUT: Final = "i"
OUTCOME: Final = "o"
RESULT: Final = "r:"
EDIT: Final = "e:"
ITEM: Final = "n:"
EVENT: Final = "k:"
STEP: Final = "d:"
MARK: Final = "m:"
EVERYTHING: Final[frozenset[str]] = frozenset()

T = TypeVar("T")

OPEN: Final = ("asked", "waiting")
# What needs nothing more: evidence of the participant, or an operator's word.
DONE: Final = ("succeeded", "skipped")
BY_HAND: Final = ("skipped", "settled")
UNDONE: Final = ("succeeded", *BY_HAND)


class Track(msgspec.Struct, frozen=True, array_like=True):
    """One direction of one step.

    asked      a command is out; `until_ms` is the moment at which its reply is overdue
    waiting    the last attempt failed; `until_ms` is the moment of the next one
    succeeded  a reply of some attempt said so
    rejected   a business no: nothing was done
    not_done   given up, and every attempt vouched that it did nothing
    unknown    given up, and something may have been done
    exhausted  an undo, or an action that must not be undone, has been given up: a person is needed
    skipped    an operator said to go on without it: an action counts as done, an undo as left undone for good
    settled    an operator said that the undo was done by hand

    `doubtful` says that some attempt ended without that vouching. `forgiven` is the last attempt before an operator had
    the step tried again: the retry policy counts from there.
    """

    status: TrackStatus
    attempt: int
    until_ms: int = 0
    doubtful: bool = False
    error: str | None = None
    forgiven: int = 0


class Route(msgspec.Struct, frozen=True, array_like=True):
    """How a step is undone: where, as what, and for how long its participant is waited for."""

    participant: str
    action: str
    compensated: bool
    undo_timeout_ms: int


class StepState(msgspec.Struct, frozen=True, array_like=True):
    """Every direction of a step that has been asked for.

    `keys_closed` counts the keys that rejections closed, after each of which an operator had the step tried again under
    a new one; `key_since` is the last attempt under the one before. `route` is that of the version of the definition
    that did the step, where the saga has been moved to another one since.
    """

    do: Track
    undo: Track | None = None
    key_since: int = 0
    keys_closed: int = 0
    probe: Track | None = None
    route: Route | None = None

    def track(self, direction: Direction) -> Track | None:
        match direction:
            case "do":
                return self.do
            case "undo":
                return self.undo
            case "probe":
                return self.probe

    @property
    def newest(self) -> tuple[Direction, Track]:
        """The direction that was asked for last: only of it can something be out or due."""
        if self.undo is not None:
            return "undo", self.undo
        # A probe asks about an action that was given up in doubt; once that is settled, or tried again, it is over.
        return ("do", self.do) if self.probe is None or self.do.status != "unknown" else ("probe", self.probe)

    @property
    def open(self) -> bool:
        """Whether an attempt is out or due."""
        return self.newest[1].status in OPEN

    @property
    def over(self) -> bool:
        """Whether nothing more can come of it while the saga goes the way that it goes."""
        return self.do.status in DONE if self.undo is None else self.undo.status in UNDONE


# --- what is known of the other nodes that have a name


class Chosen(msgspec.Struct, frozen=True, array_like=True, tag="when"):
    """Which way a `when` went, for good."""

    then: bool


class Looped(msgspec.Struct, frozen=True, array_like=True, tag="for_each"):
    """How many items a `for_each` has."""

    count: int


class Wait(msgspec.Struct, frozen=True, array_like=True, tag="wait_for"):
    """A wait for an event, until `until_ms`; met, missed, or dropped because the saga turned back.

    `key` is the business key; null for a signal to this saga.
    """

    event: str
    until_ms: int
    key: str | None = None
    status: Literal["open", "met", "missed", "dropped"] = "open"


class Sleep(msgspec.Struct, frozen=True, array_like=True, tag="sleep"):
    """A sleep until `until_ms`."""

    until_ms: int
    status: Literal["open", "met", "dropped"] = "open"


class Approval(msgspec.Struct, frozen=True, array_like=True, tag="approval"):
    """A decision that somebody has to make until `until_ms`.

    `digest` is the SHA-256 of what is shown. Whoever has one of the `roles`, or is an assignee, may decide; `requester`
    may not. At `escalate_ms` the role `escalate_to` joins them.
    """

    until_ms: int
    digest: str
    roles: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    requester: str | None = None
    escalate_ms: int | None = None
    escalate_to: str | None = None
    status: Literal["open", "approved", "denied", "timed_out", "dropped"] = "open"
    by: str | None = None

    @property
    def next_ms(self) -> int:
        """The next moment at which something happens by itself."""
        return self.until_ms if self.escalate_ms is None else min(self.until_ms, self.escalate_ms)


class Scoped(msgspec.Struct, frozen=True, array_like=True, tag="scope"):
    """A scope that failed: it is being undone, or has been. One that runs, or ran well, has no mark."""

    failure: Failure
    undone: bool = False


Mark = Chosen | Looped | Wait | Sleep | Approval | Scoped


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """How far a group has come: derived from the evidence, and kept so that nothing that is over is looked at again.

    Forwards, `at` is a sequence's present child, or the next item of a loop; `open` are a parallel's branches, or a
    loop's items, that aren't finished. Backwards (`back`) the same with what isn't undone: of a loop, the items before
    `at` are still to come.
    """

    back: bool
    at: int
    open: tuple[int, ...] = ()


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A step of the coordinator's own that outlives it: a lock, or a child saga (`lock` empty, `key` its id)."""

    step: str
    lock: str
    key: str


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """An event that has come and that no wait has taken yet; for one wait only, if `wait` names it.

    With a business `key` it came for a wait whose time was over, and is for the next one with that key.
    """

    request_id: str
    event: str
    wait: str | None = None
    key: str | None = None


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """The newest attempt of a parent saga, which the answer must repeat."""

    attempt: int
    command_id: str
    saga_version: int


class Parent(msgspec.Struct, frozen=True, array_like=True):
    """The saga that a child was started by, and what it has asked. `gone`: it has ended, and asks no more. `depth`
    counts the sagas above the child."""

    saga_id: str
    step: str
    key: str
    do: Ask | None = None
    undo: Ask | None = None
    gone: bool = False
    depth: int = 1


class Stuck(msgspec.Struct, frozen=True, array_like=True):
    """Why a saga needs a person, and since when. `lost_version` is the newest version that the store has lost."""

    cause: StuckCause
    since_ms: int
    step: str | None = None
    detail: str = ""
    lost_version: int = 0


class Paused(msgspec.Struct, frozen=True, array_like=True):
    """An operator holds the saga: nothing more is asked for, and its deadline's clock may stand still.

    `clock_ms` is the moment since which it does: that of the pause, or of a deadline that was given meanwhile.
    """

    since_ms: int
    actor: str
    clock_ms: int


class Operated(msgspec.Struct, frozen=True, array_like=True):
    """An operator's request that counted: it is not done again, and whoever comes second is told of it."""

    request_id: str
    content: str
    operation: str
    actor: str
    at_ms: int


class SagaState(msgspec.Struct, frozen=True, array_like=True):
    """A saga without its payloads. Moments are Unix time in milliseconds, by the store's clock.

    `turn` is a wish to turn back that has to wait for the pivot's answer; `failure` is why the saga did turn back.
    `content` is a digest of what the start asked for, `secret` the source of the command ids. `lost_until` is the
    newest of the versions that the store has lost, and that an operator had the saga go on without. `by_hand` are the
    steps whose compensation was skipped or settled by a person, `confirming` those that were done and that are asked
    about again, after a loss of state, before the saga goes on.

    `undo_routes` (`participant/action`) are the compensations that former versions of the definition ask for.

    `steps` and `marks` are what is known of the definition's nodes, by name and place (`ask_quote[17]`); of a large
    saga those that are over are put away, beside the state.
    """

    saga_id: str
    definition: str
    definition_hash: str
    version: int
    phase: Phase
    secret: str
    content: str
    started_ms: int
    updated_ms: int
    deadline_ms: int | None = None
    ended_ms: int | None = None
    steps: dict[str, StepState] = {}
    stuck: Stuck | None = None
    failure: Failure | None = None
    turn: Failure | None = None
    deadline_seen: bool = False
    watchers: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    facts: int = 0
    traceparent: str | None = None
    paused: Paused | None = None
    operations: tuple[Operated, ...] = ()
    lost_until: int = 0
    marks: dict[str, Mark] = {}
    frames: dict[str, Frame] = {}
    kept: tuple[Kept, ...] = ()
    held: tuple[Held, ...] = ()
    parent: Parent | None = None
    by_hand: tuple[str, ...] = ()
    confirming: tuple[str, ...] = ()
    undo_routes: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.phase not in ("running", "compensating")

    @property
    def halted(self) -> bool:
        """Nothing may be done for this saga until a person has looked at it."""
        return self.stuck is not None and self.stuck.cause == "state_lost"


class NotLoaded(Exception):
    """Deciding needs `parts` of a large saga that were not loaded; all of it, if the set is empty.

    No failure: the answer is to load them, and to decide again.
    """

    def __init__(self, parts: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(parts)) or "everything")
        self.parts = parts

    def __or__(self, other: "NotLoaded | None") -> "NotLoaded":
        if other is None:
            return self
        return NotLoaded(self.parts | other.parts if self.parts and other.parts else EVERYTHING)


class Saga(msgspec.Struct, frozen=True):
    """A saga with its payloads: the input, the results of its steps by name and place, and its outcome, all JSON.

    `edits` are the inputs of steps that an operator gave in place of what the definition says, `items` those of loops,
    and what approvals show; `events` are payloads that no wait has taken yet, by request. `steps` and `marks` have been
    put away. Of a large saga only a part is loaded: `looked_for` are then the parts that were looked for, and are
    absent if they aren't here; null says that everything is.
    """

    state: SagaState
    input: msgspec.Raw
    results: dict[str, msgspec.Raw]
    outcome: msgspec.Raw | None = None
    edits: dict[str, msgspec.Raw] = {}
    items: dict[str, msgspec.Raw] = {}
    events: dict[str, msgspec.Raw] = {}
    steps: dict[str, StepState] = {}
    marks: dict[str, Mark] = {}
    looked_for: frozenset[str] | None = None

    def read_input(self) -> msgspec.Raw:
        """What the saga was started with."""
        self._require(INPUT)
        return self.input

    def result(self, ref: str) -> msgspec.Raw | None:
        return self._part(RESULT, self.results, ref)

    def edit(self, ref: str) -> msgspec.Raw | None:
        return self._part(EDIT, self.edits, ref)

    def item(self, ref: str) -> msgspec.Raw | None:
        return self._part(ITEM, self.items, ref)

    def event(self, request_id: str) -> msgspec.Raw | None:
        return self._part(EVENT, self.events, request_id)

    def step(self, ref: str) -> StepState | None:
        """What is known of a step, put away or not."""
        return self.state.steps.get(ref) or self._part(STEP, self.steps, ref)

    def mark(self, ref: str) -> Mark | None:
        """What is known of another node, put away or not."""
        return self.state.marks.get(ref) or self._part(MARK, self.marks, ref)

    def whole(self) -> "Saga":
        """The same with nothing put away. Raises NotLoaded if anything isn't here."""
        if self.looked_for is not None:
            raise NotLoaded(EVERYTHING)
        if not self.steps and not self.marks:
            return self
        state = msgspec.structs.replace(
            self.state, steps={**self.steps, **self.state.steps}, marks={**self.marks, **self.state.marks}
        )
        return msgspec.structs.replace(self, state=state, steps={}, marks={})

    def _part(self, kind: str, found: Mapping[str, T], ref: str) -> T | None:
        value = found.get(ref)
        if value is None:
            self._require(kind + ref)
        return value

    def _require(self, part: str) -> None:
        if self.looked_for is not None and part not in self.looked_for:
            raise NotLoaded(frozenset({part}))
