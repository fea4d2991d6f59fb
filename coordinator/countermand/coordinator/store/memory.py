"""Sagas in the memory of this process, for tests: everything that the port promises but durability.

A saga is kept as bytes, as the real store keeps it, so that nobody can share a state with the store by mistake. Nothing
here awaits: a method runs to its end before another begins, which makes each one the atomic step that a script is.
"""

from collections.abc import Callable, Sequence

import msgspec

from countermand.coordinator.core.evolve import wake_at
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import EVERYTHING, INPUT, OUTCOME, SagaState
from countermand.coordinator.ports import (
    Announced,
    Census,
    Claimed,
    ClockJumped,
    Commit,
    CommitAnswer,
    Committed,
    Conflict,
    DefinitionTaken,
    Loaded,
    SagaPage,
    SagaQuery,
    SavedDefinition,
    Settlement,
    StuckGroup,
)
from countermand.coordinator.store.indexes import PHASES_IN_MOTION, Entry, index_entries
from countermand.coordinator.store.memory_gates import MemoryGateStore
from countermand.coordinator.store.memory_listing import MemoryListing
from countermand.coordinator.store.memory_registry import MemoryRegistry
from countermand.coordinator.store.parts import WHOLE_FIELDS_MAX, may_be_retired, read_parts, stored_parts
from countermand.schemas.definition import Definition, canonical, decode_definition, definition_hash
from countermand.schemas.messages import AnnounceMessage

_state_encoder = msgspec.msgpack.Encoder()
_state_decoder = msgspec.msgpack.Decoder(SagaState)
_record_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(Record)


class _Row(msgspec.Struct):
    """What the real store's hash holds of one saga."""

    input: bytes
    version: int = 0
    token: str = ""
    state: bytes = b""
    wake_at_ms: int | None = None
    guard: int | None = None
    index: list[Entry] = []
    parts: dict[str, bytes] = {}


