"""Gates and mailboxes in the memory of this process, for tests: what `gate_store` keeps in Redis."""

from collections.abc import Callable, Sequence

import msgspec

from countermand.coordinator.gates.gate import Gate
from countermand.coordinator.gates.ports import Aggregate, Change, Stored, lock_place

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Aggregate)


class _Row(msgspec.Struct, frozen=True):
    version: int
    token: str
    state: bytes
    expires_ms: int | None


class MemoryGateStore:
    """Gates and mailboxes by their ids. `now_ms` is the store's clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._rows: dict[str, _Row] = {}

    async def load(self, targets: Sequence[str]) -> list[Stored | None]:
        self._forget()
        rows = [self._rows.get(target) for target in targets]
        return [None if row is None else Stored(row.version, _decoder.decode(row.state)) for row in rows]

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        self._forget()
        return [self._commit(change) for change in changes]

    def _commit(self, change: Change) -> bool:
        row = self._rows.get(change.target)
        if (0 if row is None else row.version) != change.expected_version:
            return row is not None and row.token == change.token
        state = change.state
        self._rows[change.target] = _Row(change.version, change.token, _encoder.encode(state), state.expires_ms())
        return True

    async def locks(self, *, limit: int) -> list[Gate]:
        self._forget()
        states = [_decoder.decode(row.state) for row in self._rows.values()]
        gates = [(place_ms, each) for each in states if (place_ms := lock_place(each)) is not None]
        gates.sort(key=lambda found: found[0])
        return [each for _, each in gates[:limit] if isinstance(each, Gate)]

    def _forget(self) -> None:
        """As the server does by itself."""
        now_ms = self._now_ms()
        past = [target for target, row in self._rows.items() if row.expires_ms is not None and row.expires_ms <= now_ms]
        for target in past:
            del self._rows[target]
