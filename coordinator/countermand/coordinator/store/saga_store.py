"""Sagas in Redis or Valkey.

One partition's keys share a hash tag; every change of a saga is one script (`scripts/*.lua`), so state, history,
wake-up and indexes never disagree (invariant I10). A batch is one round trip.
"""

import contextlib
from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec

from countermand.coordinator.core.evolve import wake_at
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import EVERYTHING, SagaState
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
from countermand.coordinator.store.connection import Call, connect, run_all, store_errors
from countermand.coordinator.store.gate_store import RedisGateStore
from countermand.coordinator.store.indexes import PHASES_IN_MOTION, index_entries
from countermand.coordinator.store.keys import Keys
from countermand.coordinator.store.listing import RedisListing
from countermand.coordinator.store.parts import WHOLE_FIELDS_MAX, may_be_retired, read_parts, stored_parts
from countermand.coordinator.store.registry import RedisRegistry
from countermand.coordinator.store.scripts import CLAIM_DUE, COMMIT, LOAD, PUT_DUE, RETIRE, SAVE_DEFINITION, SETTLE
from countermand.schemas.definition import Definition, canonical, decode_definition, definition_hash
from countermand.schemas.errors import InvariantViolated, SagaUnreadable, StoreUnavailable
from countermand.schemas.messages import AnnounceMessage

Durability = Literal["memory", "fsync", "replicated"]

# How long a write may wait for the disk or for the replicas before it counts as uncertain.
DURABLE_TIMEOUT_MS: Final = 5_000

_state_encoder = msgspec.msgpack.Encoder()
_state_decoder = msgspec.msgpack.Decoder(SagaState)
_record_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(Record)


