"""Participants as a process, with their ledgers: `python -m faults.worker FOLDER NAME…`.

Each participant keeps its ledger and its inbox in one SQLite file, `FOLDER/NAME.sqlite`. An effect is one line of the
ledger, in the transaction of the inbox. Nothing here keeps an effect from being booked twice: that is the inbox's work.

How a step is taken stands in the command (`mood`), and depends on the attempt only, so that it outlives the process.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Column, Integer, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from countermand.participants.context import Context
from countermand.participants.errors import Rejected, Retry
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox, create_tables
from countermand.participants.participant import Participant
from countermand.schemas.contract import Command
from countermand.schemas.identifiers import Direction
from countermand.schemas.topology import Topology
from system.world import PARTICIPANTS, Capture, Paid, Pay, Quote, Reserve, Reserved, Ship

# Longer than the timeout of the sagas that are meant to meet it, and short, because it keeps the whole ledger waiting.
HANG_S: Final = 0.6
# Long enough for a test to see that sagas wait, and to do something about it before they go on.
WAIT_S: Final = 1.5
# Whoever still handles a command after that may be interrupted: the command stays with the broker.
DRAIN_S: Final = 5.0

EFFECTS: Final = Table(
    "effects",
    MetaData(),
    Column("number", Integer, primary_key=True),
    Column("saga_id", String, nullable=False),
    Column("step", String, nullable=False),
    Column("direction", String, nullable=False),
    Column("attempt", Integer, nullable=False),
)
CONTRACTS: Final[dict[str, list[tuple[type[Command[Any]], Any]]]] = {
    "stock": [(Reserve, Reserved("r-1"))],
    "bank": [(Pay, Paid("p-1")), (Capture, None)],
    "carrier": [(Quote, None), (Ship, None)],
}


async def _book(context: Context, direction: Direction) -> None:
    session: AsyncSession = context.transaction
    line = {"saga_id": context.saga_id, "step": context.step, "direction": direction, "attempt": context.attempt}
    await session.execute(insert(EFFECTS).values(line))


async def _feel(mood: str, context: Context) -> None:
    if mood == "rejects":
        raise Rejected("unwilling", "not today")
    if mood == "fails once" and context.attempt == 1:
        raise Retry(after_s=0.05)
    if mood == "waits" and context.attempt == 1:
        raise Retry(after_s=WAIT_S)
    if mood == "hangs" or (mood == "hangs once" and context.attempt == 1):
        await asyncio.sleep(HANG_S)


def _play(participant: Participant, contract: type[Command[Any]], result: Any) -> None:
    async def action(command: Any, context: Context) -> Any:
        # The effect comes first: a rejection, a failure or a crash after it must take it back.
        await _book(context, "do")
        await _feel(command.mood.get(context.step, "fine"), context)
        return result

    async def compensation(command: Any, result: Any, context: Context) -> None:
        await _book(context, "undo")

    register: Callable[[Any], Any] = participant.handles(contract)
    register(action)
    if contract not in (Quote, Capture):
        register = participant.compensates(contract)
        register(compensation)


async def _open(folder: Path, name: str) -> Participant:
    engine: AsyncEngine = create_async_engine(f"sqlite+aiosqlite:///{folder / name}.sqlite")
    await create_tables(engine)
    async with engine.begin() as connection:
        await connection.run_sync(EFFECTS.metadata.create_all)
    participant = Participant(name, inbox=SqlAlchemyInbox(engine))
    for contract, result in CONTRACTS[name]:
        _play(participant, contract, result)
    return participant


async def main(folder: Path, names: list[str], amqp_url: str, prefix: str) -> None:
    """Handles commands until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with AsyncExitStack() as running:
        for name in names:
            participant = await _open(folder, name)
            await running.enter_async_context(participant.running(amqp_url, topology=Topology(prefix), drain_s=DRAIN_S))
        await stopped.wait()


if __name__ == "__main__":
    # Our driver tells each lost connection once; the client library would tell it again, with tracebacks.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    folder, amqp_url, prefix, *names = sys.argv[1:]
    asyncio.run(main(Path(folder), names or list(PARTICIPANTS), amqp_url, prefix))
