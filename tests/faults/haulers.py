"""The participants of the hauls as processes: `python -m faults.haulers FOLDER AMQP_URL REDIS_URL PREFIX NAME`.

The desk and the floor keep their inbox and their ledger in one SQLite file each; an effect is one line, in the inbox's
transaction. The notary's inbox is in Redis, and its ledger is elsewhere: it may be asked twice, and counts once.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Column, Integer, MetaData, String, Table, UniqueConstraint, delete, event, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from countermand.participants.context import Context
from countermand.participants.errors import Rejected
from countermand.participants.inboxes.redis import RedisInbox
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox, create_tables
from countermand.participants.participant import Participant
from countermand.schemas.contract import Command
from countermand.schemas.identifiers import Direction
from countermand.schemas.topology import Topology
from faults.haulage import Close, Decide, Fold, Note, Open, Part, Pick, Seal, Swear, Sworn

DRAIN_S: Final = 5.0
# A dead notary's commands wait for its successor no longer than that.
LEASE_MS: Final = 1_000

_METADATA: Final = MetaData()
EFFECTS: Final = Table(
    "effects",
    _METADATA,
    Column("number", Integer, primary_key=True),
    Column("at_ns", Integer, nullable=False),
    Column("saga_id", String, nullable=False),
    Column("step", String, nullable=False),
    Column("direction", String, nullable=False),
)
# The sagas between their first effect and their last: whoever is here must hold the account's lock.
INSIDE: Final = Table(
    "inside",
    _METADATA,
    Column("saga_id", String, primary_key=True),
    Column("account", String, nullable=False),
)
# How many were inside after each entry: of the same account, and of all.
CROWDS: Final = Table(
    "crowds",
    _METADATA,
    Column("number", Integer, primary_key=True),
    Column("of_account", Integer, nullable=False),
    Column("of_all", Integer, nullable=False),
)
OATHS: Final = Table(
    "effects",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("at_ns", Integer, nullable=False),
    Column("saga_id", String, nullable=False),
    Column("step", String, nullable=False),
    Column("direction", String, nullable=False),
    UniqueConstraint("saga_id", "step", "direction"),
)

Handler = Callable[[Any, Context], Awaitable[Any]]


class AnswerLost(Exception):
    """The notary has sworn, or not, and nobody gets to know."""


def _line(context: Context, direction: Direction) -> dict[str, Any]:
    return {"at_ns": time.time_ns(), "saga_id": context.saga_id, "step": context.step, "direction": direction}


def _engine(folder: Path, name: str) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder / name}.sqlite", connect_args={"timeout": 30})

    @event.listens_for(engine.sync_engine, "connect")
    def _quick(connection: Any, _: object) -> None:
        # Processes are killed here, machines are not.
        connection.execute("PRAGMA synchronous=OFF")

    return engine


def _play(participant: Participant, contract: type[Command[Any]], act: Handler, leave: Handler | None = None) -> None:
    """Books each effect, and then does what the contract asks for: a no after the effect must take it back."""

    async def action(command: Any, context: Context) -> Any:
        await context.transaction.execute(insert(EFFECTS).values(_line(context, "do")))
        return await act(command, context)

    async def compensation(command: Any, result: Any, context: Context) -> None:
        await context.transaction.execute(insert(EFFECTS).values(_line(context, "undo")))
        if leave is not None:
            await leave(command, context)

    register: Callable[[Any], Any] = participant.handles(contract)
    register(action)
    if contract is not Decide:
        register = participant.compensates(contract)
        register(compensation)


async def _enter(command: Open, context: Context) -> None:
    session: AsyncSession = context.transaction
    await session.execute(insert(INSIDE).values(saga_id=context.saga_id, account=command.account))
    of_account = select(func.count()).where(INSIDE.c.account == command.account).scalar_subquery()
    of_all = select(func.count()).select_from(INSIDE).scalar_subquery()
    await session.execute(insert(CROWDS).values(of_account=of_account, of_all=of_all))


async def _leave(command: Open | Close, context: Context) -> None:
    await context.transaction.execute(delete(INSIDE).where(INSIDE.c.saga_id == context.saga_id))


async def _pick(command: Pick, context: Context) -> int:
    if command.refuse == f"picked[{command.number}]":
        raise Rejected("sold_out", "not to be had")
    return command.number


async def _part(command: Part, context: Context) -> str:
    if command.refused:
        raise Rejected("part_refused", "not today")
    return context.saga_id


async def _decide(command: Decide, context: Context) -> None:
    if command.refused:
        raise Rejected("decided_against", "not today")


async def _seal(command: Seal, context: Context) -> None:
    if not command.seals:
        raise Rejected("leaky", "it can't be sealed")


async def _nothing(command: Any, context: Context) -> None:
    """The line in the ledger is all there is to it."""


@asynccontextmanager
async def _desk(folder: Path) -> AsyncIterator[Participant]:
    engine = _engine(folder, "desk")
    await create_tables(engine)
    async with engine.begin() as connection:
        await connection.run_sync(_METADATA.create_all)
    desk = Participant("desk", inbox=SqlAlchemyInbox(engine))
    _play(desk, Open, _enter, _leave)
    _play(desk, Decide, _decide)
    _play(desk, Close, _leave)
    yield desk


@asynccontextmanager
async def _floor(folder: Path) -> AsyncIterator[Participant]:
    engine = _engine(folder, "floor")
    await create_tables(engine)
    async with engine.begin() as connection:
        await connection.run_sync(_METADATA.create_all)
    floor = Participant("floor", inbox=SqlAlchemyInbox(engine))
    _play(floor, Pick, _pick)
    _play(floor, Fold, _nothing)
    _play(floor, Seal, _seal)
    _play(floor, Note, _nothing)
    _play(floor, Part, _part)
    yield floor


@asynccontextmanager
async def _notary(folder: Path, redis_url: str, prefix: str) -> AsyncIterator[Participant]:
    engine = _engine(folder, "notary")
    async with engine.begin() as connection:
        await connection.run_sync(OATHS.metadata.create_all)
    inbox = RedisInbox.connect(redis_url, prefix=f"{prefix}-notary", lease_ms=LEASE_MS)
    notary = Participant("notary", inbox=inbox)

    async def book(context: Context, direction: Direction) -> None:
        async with engine.begin() as connection:
            await connection.execute(insert(OATHS).values(_line(context, direction)).on_conflict_do_nothing())

    async def sworn(context: Context) -> bool:
        wanted = (OATHS.c.saga_id == context.saga_id) & (OATHS.c.step == context.step) & (OATHS.c.direction == "do")
        async with engine.connect() as connection:
            return (await connection.execute(select(OATHS.c.number).where(wanted))).first() is not None

    @notary.handles(Swear)
    async def swear(command: Swear, context: Context) -> Sworn:
        if command.answer != "nothing done":
            await book(context, "do")
        if command.answer != "clear":
            raise AnswerLost
        return Sworn("the notary")

    @notary.compensates(Swear)
    async def unswear(command: Swear, result: Sworn | None, context: Context) -> None:
        if await sworn(context):
            await book(context, "undo")

    @notary.probes(Swear)
    async def find(command: Swear, context: Context) -> Sworn | None:
        return Sworn("the notary") if await sworn(context) else None

    try:
        yield notary
    finally:
        await inbox.close()


async def main(folder: Path, amqp_url: str, redis_url: str, prefix: str, name: str) -> None:
    """Handles commands until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    opened = {
        "desk": lambda: _desk(folder),
        "floor": lambda: _floor(folder),
        "notary": lambda: _notary(folder, redis_url, prefix),
    }
    async with (
        opened[name]() as participant,
        participant.running(amqp_url, topology=Topology(prefix), drain_s=DRAIN_S),
    ):
        await stopped.wait()


if __name__ == "__main__":
    # Our driver tells each lost connection once; the client library would tell it again, with tracebacks.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    folder_, amqp_url_, redis_url_, prefix_, name_ = sys.argv[1:]
    asyncio.run(main(Path(folder_), amqp_url_, redis_url_, prefix_, name_))
