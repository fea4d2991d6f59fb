"""What is particular to the inbox in SQL: the transaction that it lends."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from countermand.participants.barrier import Answer, Duplicate, Inbox, NothingToUndo, Proceed, RefusedCompensated
from countermand.participants.errors import TransactionEnded
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox
from countermand.schemas.errors import SettingsError, StoreUnavailable
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Rejected, Succeeded
from participants.orders import command
from participants.worlds import SqlWorld
from support import PostgresServer

pytestmark = pytest.mark.servers

DONE = Succeeded(msgspec.Raw(b'{"reservation_id":"r-1","pieces":2}'))
NO = Rejected("out_of_stock")


async def test_a_rejection_undoes_the_effect(sql_world: SqlWorld) -> None:
    """The participant vouches that nothing was done, so what the handler did before it said no is undone."""
    async with sql_world.inbox.enter(command(), expired=False) as entry:
        await sql_world.effect(entry, command())
        assert await entry.record(NO) == Answer(NO)
    assert await sql_world.effects() == []
    async with sql_world.inbox.enter(command(attempt=2), expired=False) as entry:
        assert entry.verdict == Duplicate(NO)


async def test_a_rejection_after_a_broken_statement(sql_world: SqlWorld) -> None:
    """A handler may let a constraint of the database decide, and say no when it is violated."""
    async with sql_world.inbox.enter(command(), expired=False) as entry:
        with pytest.raises(DBAPIError):
            await entry.transaction.execute(insert(sql_world.ledger).values(effect=None))
        assert await entry.record(NO) == Answer(NO)
    async with sql_world.inbox.enter(command(attempt=2), expired=False) as entry:
        assert entry.verdict == Duplicate(NO)


async def test_a_rejection_that_a_compensation_overtook(sql_world: SqlWorld) -> None:
    """Between undoing the effect and recording the rejection the key is free: who takes it then is heard."""
    other = sql_world.another_process()
    async with sql_world.inbox.enter(command(), expired=False) as entry:
        await sql_world.effect(entry, command())
        undo = asyncio.create_task(_enter(other, "undo"))
        await entry.end()
        assert await undo == NothingToUndo()
        answer = await entry.record(NO)
        assert isinstance(answer.outcome, Rejected)
        assert answer.outcome.code == "compensated"
    assert await sql_world.effects() == []


async def test_a_handler_s_commit_only_flushes(sql_world: SqlWorld) -> None:
    """A handler that commits out of habit doesn't break the promise: its effect still waits for its outcome."""
    async with sql_world.inbox.enter(command(), expired=False) as entry:
        await sql_world.effect(entry, command())
        await entry.transaction.commit()
    assert await sql_world.effects() == []
    async with sql_world.inbox.enter(command(attempt=2), expired=False) as entry:
        await sql_world.effect(entry, command())
        await entry.transaction.commit()
        assert await entry.record(DONE) == Answer(DONE)
    assert await sql_world.effects() == ["saga-1/reserve_stock/do"]


async def test_a_handler_that_rolls_back_has_no_outcome(sql_world: SqlWorld) -> None:
    """What it does after that is outside of the barrier's transaction, so it must not count as done."""
    async with sql_world.inbox.enter(command(), expired=False) as entry:
        await sql_world.effect(entry, command())
        await entry.transaction.rollback()
        await sql_world.effect(entry, command())
        assert not entry.rolled_back
        with pytest.raises(TransactionEnded):
            await entry.record(DONE)
    assert await sql_world.effects() == []
    assert await _enter(sql_world.inbox, "do") == Proceed()


async def test_a_failure_is_known_to_be_rolled_back(sql_world: SqlWorld) -> None:
    """Before COMMIT is sent it is certain that nothing will be left."""
    async with sql_world.inbox.enter(command(), expired=False) as entry:
        await sql_world.effect(entry, command())
        assert entry.rolled_back
        await entry.record(DONE)
        assert not entry.rolled_back


