"""The command line that all three services share, and their life as a process."""

import argparse
import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from countermand.participants import Participant, keep_ready_file
from countermand.participants.runtime import Runtime
from countermand.schemas.topology import DEFAULT_PREFIX, Topology

# Whoever still waits for a carrier after that may be interrupted: the command stays with the broker.
DRAIN_S = 3.0


def serve(open_participants: Callable[[Path], Awaitable[list[Participant]]]) -> None:
    """Handles commands until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="A service of the order fulfilment example.")
    environment = os.environ.get
    parser.add_argument("--amqp", metavar="URL", default=_amqp_url())
    parser.add_argument("--prefix", metavar="NAME", default=environment("COUNTERMAND_PREFIX", DEFAULT_PREFIX))
    parser.add_argument("--ledger", metavar="PATH", type=Path, default=environment("LEDGER"))
    parser.add_argument("--ready-file", metavar="PATH", default=environment("COUNTERMAND_READY_FILE"))
    arguments = parser.parse_args()
    if arguments.ledger is None:
        parser.error("say where the ledger is: --ledger PATH, or LEDGER in the environment")
    asyncio.run(_serve(open_participants, arguments))


def _amqp_url() -> str:
    """From the environment, or from a file that it names: where a secret comes from in production."""
    if path := os.environ.get("COUNTERMAND_AMQP_URL_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get("COUNTERMAND_AMQP_URL", "amqp://127.0.0.1/")


async def _serve(
    open_participants: Callable[[Path], Awaitable[list[Participant]]], arguments: argparse.Namespace
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    participants = await open_participants(arguments.ledger)
    runtimes: list[Runtime] = []

    def ready() -> bool:
        return len(runtimes) == len(participants) and all(runtime.ready for runtime in runtimes)

    async with keep_ready_file(arguments.ready_file, ready), AsyncExitStack() as running:
        for participant in participants:
            handling = participant.running(arguments.amqp, topology=Topology(arguments.prefix), drain_s=DRAIN_S)
            runtimes.append(await running.enter_async_context(handling))
        await stopped.wait()
