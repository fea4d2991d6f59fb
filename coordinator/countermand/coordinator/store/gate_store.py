"""Gates and mailboxes in Redis or Valkey: one hash each, in the partition of its id, changed by one script.

What nobody holds or waits for any more is forgotten by the server itself, at the moment that the state names.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from countermand.coordinator.gates.gate import Gate
from countermand.coordinator.gates.ports import Aggregate, Change, Stored, lock_place
from countermand.coordinator.store.connection import Call, store_errors
from countermand.coordinator.store.keys import Keys
from countermand.coordinator.store.scripts import GATE_COMMIT
from countermand.schemas.errors import SagaUnreadable

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Aggregate)

# Runs scripts as durably as the store has been told to.
RunDurably = Callable[[Sequence[Call]], Awaitable[list[Any]]]


class RedisGateStore:
    """The gates and mailboxes of one namespace. `run_durably` is the saga store's way of making a commit last."""

    def __init__(self, client: Redis, keys: Keys, run_durably: RunDurably) -> None:
        self._client = client
        self._keys = keys
        self._run_durably = run_durably

    async def load(self, targets: Sequence[str]) -> list[Stored | None]:
        async with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for target in targets:
                pipe.hmget(self._keys.gate(target), "v", "s")
            found: list[list[bytes | None]] = await pipe.execute()
        return [_stored(target, *fields) for target, fields in zip(targets, found, strict=True)]

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        return [bool(answer) for answer in await self._run_durably([self._call(change) for change in changes])]

    def _call(self, change: Change) -> Call:
        expires_ms, place_ms = change.state.expires_ms(), lock_place(change.state)
        return Call(
            GATE_COMMIT,
            (self._keys.gate(change.target), self._keys.locks(self._keys.partition(change.target))),
            (
                change.target,
                str(change.expected_version),
                str(change.version),
                change.token,
                _encoder.encode(change.state),
                "" if expires_ms is None else str(expires_ms),
                "" if place_ms is None else str(place_ms),
            ),
        )

    async def locks(self, *, limit: int) -> list[Gate]:
        async with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in range(self._keys.partitions):
                pipe.zrange(self._keys.locks(partition), 0, limit - 1, withscores=True)
            found: list[list[tuple[bytes, float]]] = await pipe.execute()
        places = sorted((score, target.decode()) for part in found for target, score in part)[:limit]
        loaded = await self.load([target for _, target in places]) if places else []
        return [each.state for each in loaded if each is not None and isinstance(each.state, Gate)]


def _stored(target: str, version: bytes | None, state: bytes | None) -> Stored | None:
    if version is None:
        return None
    try:
        return Stored(int(version), _decoder.decode(state or b""))
    except msgspec.DecodeError as error:
        raise SagaUnreadable(target, f"{type(error).__name__}: {error}") from error
