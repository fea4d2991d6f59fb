"""One world per kind of inbox: its store, any number of processes' inboxes on it, and the business beside it.

The business is a ledger of effects. Where the inbox has a transaction the ledger is a table in the same database,
written in that transaction; elsewhere it is a list, written at once.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any, Literal, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from countermand.participants.barrier import Inbox
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.inboxes.redis import RedisInbox
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox, create_tables, inbox_table
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import CommandMessage

Kind = Literal["memory", "redis", "valkey", "sqlite", "postgres"]
KINDS: tuple[Kind, ...] = ("memory", "redis", "valkey", "sqlite", "postgres")

# Long enough not to run out by accident on a busy machine, short enough to be waited for.
SHORT_LEASE_MS = 1_500


class Lent(Protocol):
    """Whoever has the transaction to write in: an entry, or a handler's context."""

    @property
    def transaction(self) -> Any: ...


class World(Protocol):
    """What the contract suite needs of a kind of inbox."""

    @property
    def kind(self) -> Kind: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def transactional(self) -> bool:
        """Whether effect and row are one; otherwise a second attempt is told to come back instead of waiting."""

    def another_process(self) -> Inbox:
        """A second inbox on the same store, with connections of its own."""

    async def effect(self, lent: Lent, command: CommandMessage) -> None:
        """What a handler does to the business."""

    async def effects(self) -> list[str]:
        """What was done and kept: `key/direction`, in order."""

    async def close(self) -> None: ...


def _effect_of(command: CommandMessage) -> str:
    return f"{command.key}/{command.direction}"


class PlainWorld:
    """A store without a transaction; the business is a list."""

    transactional = False

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._effects: list[str] = []

    async def effect(self, lent: Lent, command: CommandMessage) -> None:
        assert lent.transaction is None
        self._effects.append(_effect_of(command))

    async def effects(self) -> list[str]:
        return list(self._effects)


class MemoryWorld(PlainWorld):
    def __init__(self) -> None:
        super().__init__("memory")
        self.inbox = MemoryInbox()

    def another_process(self) -> Inbox:
        # There is no other process: memory belongs to one.
        return self.inbox

    async def close(self) -> None:
        await self.inbox.close()


class RedisWorld(PlainWorld):
    def __init__(self, kind: Kind, url: str, namespace: str) -> None:
        super().__init__(kind)
        self.url, self.namespace = url, namespace
        self._opened: list[RedisInbox] = []
        self.inbox = self.another_process()

    def another_process(self) -> RedisInbox:
        inbox = RedisInbox.connect(self.url, prefix=self.namespace, lease_ms=SHORT_LEASE_MS)
        self._opened.append(inbox)
        return inbox

    def client(self) -> "Redis":
        return Redis.from_url(self.url, retry=Retry(NoBackoff(), 0))

    async def close(self) -> None:
        for inbox in self._opened:
            await inbox.close()


class SqlWorld:
    transactional = True

    def __init__(self, kind: Kind, url: str, namespace: str) -> None:
        self.kind: Kind = kind
        self.url, self.namespace = url, namespace
        metadata = MetaData()
        self.table = inbox_table(metadata, name=f"inbox_{namespace}")
        self.ledger = Table(
            f"ledger_{namespace}",
            metadata,
            Column("id", Integer, primary_key=True, autoincrement=True),
            Column("effect", String, nullable=False),
        )
        self._metadata = metadata
        self._engines: list[AsyncEngine] = []
        self.engine = self.another_engine()
        self.inbox = self.inbox_on(self.engine)

    def another_engine(self) -> AsyncEngine:
        engine = create_async_engine(self.url)
        self._engines.append(engine)
        return engine

    def inbox_on(self, engine: AsyncEngine, **options: Any) -> SqlAlchemyInbox:
        return SqlAlchemyInbox(engine, table=self.table, **options)

    def another_process(self) -> Inbox:
        return self.inbox_on(self.another_engine())

    async def create(self) -> None:
        await create_tables(self.engine, self.table)
        async with self.engine.begin() as connection:
            await connection.run_sync(self.ledger.create)

    async def effect(self, lent: Lent, command: CommandMessage) -> None:
        await lent.transaction.execute(insert(self.ledger).values(effect=_effect_of(command)))

    async def effects(self) -> list[str]:
        async with self.engine.connect() as connection:
            rows = await connection.execute(select(self.ledger.c.effect).order_by(self.ledger.c.id))
            return [row.effect for row in rows]

    async def close(self) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(self._metadata.drop_all)
        for engine in self._engines:
            await engine.dispose()


async def crash_in_the_handler(world: RedisWorld | SqlWorld, saga_id: str, direction: Direction = "do") -> None:
    """Lets another process begin an attempt of this saga, have its effect, and die before its outcome is kept."""
    program = str(Path(__file__).with_name("crashing.py"))
    place = (world.kind, world.url, world.namespace)
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, *place, saga_id, direction, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert (process.returncode, output) == (9, b"effect\n"), f"ended with {process.returncode}: {output!r}"
