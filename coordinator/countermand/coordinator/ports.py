"""What the coordinator needs of a store and of a broker. The one path runs on these; adapters stand behind them."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from countermand.coordinator.core.draft import Parts
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga, SagaState, StuckCause
from countermand.schemas.definition import Definition
from countermand.schemas.messages import AnnounceMessage, Phase
from countermand.wire import Delivery, Message, PublishOutcome


class Loaded(msgspec.Struct, frozen=True):
    """A stored saga. `guard` is the version whose messages have not been confirmed yet, as far as the store knows."""

    saga: Saga
    guard: int | None = None


class Commit(msgspec.Struct, frozen=True):
    """One saga's step forward, to be made as a whole or not at all.

    `expected_version` is 0 for a saga that is new. `token` names this commit: when the same one is made again after a
    lost answer, it is recognised. `guard_ms` asks for a guard: if nothing settles this version within that time, the
    saga is woken up. `wake_at_ms` is its real wake-up, null for none. `parts` are those that are new beside the state.
    """

    expected_version: int
    token: str
    saga: Saga
    records: tuple[Record, ...]
    parts: Parts
    wake_at_ms: int | None
    guard_ms: int | None = None


class Committed(msgspec.Struct, frozen=True):
    """It stands. `taken_over` is the version of a guard that was still set: its messages are now the committer's.

    The guard stays set until a version that is not older is settled: should the committer crash too, it still fires.
    """

    taken_over: int | None = None


class Conflict(msgspec.Struct, frozen=True):
    """Somebody else was faster; nothing was changed. `version` is the stored one, 0 if there is no such saga."""

    version: int


CommitAnswer = Committed | Conflict


class Settlement(msgspec.Struct, frozen=True):
    """What `version` had to send has been confirmed. Version 0 says that there is no such saga."""

    saga_id: str
    version: int


class Claimed(msgspec.Struct, frozen=True):
    """The sagas that are due, leased to the asker, and the store's time."""

    now_ms: int
    saga_ids: tuple[str, ...]


class ClockJumped(msgspec.Struct, frozen=True):
    """The store's clock is not where it was expected: nothing has been claimed."""

    now_ms: int
    expected_ms: int


class Place(msgspec.Struct, frozen=True):
    """A saga's place in every listing: ordered by the moment of its start, then by the bytes of its id."""

    started_ms: int
    saga_id: str


class SagaQuery(msgspec.Struct, frozen=True):
    """Which sagas to list: at most `limit` that match every field given, those that come after the place `after`.

    `in_motion` leaves out those that have ended. `definition` is name@version, or a name for all its versions.
    `stuck_step` and `stuck_error` are the step and the error code on which a saga is stuck; empty means that there is
    none. `approval` is a role that may decide an approval that a saga waits for, or "any" for whoever may; `assignee`
    is a person who may. `started_before_ms` is the first moment that is too late.
    """

    phase: Phase | None = None
    definition: str | None = None
    stuck: StuckCause | Literal["any"] | None = None
    stuck_step: str | None = None
    stuck_error: str | None = None
    paused: bool = False
    in_motion: bool = False
    tags: tuple[str, ...] = ()
    started_from_ms: int | None = None
    started_before_ms: int | None = None
    approval: str | None = None
    assignee: str | None = None
    order: Literal["newest", "oldest"] = "newest"
    after: Place | None = None
    limit: int = 50


class SagaPage(msgspec.Struct, frozen=True):
    """Some of the sagas asked for, in order; may be fewer than asked for, or none, although there are more.

    `next` is the place to go on after, null at the end. `looked_at` tells how many sagas it took to find these.
    """

    states: tuple[SagaState, ...]
    next: Place | None
    looked_at: int


class StuckGroup(msgspec.Struct, frozen=True):
    """The sagas that are stuck on the same thing; `step` and `code` are empty where there is none.

    `first_ms` and `last_ms` are the moments since which the first and the last of them are stuck, `samples` the ids of
    a few that have been for longest.
    """

    definition: str
    cause: StuckCause
    step: str
    code: str
    count: int
    first_ms: int
    last_ms: int
    samples: tuple[str, ...]


class Census(msgspec.Struct, frozen=True):
    """How many sagas there are: by phase, paused, stuck by cause, and in motion by definition (name@version).

    `undo_routes` counts those in motion that may need a compensation (`participant/action`) which another version asks
    for than the one that they have now.
    """

    phases: dict[Phase, int]
    paused: int
    stuck: dict[StuckCause, int]
    in_motion: dict[str, int]
    undo_routes: dict[str, int] = {}


class SavedDefinition(msgspec.Struct, frozen=True):
    """The definition is stored under this hash."""

    hash: str


class DefinitionTaken(msgspec.Struct, frozen=True):
    """The name and version stand for other content, with this hash."""

    hash: str