class MemorySagaStore:
    """The saga store without a server. `now_ms` is its clock; it can be moved at will."""

    def __init__(
        self, *, retention_ms: int, now_ms: Callable[[], int], whole_fields_max: int = WHOLE_FIELDS_MAX
    ) -> None:
        self._retention_ms = retention_ms
        self._whole_fields_max = whole_fields_max
        self._now_ms = now_ms
        self._registry = MemoryRegistry(now_ms)
        self.gates = MemoryGateStore(now_ms)
        self._rows: dict[str, _Row] = {}
        self._histories: dict[str, list[bytes]] = {}
        self._due: dict[str, int] = {}
        self._retire: dict[str, int] = {}
        self._indexes: dict[str, dict[str, int]] = {}
        self._listing = MemoryListing(self._indexes, self._state_of)
        self._documents: dict[str, bytes] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._walk: list[str] = []

    async def close(self) -> None:
        """There is nothing to give up."""

    async def now_ms(self) -> int:
        return self._now_ms()

    # --- sagas

    async def load(self, saga_ids: Sequence[str]) -> list[Loaded | None]:
        found = await self.load_parts([(saga_id, EVERYTHING) for saga_id in saga_ids])
        return [None if loaded is None else Loaded(loaded.saga.whole(), loaded.guard) for loaded in found]

    async def load_parts(self, wanted: Sequence[tuple[str, frozenset[str] | None]]) -> list[Loaded | None]:
        rows = [(self._rows.get(saga_id), parts) for saga_id, parts in wanted]
        return [None if row is None else _loaded(row, parts, self._whole_fields_max) for row, parts in rows]

    async def commit(self, commits: Sequence[Commit]) -> list[CommitAnswer]:
        return [self._commit(commit) for commit in commits]

    def _commit(self, commit: Commit) -> CommitAnswer:
        saga, state = commit.saga, commit.saga.state
        row = self._rows.get(state.saga_id) or _Row(bytes(saga.input))
        if row.version != commit.expected_version:
            return Committed() if row.token == commit.token else Conflict(row.version)
        encoded = _state_encoder.encode(state)
        records = [_record_encoder.encode(record) for record in commit.records]

        # From here on, writes only.
        taken_over = row.guard
        row.version, row.token, row.state, row.wake_at_ms = state.version, commit.token, encoded, commit.wake_at_ms
        if commit.guard_ms is not None and row.guard is None:
            row.guard = state.version
        row.parts = {**row.parts, **dict(stored_parts(commit.parts))}
        if state.ended and saga.outcome is not None:
            row.parts[OUTCOME] = bytes(saga.outcome)
        self._rows[state.saga_id] = row
        self._histories.setdefault(state.saga_id, []).extend(records)
        if commit.guard_ms is not None:
            self._put_due(state.saga_id, self._now_ms() + commit.guard_ms)
        elif row.guard is not None:
            self._due.setdefault(state.saga_id, self._now_ms())
        else:
            self._put_due(state.saga_id, commit.wake_at_ms)
        self._put_index(state.saga_id, row, index_entries(state))
        if may_be_retired(commit):
            self._retire[state.saga_id] = self._now_ms() + self._retention_ms
        return Committed(taken_over)

    def _put_due(self, saga_id: str, at_ms: int | None) -> None:
        if at_ms is None:
            self._due.pop(saga_id, None)
        else:
            self._due[saga_id] = at_ms

    def _put_index(self, saga_id: str, row: _Row, entries: list[Entry]) -> None:
        for entry in row.index:
            del self._indexes[entry.name][saga_id]
        for entry in entries:
            self._indexes.setdefault(entry.name, {})[saga_id] = entry.score
        row.index = entries

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        for each in settlements:
            row = self._rows.get(each.saga_id)
            if (0 if row is None else row.version) != each.version:
                continue
            if row is not None:
                row.guard = None
            self._put_due(each.saga_id, None if row is None else row.wake_at_ms)

    async def claim_due(
        self, *, limit: int, lease_ms: int, expected_ms: int | None, tolerance_ms: int
    ) -> Claimed | ClockJumped:
        now_ms = self._now_ms()
        if expected_ms is not None and abs(now_ms - expected_ms) > tolerance_ms:
            return ClockJumped(now_ms, expected_ms)
        due = sorted((at_ms, saga_id) for saga_id, at_ms in self._due.items() if at_ms <= now_ms)
        claimed = tuple(saga_id for _, saga_id in due[:limit])
        for saga_id in claimed:
            self._due[saga_id] = now_ms + lease_ms
        return Claimed(now_ms, claimed)

    def next_due_ms(self) -> int | None:
        """The next moment at which a saga is due; null if none ever is. For whoever moves the clock."""
        return min(self._due.values(), default=None)

    async def history(self, saga_id: str, *, start: int = 0, limit: int = 1_000) -> list[Record]:
        entries = self._histories.get(saga_id, [])
        first = start if start >= 0 else len(entries) + start
        return [_record_decoder.decode(entry) for entry in entries[max(0, first) : max(0, first + limit)]]

    # --- listing

    async def sagas(self, query: SagaQuery) -> SagaPage:
        return self._listing.sagas(query, self._labels())

    async def counts(self, query: SagaQuery) -> dict[str, int]:
        return self._listing.counts(query, self._labels())

    async def stuck_groups(self) -> list[StuckGroup]:
        return self._listing.stuck_groups()

    async def census(self) -> Census:
        return self._listing.census()

    def _state_of(self, saga_id: str) -> SagaState:
        return _state_decoder.decode(self._rows[saga_id].state)

    def _labels(self) -> list[tuple[str, int]]:
        return list(self._names)

    # --- definitions

    async def save_definition(self, definition: Definition) -> SavedDefinition | DefinitionTaken:
        identity = definition_hash(definition)
        taken = self._names.setdefault((definition.name, definition.version), identity)
        if taken != identity:
            return DefinitionTaken(taken)
        self._documents[identity] = canonical(definition)
        return SavedDefinition(identity)

    async def definition(self, definition_hash: str) -> Definition | None:
        document = self._documents.get(definition_hash)
        return None if document is None else decode_definition(document)

    async def definition_hash(self, name: str, version: int | None) -> str | None:
        newest = max((known for label, known in self._names if label == name), default=0)
        return self._names.get((name, newest if version is None else version))

    async def definitions(self) -> list[Definition]:
        return sorted(map(decode_definition, self._documents.values()), key=lambda each: (each.name, each.version))

    # --- participants

    async def announce(self, *messages: AnnounceMessage) -> None:
        await self._registry.announce(*messages)

    async def participants(self) -> list[Announced]:
        return await self._registry.participants()

    async def forget_participants(self, *, unseen_ms: int, limit: int) -> int:
        return await self._registry.forget_participants(unseen_ms=unseen_ms, limit=limit)

    # --- housekeeping

    async def sleepers(self, *, limit: int) -> list[str]:
        if not self._walk:
            self._walk = [saga_id for phase in PHASES_IN_MOTION for saga_id in self._indexes.get(f"phase:{phase}", {})]
        part, self._walk = self._walk[:limit], self._walk[limit:]
        rows = {saga_id: row for saga_id in part if (row := self._rows.get(saga_id)) and saga_id not in self._due}
        return [saga_id for saga_id, row in rows.items() if wake_at(_state_decoder.decode(row.state)) is not None]

    async def put_due(self, saga_id: str, version: int, at_ms: int) -> bool:
        row = self._rows.get(saga_id)
        if row is None or row.version != version or saga_id in self._due:
            return False
        self._due[saga_id] = at_ms
        return True

    async def retire(self, *, limit: int, expected_ms: int | None = None, tolerance_ms: int = 0) -> int:
        now_ms = self._now_ms()
        if expected_ms is not None and abs(now_ms - expected_ms) > tolerance_ms:
            return 0
        past = [saga_id for saga_id, at_ms in self._retire.items() if at_ms <= now_ms][:limit]
        for saga_id in past:
            self._put_index(saga_id, self._rows.pop(saga_id), [])
            del self._histories[saga_id], self._retire[saga_id]
            self._due.pop(saga_id, None)
        return len(past)


def _loaded(row: _Row, wanted: frozenset[str] | None, whole_fields_max: int) -> Loaded:
    state = _state_decoder.decode(row.state)
    if wanted == EVERYTHING or len(row.parts) <= whole_fields_max:
        parts, input_, looked_for = row.parts, row.input, None
    else:
        looked_for = wanted or frozenset()
        parts = {name: row.parts[name] for name in looked_for if name in row.parts}
        input_ = row.input if INPUT in looked_for else b""
    fields = {name.encode(): value for name, value in parts.items()}
    return Loaded(read_parts(state, input_, fields, looked_for), row.guard)
