"""An inbox in the participant's own SQL database: SQLite (aiosqlite) or PostgreSQL (asyncpg).

Promises: a command's effect happens exactly once and never after its compensation, because the row and the business
effect commit in one transaction. The handler gets that transaction as `context.transaction`, an `AsyncSession`. What
it does through that session is kept if and only if its outcome is: a failure, a rejection, a crash or a lost connection
undoes both, and a failure says so (`rolled_back`). What it does elsewhere (a call to another service) is not covered.

How decisions about one key are kept apart: whoever comes first inserts the row of `do`, a compensation too. Anyone
else waits at the unique index until that transaction ends (PostgreSQL), then locks the row and reads the outcome. In
SQLite every transaction begins with BEGIN IMMEDIATE, so that writers stand in line: within the process at a lock of
this inbox, between processes for up to `busy_timeout_ms`. One slow handler keeps a whole SQLite database waiting.

The handler flushes and queries as it likes and leaves `commit` and `rollback` alone: `session.commit()` only flushes
here, and a handler that ends the transaction by other means fails with `TransactionEnded`. A transaction takes one
connection of the pool for as long as its handler runs, and a command that waits for another one takes one as well.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from sqlalchemy import Table, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, AsyncTransaction, async_sessionmaker
from sqlalchemy.pool import StaticPool

from countermand.participants.barrier import (
    BEGUN,
    Answer,
    Clock,
    Proceed,
    Recorded,
    Row,
    RowDirection,
    Rows,
    Verdict,
    admit,
    answer_to,
    check_low_water_mark,
    now_ms,
    recorded,
)
from countermand.participants.errors import TransactionEnded
from countermand.participants.inboxes.sql_table import (
    CLEAN_UP_ROWS,
    DEFAULT_TABLE,
    Statements,
    columns_of,
    create_tables,
    inbox_table,
    row_of,
)
from countermand.schemas.errors import InvariantViolated, SettingsError, StoreUnavailable
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import CommandMessage, Rejected

__all__ = ["SqlAlchemyInbox", "SqlEntry", "create_tables", "inbox_table"]

# Longer than any honest transaction; a command's own deadline usually comes first.
BUSY_TIMEOUT_MS: Final = 10_000


class SqlAlchemyInbox:
    """An `Inbox` in the database of this engine, whose table must exist (`create_tables`, or your migrations).

    `sessions` makes the sessions that handlers get, if they need a class or options of their own. SQLite databases
    are set to WAL and to wait `busy_timeout_ms` for a writer in another process.

    Raises:
        SettingsError: another database than SQLite or PostgreSQL, or an SQLite database in memory.
    """

    hands_transaction = True

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        table: Table = DEFAULT_TABLE,
        sessions: async_sessionmaker[AsyncSession] | None = None,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        clock: Clock = now_ms,
    ) -> None:
        self._engine = engine
        self.statements = Statements(engine, table)
        self._sessions = sessions or async_sessionmaker(expire_on_commit=False)
        self.clock = clock
        self._sqlite = engine.dialect.name == "sqlite"
        # SQLite has one writer at a time. Standing in line here is fair and immediate; its own waiting is a poll.
        self._line: contextlib.AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if self._sqlite else contextlib.nullcontext()
        )
        if self._sqlite:
            _set_up_sqlite(engine, busy_timeout_ms)

    @contextlib.asynccontextmanager
    async def enter(self, command: CommandMessage, *, expired: bool) -> AsyncIterator["SqlEntry"]:
        async with self._line, _connected(self._engine) as connection:
            entry = SqlEntry(self, connection, command)
            try:
                try:
                    await entry.begin(expired=expired)
                except (SQLAlchemyError, OSError) as error:
                    raise _unavailable(error) from error
                yield entry
            finally:
                await entry.end()

    async def begin(self, connection: AsyncConnection) -> AsyncTransaction:
        """Begin a transaction that no other writer of the same key can overtake."""
        transaction = await connection.begin()
        if self._sqlite:
            # The driver would put off BEGIN until the first write, and then begin without the writer's lock.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if not driver.in_transaction:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
        return transaction

    def session(self, connection: AsyncConnection) -> AsyncSession:
        """A session inside the connection's transaction, which it can undo but not commit."""
        return self._sessions(bind=connection, join_transaction_mode="rollback_only")

    async def clean_up(self, before_ms: int, *, however_young: bool = False) -> int:
        """Delete the rows of keys that were last changed before this moment; returns how many rows.

        Deletes in small transactions, so it can run beside the work. See `Inbox.clean_up`.
        """
        check_low_water_mark(before_ms, self.clock(), however_young=however_young)
        deleted, count = 0, CLEAN_UP_ROWS
        while count == CLEAN_UP_ROWS:
            async with self._line, _connected(self._engine) as connection:
                transaction = await self.begin(connection)
                count = (await connection.execute(self.statements.delete, {"before_ms": before_ms})).rowcount
                await transaction.commit()
            deleted += count
        return deleted

    async def close(self) -> None:
        """Nothing to give back: the engine is its owner's."""


