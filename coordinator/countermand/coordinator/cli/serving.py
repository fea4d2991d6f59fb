"""`countermand serve`: one coordinator in the foreground."""

import asyncio
import logging
import signal
import sys

import click
import structlog
from structlog.typing import Processor

from countermand.coordinator.runtime import Coordinator
from countermand.coordinator.settings import Settings, load_settings, load_with_sources, shown
from countermand.wire import keep_ready_file

log = structlog.get_logger(__name__)


@click.command()
def serve() -> None:
    """Run a coordinator until it is told to stop (SIGTERM or Ctrl-C). Run as many as you like.

    A second signal doesn't wait for what is in flight.
    """
    settings = load_settings()
    configure_logging(settings)
    asyncio.run(_serve(settings))


@click.command(name="settings")
def show_settings() -> None:
    """Show every setting with its value and where it comes from. Secrets stay hidden."""
    settings, sources = load_with_sources()
    for name, value in shown(settings).items():
        click.echo(f"COUNTERMAND_{name.upper()}={value}  # {sources[name]}")


def configure_logging(settings: Settings) -> None:
    """One line per event on standard error: JSON for machines, or readable for people."""
    level = getattr(logging, settings.log_level.upper())
    as_json = settings.log_format == "json"
    in_colour = sys.stderr.isatty()
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=in_colour)
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[*processors, renderer],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What libraries say takes the same form: a traceback over thirty lines is lost on whoever reads JSON.
    libraries = logging.StreamHandler(sys.stderr)
    libraries.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=processors))
    logging.basicConfig(level=logging.WARNING, handlers=[libraries])
    # Our driver tells each lost connection once, as an event; aiormq would tell it again, with tracebacks.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, loop, number)
    coordinator = Coordinator(settings)
    # Left before it drains: whoever sends work by readiness sends none any more.
    async with keep_ready_file(settings.ready_file, coordinator.answers):
        starting = asyncio.create_task(coordinator.start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        await starting
        ready = asyncio.create_task(_say_when_ready(coordinator))
        await stopping
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)
    await coordinator.stop()


async def _say_when_ready(coordinator: Coordinator) -> None:
    await coordinator.publisher.connection.wait_session()
    await coordinator.consumer.connection.wait_session()
    log.info("coordinator_ready")


def _stop(stop: asyncio.Event, loop: asyncio.AbstractEventLoop, number: int) -> None:
    stop.set()
    # The next one of the same kind ends the process at once, as a user who presses Ctrl-C twice expects.
    loop.remove_signal_handler(number)
