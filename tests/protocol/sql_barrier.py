"""The barrier played through the SQL files of docs/protocol alone, as a participant in another language would play it.

Nothing here knows a rule: the files decide, and the table of steps in docs/protocol.md says which statement comes next.
"""

import re
import sqlite3
from collections.abc import Mapping
from typing import Any, Final, Protocol

import asyncpg
import msgspec

from countermand.participants.barrier import (
    UNDO_IN_PROGRESS_RETRY_MS,
    Duplicate,
    Expired,
    InProgress,
    NotDone,
    NothingToUndo,
    Proceed,
    Recorded,
    RefusedCompensated,
    Verdict,
)
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Rejected, Succeeded
from support.files import ROOT

FOLDER: Final = ROOT / "docs" / "protocol" / "sql"
SQLITE_BUSY_S: Final = 10.0

_SECTION = re.compile(r"^-- \[(\w+)\]\n", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
_outcomes: msgspec.json.Decoder[Recorded] = msgspec.json.Decoder(Recorded)

Found = tuple[str, str, str | None]


def statements_of(dialect: str) -> dict[str, str]:
    """The statements of a file by their names."""
    parts = _SECTION.split((FOLDER / f"{dialect}.sql").read_text())
    return dict(zip(parts[1::2], (text.strip() for text in parts[2::2]), strict=True))


def numbered(statement: str) -> tuple[str, list[str]]:
    """With `$1` for `:name`, and the names in the order of their numbers."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    # The comments above a statement are for people, and may hold what looks like a parameter.
    code = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
    return _PARAMETER.sub(number, code), names


class Database(Protocol):
    """One connection, which sends what it is given."""

    async def run(self, statement: str, values: Mapping[str, Any]) -> list[Any]: ...

    async def ask(self, statement: str) -> list[Any]:
        """A statement of the tests' own, without parameters."""

    async def close(self) -> None: ...


class Sqlite:
    """Python's own driver, with its own transactions switched off."""

    dialect = "sqlite"

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=SQLITE_BUSY_S)
        self._connection.execute("PRAGMA journal_mode = WAL")

    async def run(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    async def ask(self, statement: str) -> list[Any]:
        return await self.run(statement, {})

    async def close(self) -> None:
        self._connection.close()


class Postgres:
    """asyncpg, by hand."""

    dialect = "postgresql"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, dsn: str) -> "Postgres":
        return cls(await asyncpg.connect(dsn.replace("+asyncpg", "")))

    async def run(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        code, names = numbered(statement)
        if not names:
            # Commands to the server itself, such as BEGIN, can't be prepared.
            await self._connection.execute(code)
            return []
        return [tuple(row) for row in await self._connection.fetch(code, *(values[name] for name in names))]

    async def ask(self, statement: str) -> list[Any]:
        return [tuple(row) for row in await self._connection.fetch(statement)]

    async def close(self) -> None:
        await self._connection.close()


class SqlBarrier:
    """One connection's barrier. `effect` is a statement that a handler runs in the barrier's transaction."""

    def __init__(self, database: Database, statements: Mapping[str, str], *, effect: str) -> None:
        self.database = database
        self._statements = statements
        self._effect = effect

    async def create_table(self) -> None:
        await self._run("create_table")
        if "create_index" in self._statements:
            await self._run("create_index")

    async def play(
        self, saga_id: str, step: str, direction: Direction, outcome: Recorded | None, *, expired: bool, now_ms: int
    ) -> Verdict:
        """One command from its arrival to its end; a handler that is let proceed comes to `outcome`; None: fails."""
        key = {"saga_id": saga_id, "step": step, "now_ms": now_ms}
        verdict = await self.enter(key, direction, expired=expired)
        await self.leave(key, direction, verdict, outcome)
        return verdict

    async def enter(self, key: Mapping[str, Any], direction: Direction, *, expired: bool) -> Verdict:
        if "isolate" in self._statements:
            await self._run("isolate")
        await self._run("begin")
        await self._run("claim", key)
        if "lock" in self._statements:
            await self._run("lock", key)
        (row,) = await self._run(f"verdict_{direction}", {**key, "expired": int(expired)})
        return _verdict(row, direction)

    async def leave(
        self, key: Mapping[str, Any], direction: Direction, verdict: Verdict, outcome: Recorded | None
    ) -> None:
        if isinstance(verdict, NothingToUndo):
            await self._run("bury", key)
            await self._record(key, "undo", Succeeded())
        elif isinstance(verdict, Proceed) and direction == "probe":
            await self._find_out(key, outcome)
        elif not isinstance(verdict, Proceed):
            await self._run("rollback")
        else:
            await self._handle(key, direction, outcome)

    async def _find_out(self, key: Mapping[str, Any], outcome: Recorded | None) -> None:
        """What a probe found: the action's result, that nothing was done, or nothing at all."""
        match outcome:
            case Succeeded():
                await self._record(key, "do", outcome)
            case Rejected():
                await self._run("bury", key)
                await self._run("touch", key)
                await self._run("commit")
            case None:
                await self._run("rollback")

    async def put(self, key: Mapping[str, Any], direction: Direction, state: str, outcome: Recorded | None) -> None:
        """Writes a row as it is, to begin a test from."""
        text = None if outcome is None else msgspec.json.encode(outcome).decode()
        await self._run("record", {**key, "direction": direction, "state": state, "outcome": text})

    async def clean_up(self, before_ms: int) -> None:
        await self._run("clean_up", {"before_ms": before_ms})

    async def _handle(self, key: Mapping[str, Any], direction: Direction, outcome: Recorded | None) -> None:
        await self._run("before_handler")
        await self.database.run(self._effect, {**key, "effect": f"{key['saga_id']}/{key['step']}/{direction}"})
        if outcome is None:
            await self._run("rollback")
            return
        if isinstance(outcome, Rejected):
            await self._run("undo_handler")
        await self._record(key, direction, outcome)

    async def _record(self, key: Mapping[str, Any], direction: Direction, outcome: Recorded) -> None:
        state = "rejected" if isinstance(outcome, Rejected) else "succeeded"
        await self.put(key, direction, state, outcome)
        await self._run("touch", key)
        await self._run("commit")

    async def _run(self, name: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        return await self.database.run(self._statements[name], values or {})


def _verdict(row: Found, direction: Direction) -> Verdict:
    word, found, outcome = row
    match word:
        case "refused_compensated":
            return RefusedCompensated()
        case "duplicate":
            return Duplicate(_outcomes.decode(outcome or ""))
        case "in_progress":
            return InProgress(UNDO_IN_PROGRESS_RETRY_MS)
        case "not_done":
            return NotDone()
        case "expired":
            return Expired(untouched=found == "claimed" and direction == "do")
        case "nothing_to_undo":
            return NothingToUndo()
        case "proceed" if direction != "undo":
            return Proceed(begun_before=found == "begun")
        case "proceed" if found == "succeeded":
            action = _outcomes.decode(outcome or "")
            assert isinstance(action, Succeeded)
            return Proceed(action.result, action_was_done=True)
        case "proceed":
            return Proceed()
        case _:
            raise AssertionError(f"the SQL says {word!r}, which is no verdict")
