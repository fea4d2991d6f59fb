"""Serves participants and registers sagas, without a main program of your own.

    python -m countermand.participants.serve shop.app
    python -m countermand.participants.serve shop.inventory:inventory shop.saga:buy --amqp amqp://…

Serves every participant found and registers every saga found, until SIGTERM or Ctrl-C. The address comes from
`--amqp`, COUNTERMAND_AMQP_URL or the file that COUNTERMAND_AMQP_URL_FILE names; COUNTERMAND_LOG_LEVEL and
COUNTERMAND_LOG_FORMAT are as for the coordinator. `--debug` is for development: what a handler raises is printed with
its text and its traceback, which may hold data of the command. Exit codes: 0 it was told to stop, 1 a target can't be
loaded, 2 wrong usage, 6 the broker can't be reached.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import structlog

from countermand.participants.client import Client, NoAnswer, RequestRefused
from countermand.participants.console import configure_console
from countermand.participants.loading import Loaded, LoadFailed, load
from countermand.participants.logging import show_errors
from countermand.participants.runtime import DRAIN_S, Runtime
from countermand.participants.saga import Saga
from countermand.participants.sample import sample_input, sketched_input
from countermand.schemas.definition import Definition, canonical
from countermand.schemas.errors import BrokerUnavailable, CountermandError
from countermand.schemas.topology import DEFAULT_PREFIX, Topology
from countermand.wire import end, keep_ready_file

PAUSE_S: Final = 1.0
# With --debug, when everything is served and registered: `countermand dev` waits for this line.
READY: Final = "ready: all is served and registered"

DONE: Final = 0
NOT_LOADED: Final = 1
UNREACHABLE: Final = 6


def main() -> None:
    """Entry point: turns what can be expected to go wrong into a line and an exit code."""
    options = _options()
    # What `python -m` does by itself, unless it is told to be safe.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        with show_errors() if options.debug else contextlib.nullcontext():
            asyncio.run(_serve(options))
    except LoadFailed as error:
        _say(f"can't load {error}")
        sys.exit(NOT_LOADED)
    except CountermandError as error:
        _say(str(error))
        sys.exit(UNREACHABLE if isinstance(error, BrokerUnavailable) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m countermand.participants.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="+", metavar="MODULE[:ATTRIBUTE]", help="or a definition document, FILE.json")
    parser.add_argument("--amqp", metavar="URL", help="default: COUNTERMAND_AMQP_URL, else amqp://127.0.0.1/")
    parser.add_argument(
        "--prefix", metavar="NAME", default=os.environ.get("COUNTERMAND_PREFIX", DEFAULT_PREFIX), help="on the broker"
    )
    parser.add_argument(
        "--ready-file", metavar="PATH", default=os.environ.get("COUNTERMAND_READY_FILE"), help="touched while ready"
    )
    parser.add_argument(
        "--drain",
        metavar="SECONDS",
        type=float,
        default=DRAIN_S,
        help="for commands that run when it is told to stop; others come again (default: %(default)g)",
    )
    parser.add_argument(
        "--debug", action="store_true", help="print text and traceback of what handlers raise; for development only"
    )
    return parser.parse_args()


def _amqp_url() -> str:
    if path := os.environ.get("COUNTERMAND_AMQP_URL_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get("COUNTERMAND_AMQP_URL", "amqp://127.0.0.1/")


async def _serve(options: argparse.Namespace) -> None:
    amqp_url, topology = options.amqp or _amqp_url(), Topology(options.prefix)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    loaded = await load(options.targets)
    _configure_logging(debug=options.debug)
    runtimes: list[Runtime] = []
    registering = asyncio.create_task(_register(loaded, amqp_url, topology))
    try:
        async with contextlib.AsyncExitStack() as running:
            for participant in loaded.participants:
                serving = participant.running(amqp_url, topology=topology, drain_s=options.drain)
                runtimes.append(await running.enter_async_context(serving))
                actions = (f"{name} (can undo)" if undoes else name for name, undoes in participant.actions.items())
                _say(f"serving {participant.name}: {', '.join(actions)}")

            def ready() -> bool:
                return all(runtime.ready for runtime in runtimes) and registering.done()

            if options.debug:
                registering.add_done_callback(_say_ready)
            async with keep_ready_file(options.ready_file, ready):
                await _until_stopped(stopped, registering)
    finally:
        await end([registering])


def _say_ready(registering: asyncio.Task[None]) -> None:
    if not registering.cancelled() and registering.exception() is None:
        _say(READY)


async def _until_stopped(stopped: asyncio.Event, registering: asyncio.Task[None]) -> None:
    """Until somebody says so; a fault while registering ends it as well."""
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((stopping, registering), return_when=asyncio.FIRST_COMPLETED)
        if registering.done():
            registering.result()
        await stopping
    finally:
        await end([stopping])


async def _register(loaded: Loaded, amqp_url: str, topology: Topology) -> None:
    """Registers everything, however long it takes until a coordinator is there."""
    waiting: list[Saga[Any, Any] | Definition] = [*loaded.sagas, *loaded.documents]
    if not waiting:
        return
    async with Client(amqp_url, topology=topology, name="serve") as client:
        unanswered = False
        while waiting:
            saga = waiting[0]
            try:
                defined = await client.register(saga if isinstance(saga, Saga) else canonical(saga))
            except RequestRefused as refused:
                _say(f"refused: {refused}")
            except NoAnswer:
                if not unanswered:
                    _say("no coordinator answers; trying again until one does")
                unanswered = True
                await asyncio.sleep(PAUSE_S)
                continue
            else:
                _say(f"registered {defined.name}@{defined.version}; to start one:")
                _say(f"  countermand start {defined.name} --wait --input '{_example(saga)}'")
            waiting.pop(0)


def _configure_logging(*, debug: bool) -> None:
    """As the coordinator's, by the same variables, unless the author's modules have configured structlog themselves.

    Whoever debugs watches, and gets lines for people unless they say otherwise.
    """
    # Our driver tells each lost connection once, as an event; aiormq would tell it again, with tracebacks.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    if structlog.is_configured():
        return
    level = logging.getLevelNamesMapping().get(os.environ.get("COUNTERMAND_LOG_LEVEL", "info").upper(), logging.INFO)
    if os.environ.get("COUNTERMAND_LOG_FORMAT", "console" if debug else "json") == "console":
        configure_console(level, news_once=debug)
        return
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def _example(saga: Saga[Any, Any] | Definition) -> str:
    example = sample_input(saga) if isinstance(saga, Saga) else sketched_input(saga)
    # As a shell takes it: a quote ends the quoted text, an escaped one follows, and the text goes on.
    return "…" if example is None else example.decode().replace("'", "'\\''")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