async def test_a_lost_connection_undoes_everything(postgres: PostgresServer, namespace: str) -> None:
    """A connection that is cut before COMMIT leaves neither the effect nor the row."""
    world = SqlWorld("postgres", postgres.dsn, namespace)
    await world.create()
    async with world.inbox.enter(command(), expired=False) as entry:
        await world.effect(entry, command())
        backend = await entry.transaction.scalar(text("SELECT pg_backend_pid()"))
        async with world.engine.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})
        with pytest.raises(DBAPIError):
            await entry.record(DONE)
    assert await world.effects() == []
    assert await _enter(world.inbox, "do") == Proceed()
    await world.close()


async def test_sqlite_begins_as_a_writer(tmp_path: Path, namespace: str) -> None:
    """The driver's own late BEGIN would let two handlers read the same stock before either of them writes."""
    world = SqlWorld("sqlite", f"sqlite+aiosqlite:///{tmp_path / 'inbox.db'}", namespace)
    await world.create()
    statements: list[str] = []

    @event.listens_for(world.engine.sync_engine, "before_cursor_execute")
    def seen(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    async with world.inbox.enter(command(), expired=False) as entry:
        assert statements[0] == "BEGIN IMMEDIATE"
        other = await world.another_engine().connect()
        await other.exec_driver_sql("PRAGMA busy_timeout = 1")
        with pytest.raises(DBAPIError, match="locked"):
            await other.exec_driver_sql("BEGIN IMMEDIATE")
        await other.close()
        await entry.record(DONE)
    async with world.engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA busy_timeout")) == 10_000
    await world.close()


async def test_the_session_is_of_the_participant_s_own_kind(sql_world: SqlWorld) -> None:
    """Who has a session class of his own gets it, inside the barrier's transaction."""

    class OwnSession(AsyncSession):
        pass

    inbox = sql_world.inbox_on(sql_world.engine, sessions=async_sessionmaker(class_=OwnSession))
    async with inbox.enter(command(), expired=False) as entry:
        assert isinstance(entry.transaction, OwnSession)
        await sql_world.effect(entry, command())
        await entry.record(DONE)
    assert await sql_world.effects() == ["saga-1/reserve_stock/do"]


async def test_clean_up_goes_in_steps(sql_world: SqlWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than one step takes are deleted all the same, and younger ones stay."""
    at_ms = 1_000
    inbox = sql_world.inbox_on(sql_world.engine, clock=lambda: at_ms)
    rows = [
        {"saga_id": f"old-{n}", "step": "s", "direction": "do", "state": "tombstone", "recorded_at_ms": n}
        for n in range(2_500)
    ]
    async with sql_world.engine.begin() as connection:
        await connection.execute(insert(sql_world.table), rows)
    assert await inbox.clean_up(2_400, however_young=True) == 2_400
    assert await inbox.clean_up(2_400, however_young=True) == 0


async def test_an_undone_key_ages_as_a_whole(sql_world: SqlWorld) -> None:
    """A row of an action isn't deleted from beside its younger compensation: the late action would run."""
    now = [1_000]
    inbox = sql_world.inbox_on(sql_world.engine, clock=lambda: now[0])
    async with inbox.enter(command(), expired=False) as entry:
        await entry.record(DONE)
    now[0] = 5_000
    async with inbox.enter(command(direction="undo"), expired=False) as entry:
        await entry.record(Succeeded())
    assert await inbox.clean_up(3_000, however_young=True) == 0
    assert await _enter(inbox, "do") == RefusedCompensated()


async def test_a_database_in_memory_is_refused() -> None:
    """Every handler would share its only connection, and with it one transaction."""
    with pytest.raises(SettingsError, match="in memory"):
        SqlAlchemyInbox(create_async_engine("sqlite+aiosqlite:///:memory:"))


async def test_a_missing_table_is_named(tmp_path: Path) -> None:
    """Who forgot to create it learns the class of the error, and the command is answered as failed."""
    inbox = SqlAlchemyInbox(create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"))
    with pytest.raises(StoreUnavailable, match="OperationalError"):
        await _enter(inbox, "do")


async def _enter(inbox: Inbox, direction: Direction) -> object:
    async with inbox.enter(command(direction=direction), expired=False) as entry:
        return entry.verdict
