"""Barriers in SQL on one database, each on a connection of its own, all in one event loop."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from protocol.sql_barrier import Database, SqlBarrier, statements_of

T = TypeVar("T")

_numbers = itertools.count(1)

LEDGER = "CREATE TABLE IF NOT EXISTS protocol_ledger (effect VARCHAR(300) NOT NULL)"
EFFECT = "INSERT INTO protocol_ledger (effect) VALUES (:effect)"
READ_LEDGER = "SELECT effect FROM protocol_ledger WHERE effect LIKE :pattern ORDER BY effect"
READ_ROWS = "SELECT direction FROM countermand_inbox WHERE saga_id = :saga_id ORDER BY direction"


class Bench:
    """A kind of database. Each example takes a saga of its own."""

    def __init__(self, dialect: str, connect: Callable[[], Coroutine[Any, Any, Database]]) -> None:
        self.dialect = dialect
        self._connect = connect
        self._runner = asyncio.Runner()
        self._opened: list[Database] = []
        self.barrier = self.wait(self.another())
        self.wait(self.barrier.create_table())
        self.wait(self.barrier.database.run(LEDGER, {}))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def another(self) -> SqlBarrier:
        database = await self._connect()
        self._opened.append(database)
        return SqlBarrier(database, statements_of(self.dialect), effect=EFFECT)

    async def effects(self, saga_id: str) -> list[str]:
        rows = await self.barrier.database.run(READ_LEDGER, {"pattern": f"{saga_id}/%"})
        return [effect for (effect,) in rows]

    async def rows(self, saga_id: str) -> list[str]:
        """The directions of which there are rows."""
        found = await self.barrier.database.run(READ_ROWS, {"saga_id": saga_id})
        return [direction for (direction,) in found]

    def fresh_saga_id(self) -> str:
        return f"protocol-{next(_numbers)}"

    def close(self) -> None:
        for database in self._opened:
            self.wait(database.close())
        self._runner.close()