class Announced(msgspec.Struct, frozen=True):
    """What one process of a participant last said of itself, and when, by the store's clock."""

    announcement: AnnounceMessage
    seen_ms: int


class Registry(Protocol):
    """Keeps what participants say of themselves. Every method may raise `StoreUnavailable`."""

    async def announce(self, *messages: AnnounceMessage) -> None:
        """Keeps what processes of participants say of themselves, in the place of what they said before.

        One that is stopping is forgotten. There is room for a fixed number of processes, and of each participant for a
        part of them: those not heard of for longest make room.
        """

    async def participants(self) -> list[Announced]:
        """Every process of a participant that has announced itself, by name."""

    async def forget_participants(self, *, unseen_ms: int, limit: int) -> int:
        """Drops the announcements of processes that were not heard of for so long; how many."""


class Listing(Protocol):
    """Finds and counts sagas by the indexes; no call costs more when there are more sagas.

    Every method may raise `StoreUnavailable`.
    """

    async def sagas(self, query: SagaQuery) -> SagaPage:
        """One page of a listing. A saga that matches all the while comes exactly once, whatever the others do."""

    async def counts(self, query: SagaQuery) -> dict[str, int]:
        """How many sagas meet each condition of the query on its own, by the condition's text (`phase:running`)."""

    async def stuck_groups(self) -> list[StuckGroup]:
        """What sagas are stuck on, each group counted; in no particular order."""

    async def census(self) -> Census:
        """How many sagas there are of each kind."""


class SagaStore(Registry, Listing, Protocol):
    """Keeps sagas. Every method may raise `StoreUnavailable`: then a write may or may not have been made."""

    async def load(self, saga_ids: Sequence[str]) -> list[Loaded | None]:
        """The sagas, whole, with nothing put away; in the order asked for, all in one round trip.

        Raises:
            SagaUnreadable: what is stored under one of the ids can't be read; names the first such.
        """

    async def load_parts(self, wanted: Sequence[tuple[str, frozenset[str] | None]]) -> list[Loaded | None]:
        """The sagas for deciding: of a large one only the state, and those of its parts that are wanted by name.

        No names at all ask for everything; null asks for none. As it is stored: what was put away stays so.

        Raises:
            SagaUnreadable: as above.
        """

    async def commit(self, commits: Sequence[Commit]) -> list[CommitAnswer]:
        """Makes each commit on its own, all in one round trip, as durable as the store has been told to be."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Takes the guard away and puts the saga's real wake-up in its place, where the version is still the same."""

    async def claim_due(
        self, *, limit: int, lease_ms: int, expected_ms: int | None, tolerance_ms: int
    ) -> Claimed | ClockJumped:
        """Leases at most about `limit` sagas that are due: nobody else gets them before the lease ends.

        Raises no alarm about the clock if `expected_ms` is null.
        """

    async def now_ms(self) -> int:
        """The store's time: the one clock of all coordinators."""

    async def history(self, saga_id: str, *, start: int = 0, limit: int = 1_000) -> list[Record]:
        """The saga's journal from entry number `start` on (counted from 0; negative numbers count from the end)."""

    async def save_definition(self, definition: Definition) -> SavedDefinition | DefinitionTaken:
        """Stores a definition once and for all."""

    async def definition(self, definition_hash: str) -> Definition | None:
        """The definition with this identity."""

    async def definition_hash(self, name: str, version: int | None) -> str | None:
        """The identity that a name and version stand for; the newest version if it is null."""

    async def definitions(self) -> list[Definition]:
        """Every stored definition."""

    async def sleepers(self, *, limit: int) -> list[str]:
        """Ids of sagas in motion that have no entry in the due-index, found by walking the indexes a part at a time.

        Each call goes on where the last one stopped, and begins again at the end.
        """

    async def put_due(self, saga_id: str, version: int, at_ms: int) -> bool:
        """Gives a saga a wake-up if it has none and is still at this version; whether it did."""

    async def retire(self, *, limit: int, expected_ms: int | None = None, tolerance_ms: int = 0) -> int:
        """Removes sagas whose retention has passed, whole; how many. Does nothing while the clock is off."""

    async def close(self) -> None:
        """Gives up the connections."""


class MessagePublisher(Protocol):
    """Sends messages in batches. See `countermand.wire.Publisher`."""

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """One outcome for each message, in their order."""


class MessageSource(Protocol):
    """Brings messages in natural batches. See `countermand.wire.Consumer`."""

    async def next_batch(self, limit: int) -> list[Delivery]:
        """Waits for one message, then brings whatever waits, at most `limit`."""

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Settles deliveries: they never come again."""

    async def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        """Moves deliveries to the dead-letter queue."""

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Gives deliveries back to the broker, which brings them again a limited number of times."""
