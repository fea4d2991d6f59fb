"""`countermand history`."""

import asyncio
import sys
from typing import Any, Final

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import console, output_option, print_json, print_lines, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.core.journal import Record
from countermand.coordinator.operate.looking import HISTORY_READ_MAX, Pages, newest_records, records_after
from countermand.coordinator.operate.reading import history_line
from countermand.coordinator.operate.sentences import sentence
from countermand.coordinator.ports import SagaStore
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id

FOLLOW_S: Final = 0.5  # Soon enough for eyes, and nothing that a store would notice.
# What caused an entry is an identity, for whoever compares it with logs: on a narrow terminal it would only fold lines.
CAUSE_WIDTH_MIN: Final = 100


@click.command()
@click.argument("saga_id")
@click.option(
    "--tail", type=click.IntRange(1, HISTORY_READ_MAX), default=100, show_default=True, help="At most so many entries."
)
@click.option("--after", type=click.IntRange(0), default=None, metavar="REVISION", help="Only what came after it.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the saga has ended.")
@output_option
def history(saga_id: str, tail: int, after: int | None, follow: bool, output: str) -> None:
    """Tell what happened to a saga, one line for each entry of its journal.

    The newest entries, unless you say after which revision of the saga; the oldest of them first.
    """
    quiet_logging()
    if follow and output == "json":
        raise click.UsageError("--follow goes on line by line: use --output jsonl")
    try:
        found = run(_print(checked_saga_id(saga_id), tail, after, follow=follow, output=output))
    except KeyboardInterrupt:
        sys.exit(exits.INTERRUPTED)
    if not found:
        tell(f"no saga has the id {saga_id}")
        sys.exit(exits.NOT_FOUND)


async def _print(saga_id: str, tail: int, after: int | None, *, follow: bool, output: str) -> bool:
    """Whether there is such a saga."""
    store = open_store(load_settings())
    try:
        if await _ended(store, saga_id) is None:
            return False
        pages = await _read(store, saga_id, tail, after)
        if pages.more:
            tell(f"there are older entries; see them with --tail (up to {HISTORY_READ_MAX:,})")
        _write(pages.records, output)
        seen = pages.records[-1].version if pages.records else after or 0
        while follow:
            # Asked before the journal is read: what ends a saga stands in the journal by then.
            ended = await _ended(store, saga_id)
            newer = (await records_after(store, saga_id, seen)).records
            _write(newer, output)
            seen = newer[-1].version if newer else seen
            if ended is not False:
                return True
            await asyncio.sleep(FOLLOW_S)
        return True
    finally:
        await store.close()


async def _read(store: SagaStore, saga_id: str, tail: int, after: int | None) -> Pages:
    if after is None:
        return await newest_records(store, saga_id, tail)
    return await records_after(store, saga_id, after)


async def _ended(store: SagaStore, saga_id: str) -> bool | None:
    (loaded,) = await store.load([saga_id])
    return None if loaded is None else loaded.saga.state.ended


def _write(records: list[Record], output: str) -> None:
    documents = [line(record) for record in records]
    if output == "json":
        print_json(documents)
    elif output == "jsonl":
        print_lines(documents)
    else:
        print_records(records)


def line(record: Record) -> dict[str, Any]:
    """An entry ready for JSON: its fields, and what happened in a sentence."""
    return {**history_line(record), "said": sentence(record.entry)}


def print_records(records: list[Record]) -> None:
    """Entries on the screen: moment, version, what happened, and by what."""
    from rich.text import Text

    from countermand.coordinator.cli.moments import moment
    from countermand.coordinator.cli.output import printable

    terminal = console()
    for record in records:
        said = Text(printable(sentence(record.entry)))
        wide = terminal.width >= CAUSE_WIDTH_MIN
        cause = Text(f"  [{printable(record.cause)}]" if wide else "", style="dim")
        head = Text(f"{moment(record.at_ms)}  {record.version:>4}  ", style="dim")
        for number, part in enumerate((said + cause).wrap(terminal, max(20, terminal.width - len(head)))):
            part.rstrip()
            terminal.print((head if number == 0 else Text(" " * len(head))) + part, soft_wrap=True)