class RedisSagaStore:
    """The saga store on Redis 7 or newer, or Valkey.

    `durability` says what a commit waits for: `memory` for nothing but the server's own settings, `fsync` also for the
    server's `WAITAOF` where `waitaof` says that it has one (`appendfsync always` does the same without asking),
    `replicated` for one replica at least.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        partitions: int,
        retention_ms: int,
        timeout_s: float = 5.0,
        durability: Durability = "memory",
        waitaof: bool = False,
        replicas: int = 1,
        whole_fields_max: int = WHOLE_FIELDS_MAX,
    ) -> None:
        self.keys = Keys(namespace, partitions)
        self.client = connect(url, timeout_s=timeout_s)
        self._listing = RedisListing(self.client, self.keys)
        self._registry = RedisRegistry(self.client, self.keys)
        self.gates = RedisGateStore(self.client, self.keys, self._run_durably)
        self._retention_ms = retention_ms
        self._whole_fields_max = whole_fields_max
        self._durable: list[tuple[str | int, ...]] = []
        self._durable_copies = 0
        if durability == "replicated":
            self._durable, self._durable_copies = [("WAIT", replicas, DURABLE_TIMEOUT_MS)], replicas
        elif durability == "fsync" and waitaof:
            self._durable, self._durable_copies = [("WAITAOF", 1, 0, DURABLE_TIMEOUT_MS)], 1
        self._walk: list[tuple[int, str, int]] = []
        self._walk_at = 0

    async def close(self) -> None:
        await self.client.aclose()

    async def now_ms(self) -> int:
        async with store_errors():
            seconds, microseconds = await self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def ping(self) -> None:
        """Returns if the server serves. Raises StoreUnavailable, also while it loads its data."""
        async with store_errors():
            await self.client.ping()

    # --- sagas

    async def load(self, saga_ids: Sequence[str]) -> list[Loaded | None]:
        found = await self.load_parts([(saga_id, EVERYTHING) for saga_id in saga_ids])
        return [None if loaded is None else Loaded(loaded.saga.whole(), loaded.guard) for loaded in found]

    async def load_parts(self, wanted: Sequence[tuple[str, frozenset[str] | None]]) -> list[Loaded | None]:
        answers = await self._read(wanted)
        return [
            None if answer[0] == b"none" else _loaded(saga_id, *_fields(answer, parts))
            for (saga_id, parts), answer in zip(wanted, answers, strict=True)
        ]

    async def _readable(self, saga_ids: Sequence[str]) -> list[Loaded]:
        """Those of the sagas that are there and can be read, as far as their states."""
        readable: list[Loaded] = []
        answers = await self._read([(saga_id, None) for saga_id in saga_ids])
        for saga_id, answer in zip(saga_ids, answers, strict=True):
            # One damaged saga must not hide the others from a list; loading it by its id says what is wrong.
            with contextlib.suppress(SagaUnreadable):
                readable += [] if answer[0] == b"none" else [_loaded(saga_id, *_fields(answer, None))]
        return readable

    async def _read(self, wanted: Sequence[tuple[str, frozenset[str] | None]]) -> list[list[bytes]]:
        calls = [
            Call(LOAD, (self.keys.saga(saga_id),), _load_arguments(parts, self._whole_fields_max))
            for saga_id, parts in wanted
        ]
        answers, _ = await run_all(self.client, calls)
        return answers

    async def commit(self, commits: Sequence[Commit]) -> list[CommitAnswer]:
        calls = [self._commit_call(commit) for commit in commits]
        answers, durable = await run_all(self.client, calls, after=self._durable)
        self._require_durable(durable)
        return [_commit_answer(answer) for answer in answers]

    async def _run_durably(self, calls: Sequence[Call]) -> list[Any]:
        answers, durable = await run_all(self.client, calls, after=self._durable)
        self._require_durable(durable)
        return answers

    def _require_durable(self, answers: list[Any]) -> None:
        for answer in answers:
            copies = answer[0] if isinstance(answer, list) else answer
            if copies < self._durable_copies:
                raise StoreUnavailable(f"a write reached {copies} of {self._durable_copies} durable copies in time")

    def _commit_call(self, commit: Commit) -> Call:
        saga, state = commit.saga, commit.saga.state
        partition = self.keys.partition(state.saga_id)
        fields: list[str | bytes] = []
        if commit.expected_version == 0:
            fields += ["i", bytes(saga.input)]
        if state.ended and saga.outcome is not None:
            fields += ["o", bytes(saga.outcome)]
        for name, value in stored_parts(commit.parts):
            fields += [name, value]
        return Call(
            COMMIT,
            (
                self.keys.saga(state.saga_id),
                self.keys.history(state.saga_id),
                self.keys.due(partition),
                self.keys.retire(partition),
                self.keys.catalogue(partition),
            ),
            (
                state.saga_id,
                str(commit.expected_version),
                str(state.version),
                commit.token,
                _state_encoder.encode(state),
                "" if commit.wake_at_ms is None else str(commit.wake_at_ms),
                "" if commit.guard_ms is None else str(commit.guard_ms),
                msgspec.json.encode(index_entries(state)),
                self.keys.index_prefix(partition),
                str(self._retention_ms) if may_be_retired(commit) else "",
                str(len(fields)),
                *fields,
                *(_record_encoder.encode(record) for record in commit.records),
            ),
        )

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        calls = [
            Call(
                SETTLE,
                (self.keys.saga(each.saga_id), self.keys.due(self.keys.partition(each.saga_id))),
                (each.saga_id, str(each.version)),
            )
            for each in settlements
        ]
        await run_all(self.client, calls)

    async def claim_due(
        self, *, limit: int, lease_ms: int, expected_ms: int | None, tolerance_ms: int
    ) -> Claimed | ClockJumped:
        share = max(1, limit // self.keys.partitions)
        expected = "" if expected_ms is None else str(expected_ms)
        calls = [
            Call(CLAIM_DUE, (self.keys.due(partition),), (share, lease_ms, expected, tolerance_ms))
            for partition in range(self.keys.partitions)
        ]
        answers, _ = await run_all(self.client, calls)
        now_ms = max(int(answer[0]) for answer in answers)
        ids = [item.decode() for answer in answers if answer[1] == b"claimed" for item in answer[2:]]
        if expected_ms is not None and any(answer[1] == b"jumped" for answer in answers):
            return ClockJumped(now_ms, expected_ms)
        return Claimed(now_ms, tuple(ids))

    async def history(self, saga_id: str, *, start: int = 0, limit: int = 1_000) -> list[Record]:
        if limit < 1:
            return []  # Redis would take the last entry before the first one for the last one of all.
        async with store_errors():
            stop = start + limit - 1
            entries = await self.client.lrange(self.keys.history(saga_id), start, -1 if start < 0 <= stop else stop)
        return [_record_decoder.decode(entry) for entry in entries]

    # --- listing

    async def sagas(self, query: SagaQuery) -> SagaPage:
        return await self._listing.sagas(query)

    async def counts(self, query: SagaQuery) -> dict[str, int]:
        return await self._listing.counts(query)

    async def stuck_groups(self) -> list[StuckGroup]:
        return await self._listing.stuck_groups()

    async def census(self) -> Census:
        return await self._listing.census()

    # --- definitions

    async def save_definition(self, definition: Definition) -> SavedDefinition | DefinitionTaken:
        identity = definition_hash(definition)
        keys = tuple(self.keys.definitions(part) for part in ("documents", "names", "newest"))
        call = Call(SAVE_DEFINITION, keys, (identity, canonical(definition), definition.name, str(definition.version)))
        ((answer,), durable) = await run_all(self.client, [call], after=self._durable)
        self._require_durable(durable)
        return SavedDefinition(identity) if answer[0] == b"saved" else DefinitionTaken(answer[1].decode())

    async def definition(self, definition_hash: str) -> Definition | None:
        async with store_errors():
            document = await self.client.hget(self.keys.definitions("documents"), definition_hash)
        return None if document is None else decode_definition(cast("bytes", document))

    async def definition_hash(self, name: str, version: int | None) -> str | None:
        async with store_errors():
            if version is None:
                newest = await self.client.hget(self.keys.definitions("newest"), name)
                if newest is None:
                    return None
                version = int(cast("bytes", newest))
            label = f"{name}@{version}"
            identity = await self.client.hget(self.keys.definitions("names"), label)
        return None if identity is None else cast("bytes", identity).decode()

    async def definitions(self) -> list[Definition]:
        async with store_errors():
            documents = await self.client.hvals(self.keys.definitions("documents"))
        return sorted(
            (decode_definition(cast("bytes", each)) for each in documents), key=lambda each: (each.name, each.version)
        )

    # --- participants

    async def announce(self, *messages: AnnounceMessage) -> None:
        await self._registry.announce(*messages)

    async def participants(self) -> list[Announced]:
        return await self._registry.participants()

    async def forget_participants(self, *, unseen_ms: int, limit: int) -> int:
        return await self._registry.forget_participants(unseen_ms=unseen_ms, limit=limit)

    # --- housekeeping

    async def sleepers(self, *, limit: int) -> list[str]:
        if self._walk_at >= len(self._walk):
            self._walk = [
                (partition, phase, 0) for partition in range(self.keys.partitions) for phase in PHASES_IN_MOTION
            ]
            self._walk_at = 0
        partition, phase, offset = self._walk[self._walk_at]
        async with store_errors():
            key = self.keys.index(partition, f"phase:{phase}")
            found = cast("list[bytes]", await self.client.zrange(key, offset, offset + limit - 1))
            members = [each.decode() for each in found]
            scores = await self.client.zmscore(self.keys.due(partition), members) if members else []
        if len(members) < limit:
            self._walk_at += 1
        else:
            self._walk[self._walk_at] = (partition, phase, offset + limit)
        asleep = [saga_id for saga_id, score in zip(members, scores, strict=True) if score is None]
        return [
            each.saga.state.saga_id
            for each in (await self._readable(asleep) if asleep else [])
            if wake_at(each.saga.state) is not None
        ]

    async def put_due(self, saga_id: str, version: int, at_ms: int) -> bool:
        keys = (self.keys.saga(saga_id), self.keys.due(self.keys.partition(saga_id)))
        ((answer,), _) = await run_all(self.client, [Call(PUT_DUE, keys, (saga_id, str(version), str(at_ms)))])
        return bool(answer)

    async def retire(self, *, limit: int, expected_ms: int | None = None, tolerance_ms: int = 0) -> int:
        expected = "" if expected_ms is None else str(expected_ms)
        calls = [
            Call(
                RETIRE,
                (self.keys.retire(partition), self.keys.due(partition)),
                (limit, self.keys.prefix(partition), expected, tolerance_ms),
            )
            for partition in range(self.keys.partitions)
        ]
        answers, _ = await run_all(self.client, calls)
        return sum(answers)


def _load_arguments(parts: frozenset[str] | None, whole_fields_max: int) -> tuple[str | int, ...]:
    if parts is None:
        return (whole_fields_max,)
    return (whole_fields_max, *sorted(parts)) if parts else (-1,)


def _fields(answer: list[bytes], parts: frozenset[str] | None) -> tuple[dict[bytes, bytes], frozenset[str] | None]:
    """The fields that were loaded, and which were looked for; null if all are there."""
    kind, *values = answer
    if kind == b"whole":
        return dict(zip(values[::2], values[1::2], strict=True)), None
    wanted = parts or frozenset()
    names = [b"v", b"s", b"g", *(name.encode() for name in sorted(wanted))]
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}, wanted


def _loaded(saga_id: str, fields: dict[bytes, bytes], looked_for: frozenset[str] | None) -> Loaded:
    try:
        state = _state_decoder.decode(fields[b"s"])
        input_ = fields[b"i"] if looked_for is None else fields.get(b"i", b"")
        saga = read_parts(state, input_, fields, looked_for)
    except (KeyError, msgspec.DecodeError) as error:
        raise SagaUnreadable(saga_id, f"{type(error).__name__}: {error}") from error
    guard = fields.get(b"g")
    return Loaded(saga, None if guard is None else int(guard))


def _commit_answer(answer: list[bytes]) -> CommitAnswer:
    match answer[0]:
        case b"committed":
            return Committed(int(answer[1]) if answer[1] else None)
        case b"mine":
            return Committed()
        case b"conflict":
            return Conflict(int(answer[1]))
        case other:
            raise InvariantViolated(f"the commit script answered {other!r}")
