"""The barrier over a store that shares no transaction with the business effect.

Before a handler runs its key is marked as begun and held; afterwards the outcome replaces the mark. Both are one
compare-and-set of the key's record, so a store needs nothing but `swap`.

What is promised: at most one attempt of a key runs at a time, for as long as its holder is alive; an outcome that was
recorded is replayed and never executed again; nothing is begun after its compensation.

What can't be promised: that a handler's effect and the outcome are kept together. After a crash between the two, the
next attempt runs the handler again, and a compensation finds an action of which nobody knows how far it came. So
handlers must be idempotent by `context.key`, and compensations must cope with an action that was done in part.
"""

from types import TracebackType
from typing import Any, Final, Protocol, Self, assert_never

import msgspec

from countermand.participants.barrier import (
    Admission,
    Answer,
    Duplicate,
    Expired,
    InProgress,
    NotDone,
    NothingToUndo,
    Proceed,
    Recorded,
    RefusedCompensated,
    Rows,
    Verdict,
    admit,
    recorded,
)
from countermand.participants.logging import KEY_TAKEN_OVER, bound_logger
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.identifiers import new_secret
from countermand.schemas.messages import CommandMessage, Failed

# Each lost swap means that another attempt of the very same step moved on; a handful at once means a bug.
SWAPS_MAX: Final = 8


class Record(msgspec.Struct, frozen=True):
    """A key's rows as they stand in the store. `token` changes with every write; "" means there is no record."""

    rows: Rows = Rows()
    token: str = ""


class Swapped(msgspec.Struct, frozen=True):
    """Whether the record was replaced, and the one that stands now."""

    done: bool
    record: Record


class Shelf(Protocol):
    """A store of records."""

    async def read(self, saga_id: str, step: str) -> Record:
        """The record of a key; an empty one if there is none."""

    async def swap(self, saga_id: str, step: str, *, expected: str, token: str, rows: Rows, hold: bool) -> Swapped:
        """Replace the record if its token is the expected one. `hold` keeps the key busy until the next swap, or
        until the store concludes that the holder is dead."""


EMPTY: Final = Record()


class MarkedEntry:
    """One command's stay; an `Entry`."""

    __slots__ = ("_command", "_record", "_shelf", "_verdict", "_wants_expired")

    transaction: Any = None
    # A handler outside a transaction may have had effects, however it ended.
    rolled_back = False

    def __init__(self, shelf: Shelf, command: CommandMessage, *, expired: bool) -> None:
        self._shelf = shelf
        self._command = command
        self._wants_expired = expired
        self._verdict: Verdict | None = None
        # The record that holds the key for us; None: nothing is held.
        self._record: Record | None = None

    @property
    def verdict(self) -> Verdict:
        if self._verdict is None:
            raise InvariantViolated("the inbox was not entered")
        return self._verdict

    async def __aenter__(self) -> Self:
        command, record = self._command, EMPTY
        known = False
        for _ in range(SWAPS_MAX):
            admission = admit(record.rows, command.direction, expired=self._wants_expired)
            if admission.rows is None:
                if known:
                    self._verdict = admission.verdict
                    return self
                record, known = await self._shelf.read(command.saga_id, command.key_name), True
                continue
            # The first guess is that nothing is on record: it is true of nearly every action, and saves a question.
            swapped = await self._write(record, admission)
            if swapped.done:
                return self
            record, known = swapped.record, True
        raise InvariantViolated(f"{command.key}: {SWAPS_MAX} writes in a row met another one")

    async def _write(self, record: Record, admission: Admission) -> Swapped:
        command, token = self._command, new_secret()
        rows = admission.rows or Rows()
        hold = isinstance(admission.verdict, Proceed)
        swapped = await self._shelf.swap(
            command.saga_id, command.key_name, expected=record.token, token=token, rows=rows, hold=hold
        )
        if swapped.done:
            self._verdict = admission.verdict
            self._record = Record(rows, token) if hold else None
        return swapped

    async def record(self, outcome: Recorded) -> Answer:
        """Replace the mark by the outcome, if the key is still ours."""
        held, command = self._record, self._command
        if held is None:
            raise InvariantViolated(f"{command.key}: an outcome without leave to proceed")
        rows = recorded(held.rows, command.direction, outcome)
        swapped = await self._shelf.swap(
            command.saga_id, command.key_name, expected=held.token, token=new_secret(), rows=rows, hold=False
        )
        self._record = None
        return Answer(outcome) if swapped.done else self._taken_over(swapped.record.rows)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._record = self._record, None
        if held is None:
            return
        # The attempt failed. That it began stays on record, and whoever comes next needn't wait.
        command = self._command
        await self._shelf.swap(
            command.saga_id, command.key_name, expected=held.token, token=new_secret(), rows=held.rows, hold=False
        )

    def _taken_over(self, rows: Rows) -> Answer:
        """Somebody concluded that we were dead. What we did can't be recorded any more: it is unknown."""
        command = self._command
        verdict = admit(rows, command.direction, expired=False).verdict
        log = bound_logger(command)
        match verdict:
            case RefusedCompensated():
                # Only a handler that checks the key itself, or an operator, can still tell what is left.
                log.error(KEY_TAKEN_OVER, compensated=True)
            case Proceed() | Duplicate() | NothingToUndo() | NotDone() | InProgress() | Expired():
                log.warning(KEY_TAKEN_OVER, compensated=False)
            case unknown:
                assert_never(unknown)
        return Answer(Failed("taken_over", "another attempt took the key over before this one was done"))
