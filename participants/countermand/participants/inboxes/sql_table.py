"""The table of the SQL inbox, its statements, and how a row is written in it."""

from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text, bindparam, delete, select, tuple_
from sqlalchemy import Row as SqlRow
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from countermand.participants.barrier import BEGUN, TOMBSTONE, Begun, Recorded, Row, Tombstone
from countermand.schemas.codec import encode
from countermand.schemas.errors import InvariantViolated, SettingsError
from countermand.schemas.identifiers import KEY_MARK_MAX, SAGA_ID_MAX, STEP_MAX
from countermand.schemas.messages import Rejected, Succeeded

TABLE: Final = "countermand_inbox"
# One delete of everything would hold its locks, and SQLite's only one, for too long.
CLEAN_UP_ROWS: Final = 1_000


def inbox_table(metadata: MetaData, *, name: str = TABLE, schema: str | None = None) -> Table:
    """The inbox's table in your own metadata, so that your migrations create it."""
    return Table(
        name,
        metadata,
        Column("saga_id", String(SAGA_ID_MAX), primary_key=True),
        # The step, and a mark where an operator gave it a new key: see `countermand.schemas.identifiers.step_key`.
        Column("step", String(STEP_MAX + KEY_MARK_MAX), primary_key=True),
        Column("direction", String(4), primary_key=True),
        # begun, succeeded, rejected or tombstone: see `countermand.participants.barrier`.
        Column("state", String(16), nullable=False),
        # What was answered, as JSON.
        Column("outcome", Text, nullable=True),
        # When the key's rows were last changed, by the participant's clock (Unix time).
        Column("recorded_at_ms", BigInteger, nullable=False, index=True),
        schema=schema,
    )


DEFAULT_TABLE: Final = inbox_table(MetaData())

_outcomes: msgspec.json.Decoder[Recorded] = msgspec.json.Decoder(Recorded)


async def create_tables(engine: AsyncEngine, table: Table = DEFAULT_TABLE) -> None:
    """Create the inbox's table if it isn't there."""
    async with engine.begin() as connection:
        await connection.run_sync(table.create, checkfirst=True)


class Statements:
    """The inbox's SQL, built once."""

    def __init__(self, engine: AsyncEngine, table: Table) -> None:
        columns = table.c
        new = self._insert(engine, table)
        self.claim = new.values(direction="do", state="begun").on_conflict_do_nothing()
        put = self._insert(engine, table)
        changed = {name: put.excluded[name] for name in ("state", "outcome", "recorded_at_ms")}
        self.put = put.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)
        key = (columns.saga_id == bindparam("saga_id")) & (columns.step == bindparam("step"))
        row = select(columns.state, columns.outcome).where(key)
        self.lock_do = row.where(columns.direction == "do").with_for_update()
        self.read_undo = row.where(columns.direction == "undo")
        old = columns.recorded_at_ms < bindparam("before_ms")
        primary = tuple_(*table.primary_key)
        self.delete = delete(table).where(
            primary.in_(select(*table.primary_key).where(old).limit(CLEAN_UP_ROWS)),
            # Asked again when a lock was waited for: the key may have been used meanwhile.
            old,
        )

    def _insert(self, engine: AsyncEngine, table: Table) -> "sqlite.Insert | postgresql.Insert":
        match engine.dialect.name:
            case "sqlite":
                return sqlite.insert(table)
            case "postgresql":
                return postgresql.insert(table)
            case other:
                raise SettingsError(f"engine: {other!r} is not supported; expected SQLite or PostgreSQL")


def columns_of(row: Row) -> dict[str, str | None]:
    match row:
        case Begun():
            return {"state": "begun", "outcome": None}
        case Tombstone():
            return {"state": "tombstone", "outcome": None}
        case Succeeded():
            return {"state": "succeeded", "outcome": encode(row).decode()}
        case Rejected():
            return {"state": "rejected", "outcome": encode(row).decode()}


def row_of(found: SqlRow[Any, Any] | None) -> Row | None:
    if found is None:
        return None
    outcome: str = found.outcome
    match found.state:
        case "begun":
            return BEGUN
        case "tombstone":
            return TOMBSTONE
        case "succeeded" | "rejected":
            return _outcomes.decode(outcome)
        case _:
            raise InvariantViolated(f"an inbox row in the state {found.state!r}")
