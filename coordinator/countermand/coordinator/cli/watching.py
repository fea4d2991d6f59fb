"""`countermand watch`."""

import asyncio
import sys
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.failing import server_in_words
from countermand.coordinator.cli.output import console, print_lines, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.happenings import happening_document
from countermand.coordinator.operate.listening import Listener
from countermand.coordinator.operate.looking import Look, look, over, records_after
from countermand.coordinator.ports import Census, SagaStore
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings, load_settings
from countermand.schemas.errors import BrokerUnavailable, StoreUnavailable
from countermand.schemas.identifiers import checked_saga_id, checked_slug
from countermand.schemas.messages import LifecycleMessage
from countermand.schemas.topology import Topology
from countermand.wire import end

if TYPE_CHECKING:
    from rich.console import Console

POLL_S: Final = 0.5  # As quick as eyes are, and two small reads a second for the store.
CENSUS_S: Final = 1.0
EVENTS_SHOWN: Final = 12


@click.command()
@click.argument("saga_id", required=False)
@click.option("--definition", default=None, metavar="NAME", help="Only what happens to sagas of this definition.")
@click.option("--output", "-o", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
def watch(saga_id: str | None, definition: str | None, output: str) -> None:
    """Watch all sagas until Ctrl-C, or one SAGA_ID until it ends.

    On a terminal the picture is refreshed in place. Piped, or with --output jsonl, it is one line for each thing that
    happens. Of one saga the exit code tells the end: 0 completed, 8 compensated or abandoned, 9 stuck.
    """
    quiet_logging()
    if saga_id is not None and definition is not None:
        raise click.UsageError("give a SAGA_ID or --definition, not both")
    settings = load_settings()
    try:
        if saga_id is None:
            name = None if definition is None else checked_slug("--definition", definition)
            code = run(_watch_all(settings, name, output))
        else:
            code = run(_watch_one(settings, checked_saga_id(saga_id), output))
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    sys.exit(code)


def _tell_what_ends_it() -> None:
    if sys.stderr.isatty():
        tell("Ctrl-C ends it")


# --- one saga


async def _watch_one(settings: Settings, saga_id: str, output: str) -> int:
    store = open_store(settings)
    try:
        seen = await look(store, saga_id)
        if seen is None:
            tell(f"no saga has the id {saga_id}")
            return exits.NOT_FOUND
        terminal = console()
        if not over(seen):
            _tell_what_ends_it()
        if output == "table" and terminal.is_terminal:
            seen = await _draw(store, seen, terminal)
        else:
            seen = await _narrate(store, seen, output)
        return _told_end(seen)
    finally:
        await store.close()


async def _draw(store: SagaStore, seen: Look, terminal: "Console") -> Look:
    from rich.live import Live

    from countermand.coordinator.cli.telling import screen

    with Live(screen(seen.story, terminal), console=terminal, auto_refresh=False) as live:
        while not over(seen):
            await asyncio.sleep(POLL_S)
            # Retired while it was watched: what was seen last is all there is to see.
            seen = await look(store, seen.story.saga_id) or seen
            live.update(screen(seen.story, terminal), refresh=True)
    return seen


async def _narrate(store: SagaStore, seen: Look, output: str) -> Look:
    from countermand.coordinator.cli.history import line, print_records

    version = 0
    while True:
        newer = [
            record
            for record in (await records_after(store, seen.story.saga_id, version)).records
            if record.version <= seen.story.version
        ]
        if output == "jsonl":
            print_lines(line(record) for record in newer)
        else:
            print_records(newer)
        sys.stdout.flush()
        version = seen.story.version
        if over(seen):
            return seen
        await asyncio.sleep(POLL_S)
        seen = await look(store, seen.story.saga_id) or seen


def _told_end(seen: Look) -> int:
    story = seen.story
    if story.ended:
        return exits.DONE if story.phase == "completed" else exits.COMPENSATED
    tell(stuck_in_words(story.saga_id))
    return exits.STUCK


def stuck_in_words(saga_id: str) -> str:
    """That a saga goes no further, and what to do."""
    return f"the saga is stuck; `countermand show {saga_id}` says why, and what can be done"


# --- all sagas


async def _watch_all(settings: Settings, definition: str | None, output: str) -> int:
    terminal = console()
    live = output == "table" and terminal.is_terminal
    async with AsyncExitStack() as stack:
        try:
            listener = await stack.enter_async_context(
                Listener(settings.amqp_url, Topology(settings.prefix), definition=definition)
            )
        except BrokerUnavailable as error:
            if not live:
                raise
            tell(f"only counts, because nobody tells what happens: {server_in_words(error)}")
            _tell_what_ends_it()
            return await _refresh(settings, None, terminal)
        _tell_what_ends_it()
        if live:
            return await _refresh(settings, listener, terminal)
        while True:
            _print_events(await listener.next_events(), output)


def _print_events(events: list[LifecycleMessage], output: str) -> None:
    if output == "jsonl":
        print_lines(happening_document(event) for event in events)
    else:
        from countermand.coordinator.cli.census import event_line

        for event in events:
            click.echo(event_line(event).plain)
    sys.stdout.flush()


async def _refresh(settings: Settings, listener: Listener | None, terminal: "Console") -> int:
    """Draws the counts and the newest events until somebody interrupts it."""
    from rich.live import Live

    from countermand.coordinator.cli.census import overview

    newest: deque[LifecycleMessage] = deque(maxlen=EVENTS_SHOWN)
    census: Census | None = None
    store = open_store(settings)
    listening = None if listener is None else asyncio.create_task(_collect(listener, newest))
    try:
        with Live(console=terminal, auto_refresh=False) as live:
            while True:
                if listening is not None and listening.done():
                    listening.result()
                trouble = ""
                try:
                    census = await store.census()
                except StoreUnavailable as error:
                    trouble = f"the counts are old, because the store can't be asked: {server_in_words(error)}"
                live.update(overview(census, list(newest), terminal.width, trouble=trouble), refresh=True)
                await asyncio.sleep(CENSUS_S)
    finally:
        await end([] if listening is None else [listening])
        await store.close()


async def _collect(listener: Listener, newest: deque[LifecycleMessage]) -> None:
    while True:
        newest.extend(await listener.next_events())