class SqlEntry:
    """One command's stay, which is one transaction; an `Entry`."""

    def __init__(self, inbox: SqlAlchemyInbox, connection: AsyncConnection, command: CommandMessage) -> None:
        self._inbox = inbox
        self._connection = connection
        self._direction: Direction = command.direction
        self._key = {"saga_id": command.saga_id, "step": command.key_name}
        self._transaction: AsyncTransaction | None = None
        self._session: AsyncSession | None = None
        self._verdict: Verdict | None = None
        # What the transaction has in the table, and what the verdict allows to be made of it.
        self._stored = self._admitted = Rows()
        self._commit_sent = False

    @property
    def verdict(self) -> Verdict:
        if self._verdict is None:
            raise InvariantViolated("the inbox was not entered")
        return self._verdict

    @property
    def transaction(self) -> Any:
        """The `AsyncSession` for the handler, if the verdict lets it proceed."""
        return self._session

    @property
    def rolled_back(self) -> bool:
        # Once COMMIT has been sent only its answer tells; and if the handler ended the transaction, nobody knows how.
        return not self._commit_sent and self._transaction is not None and self._transaction.is_active

    async def begin(self, *, expired: bool) -> None:
        """Begin the transaction, take the key and decide. What needs no handler is committed at once."""
        self._transaction = await self._inbox.begin(self._connection)
        admission = admit(await self._take_key(), self._direction, expired=expired)
        self._verdict = admission.verdict
        if admission.rows is None:
            await self._transaction.rollback()
            return
        self._admitted = admission.rows
        if isinstance(admission.verdict, Proceed):
            self._session = self._inbox.session(self._connection)
        else:
            await self._commit(admission.rows)

    async def record(self, outcome: Recorded) -> Answer:
        """Commit the outcome together with what the handler did; a rejection without it."""
        # A probe only looks: what it found is kept before anybody else gets the key.
        if isinstance(outcome, Rejected) and self._direction != "probe":
            return await self._record_rejection(outcome)
        if self._session is not None:
            await self._session.flush()
        if self._transaction is None or not self._transaction.is_active:
            raise TransactionEnded("the handler ended the transaction; leave commit and rollback to the inbox")
        await self._commit(recorded(self._admitted, self._direction, outcome))
        return Answer(outcome)

    async def end(self) -> None:
        """Undo what wasn't committed."""
        if self._session is not None:
            await self._session.close()
        if self._connection.in_transaction():
            await self._connection.rollback()

    async def _record_rejection(self, outcome: Rejected) -> Answer:
        """Undo what the handler did and record the rejection, unless somebody took the key in between."""
        await self.end()
        self._session = None
        self._transaction = await self._inbox.begin(self._connection)
        admission = admit(await self._take_key(), self._direction, expired=False)
        if isinstance(admission.verdict, Proceed):
            await self._commit(recorded(self._admitted, self._direction, outcome))
            return Answer(outcome)
        await self._transaction.rollback()
        return answer_to(admission.verdict)

    async def _take_key(self) -> Rows:
        """Keep everybody else from this key until the transaction ends; the rows as they were before."""
        statements, connection = self._inbox.statements, self._connection
        claim = {**self._key, "recorded_at_ms": self._inbox.clock()}
        if (await connection.execute(statements.claim, claim)).rowcount == 1:
            self._stored = Rows(do=BEGUN)
            return Rows()
        # Somebody was here before. The second question is asked after the lock is ours, so that its answer is current.
        do = (await connection.execute(statements.lock_do, self._key)).first()
        undo = (await connection.execute(statements.read_undo, self._key)).first()
        self._stored = Rows(do=row_of(do), undo=row_of(undo))
        return self._stored

    async def _commit(self, rows: Rows) -> None:
        await self._store("do", self._stored.do, rows.do)
        await self._store("undo", self._stored.undo, rows.undo)
        self._commit_sent = True
        if self._transaction is not None:
            await self._transaction.commit()

    async def _store(self, direction: RowDirection, stored: Row | None, row: Row | None) -> None:
        # The row of `do` is written again with that of `undo`: a clean-up takes both or neither.
        if row is not None and (row != stored or direction != self._direction):
            values = {**self._key, "direction": direction, **columns_of(row), "recorded_at_ms": self._inbox.clock()}
            await self._connection.execute(self._inbox.statements.put, values)


@contextlib.asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    connection = engine.connect()
    try:
        await connection.start()
    except (SQLAlchemyError, OSError) as error:
        raise _unavailable(error) from error
    try:
        yield connection
    finally:
        await connection.close()


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the inbox's database does not answer or refuses: {type(error).__name__}")


def _set_up_sqlite(engine: AsyncEngine, busy_timeout_ms: int) -> None:
    if isinstance(engine.pool, StaticPool) or "memory" in str(engine.url.query.get("mode", "")):
        raise SettingsError("engine: an SQLite database in memory has one connection for everybody; use a file")

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout_ms)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()
