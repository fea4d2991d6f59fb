"""An inbox in this process's memory, for tests and for participants that may forget.

Promises, while the process lives: at most one attempt of a key runs at a time; an outcome is replayed and never
executed again; nothing is begun after its compensation; a compensation without an action succeeds. A second attempt
that meets a running one is answered `failed` with `in_progress`.

Doesn't promise anything after the process ends, and, like every inbox without a transaction, runs a handler that
failed again: handlers must be idempotent by `context.key`. One event loop only.
"""

from typing import Final

import msgspec

from countermand.participants.barrier import Clock, Rows, check_low_water_mark, now_ms
from countermand.participants.inboxes.marking import EMPTY, MarkedEntry, Record, Swapped
from countermand.schemas.messages import CommandMessage

# The holder is in this process and always lets go: this only says when to ask again.
BUSY_FOR_MS: Final = 1_000


class MemoryInbox:
    """An `Inbox` in memory; several participants of one process may share it."""

    hands_transaction = False

    def __init__(self, *, clock: Clock = now_ms) -> None:
        self._clock = clock
        self._records: dict[tuple[str, str], tuple[Record, int]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def enter(self, command: CommandMessage, *, expired: bool) -> MarkedEntry:
        return MarkedEntry(self, command, expired=expired)

    async def read(self, saga_id: str, step: str) -> Record:
        record, _ = self._records.get((saga_id, step), (EMPTY, 0))
        return record

    async def swap(self, saga_id: str, step: str, *, expected: str, token: str, rows: Rows, hold: bool) -> Swapped:
        present, _ = self._records.get((saga_id, step), (EMPTY, 0))
        if present.token != expected:
            return Swapped(done=False, record=present)
        record = Record(msgspec.structs.replace(rows, busy_for_ms=BUSY_FOR_MS if hold else 0), token)
        self._records[saga_id, step] = (record, self._clock())
        return Swapped(done=True, record=record)

    async def clean_up(self, before_ms: int, *, however_young: bool = False) -> int:
        """Delete the keys that were last changed before this moment; returns how many. See `Inbox.clean_up`."""
        check_low_water_mark(before_ms, self._clock(), however_young=however_young)
        old = [
            key for key, (record, at_ms) in self._records.items() if at_ms < before_ms and record.rows.busy_for_ms == 0
        ]
        for key in old:
            del self._records[key]
        return len(old)

    async def close(self) -> None:
        """Nothing to give back."""
