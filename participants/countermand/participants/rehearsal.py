"""What a test kit may do to a participant: give it another clock, and end its process at a bad moment.

Nothing here runs in production. The kit raises its own exception at a moment; as that is no `Exception`, everything on
the way behaves as it does when the process dies: a transaction is undone, a mark that an attempt began stays.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from countermand.participants.barrier import Answer, Entry, Inbox, Proceed, Recorded, Verdict
from countermand.schemas.messages import CommandMessage

# Before the handler runs, or after it has returned and before its outcome is kept.
Moment = Literal["before", "after"]
Interrupt = Callable[[CommandMessage, Moment], None]


class RehearsedInbox:
    """An inbox that calls `interrupt` at both moments of every command that is let proceed."""

    def __init__(self, inbox: Inbox, interrupt: Interrupt) -> None:
        self._inbox = inbox
        self._interrupt = interrupt

    @property
    def hands_transaction(self) -> bool:
        return self._inbox.hands_transaction

    @contextlib.asynccontextmanager
    async def enter(self, command: CommandMessage, *, expired: bool) -> AsyncIterator["RehearsedEntry"]:
        async with self._inbox.enter(command, expired=expired) as entry:
            if isinstance(entry.verdict, Proceed):
                self._interrupt(command, "before")
            yield RehearsedEntry(entry, command, self._interrupt)

    async def clean_up(self, before_ms: int, *, however_young: bool = False) -> int:
        return await self._inbox.clean_up(before_ms, however_young=however_young)

    async def close(self) -> None:
        await self._inbox.close()


class RehearsedEntry:
    """An entry of such an inbox."""

    def __init__(self, entry: Entry, command: CommandMessage, interrupt: Interrupt) -> None:
        self._entry = entry
        self._command = command
        self._interrupt = interrupt

    @property
    def verdict(self) -> Verdict:
        return self._entry.verdict

    @property
    def transaction(self) -> Any:
        return self._entry.transaction

    @property
    def rolled_back(self) -> bool:
        return self._entry.rolled_back

    async def record(self, outcome: Recorded) -> Answer:
        self._interrupt(self._command, "after")
        return await self._entry.record(outcome)
