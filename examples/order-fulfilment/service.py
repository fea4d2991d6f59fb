"""The command line that all three services share, and their life as a process."""

import argparse
import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from countermand.participants.participant import Participant
from countermand.schemas.topology import DEFAULT_PREFIX, Topology

# Whoever still waits for a carrier after that may be interrupted: the command stays with the broker.
DRAIN_S = 3.0


def serve(open_participants: Callable[[Path], Awaitable[list[Participant]]]) -> None:
    """Handles commands until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="A service of the order fulfilment example.")
    environment = os.environ.get
    parser.add_argument("--amqp", metavar="URL", default=environment("COUNTERMAND_AMQP_URL", "amqp://127.0.0.1/"))
    parser.add_argument("--prefix", metavar="NAME", default=environment("COUNTERMAND_PREFIX", DEFAULT_PREFIX))
    parser.add_argument("--ledger", metavar="PATH", type=Path, default=environment("LEDGER"))
    arguments = parser.parse_args()
    if arguments.ledger is None:
        parser.error("say where the ledger is: --ledger PATH, or LEDGER in the environment")
    asyncio.run(_serve(open_participants, arguments.ledger, arguments.amqp, Topology(arguments.prefix)))


async def _serve(
    open_participants: Callable[[Path], Awaitable[list[Participant]]], ledger: Path, amqp_url: str, topology: Topology
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as running:
        for participant in await open_participants(ledger):
            await running.enter_async_context(participant.running(amqp_url, topology=topology, drain_s=DRAIN_S))
        await stopped.wait()
