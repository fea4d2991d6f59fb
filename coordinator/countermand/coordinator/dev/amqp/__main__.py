"""`python -m countermand.coordinator.dev.amqp`: the broker alone, in the foreground, until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import structlog

from countermand.coordinator.dev.amqp.limits import Limits
from countermand.coordinator.dev.amqp.server import BrokerFailed, BrokerUnusable, DevelopmentBroker

EXIT_UNUSABLE, EXIT_FAILED = 2, 1


def main() -> int:
    """The process's exit code: 0 after a signal, 2 if it could not start, 1 if it had to give up."""
    parser = argparse.ArgumentParser(prog="countermand.coordinator.dev.amqp", description=__doc__)
    parser.add_argument("--port", type=int, default=5672, help="0 takes any free one")
    parser.add_argument("--folder", type=Path, help="where durable things are kept; without it, nowhere")
    parser.add_argument("--memory-mb", type=int, default=512, help="the most that messages may take")
    arguments = parser.parse_args()
    limits = Limits(bytes_max=arguments.memory_mb << 20, queue_bytes_max=arguments.memory_mb << 19)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    try:
        asyncio.run(_serve(arguments.folder, arguments.port, limits))
    except BrokerUnusable as error:
        print(error, file=sys.stderr)  # noqa: T201  A command's own words.
        return EXIT_UNUSABLE
    except BrokerFailed:
        return EXIT_FAILED  # The log has said why.
    return 0


async def _serve(folder: Path | None, port: int, limits: Limits) -> None:
    broker = DevelopmentBroker(folder, port=port, limits=limits)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with broker:
        print(f"listening on {broker.amqp_url}", flush=True)  # noqa: T201  Whoever started it reads the address here.
        ended = asyncio.ensure_future(broker.wait_ended())
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await ended
        finally:
            ended.cancel()
            stopped.cancel()


if __name__ == "__main__":
    sys.exit(main())
