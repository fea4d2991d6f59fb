"""What is known of a saga. Every field is evidence or is computed from evidence by `evolve`."""

from typing import Literal

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


class StepState(msgspec.Struct, frozen=True, array_like=True):
    """Both directions of a step that has been asked for.

    `keys_closed` counts the keys that rejections closed, after each of which an operator had the step tried again under
    a new one; `key_since` is the last attempt under the one before.
    """

    do: Track
    undo: Track | None = None
    key_since: int = 0
    keys_closed: int = 0

    def track(self, direction: Direction) -> Track | None:
        return self.do if direction == "do" else self.undo


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
    newest of the versions that the store has lost, and that an operator had the saga go on without.
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

    @property
    def ended(self) -> bool:
        return self.phase not in ("running", "compensating")

    @property
    def halted(self) -> bool:
        """Nothing may be done for this saga until a person has looked at it."""
        return self.stuck is not None and self.stuck.cause == "state_lost"


class Saga(msgspec.Struct, frozen=True):
    """A saga with its payloads: the input, the results of its steps by name, and its outcome, all JSON.

    `edits` are the inputs of steps, by name, that an operator gave in place of what the definition says.
    """

    state: SagaState
    input: msgspec.Raw
    results: dict[str, msgspec.Raw]
    outcome: msgspec.Raw | None = None
    edits: dict[str, msgspec.Raw] = {}
