"""`countermand show`."""

import sys

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import console, print_json, quiet_logging, tell
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.document import document
from countermand.coordinator.operate.looking import Look, look
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id


@click.command()
@click.argument("saga_id")
@click.option("--payloads", is_flag=True, help="Show the input, the results and the outcome as well.")
@click.option("--items", is_flag=True, help="Show each item of a loop by itself, not only their numbers.")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(saga_id: str, payloads: bool, items: bool, output: str) -> None:
    """Show one saga: its steps in time, why it is stuck, and what can be done about it.

    Payloads stay hidden unless you ask for them; but what somebody has to decide about is shown.
    """
    quiet_logging()
    seen = run(_read(checked_saga_id(saga_id), items=items))
    if seen is None:
        tell(f"no saga has the id {saga_id}")
        sys.exit(exits.NOT_FOUND)
    if output == "json":
        print_json(document(seen.story, seen.saga, payloads=payloads))
        return
    from countermand.coordinator.cli import telling

    terminal = console()
    terminal.print(telling.screen(seen.story, terminal))
    if payloads:
        terminal.print(telling.payloads(seen.saga))


async def _read(saga_id: str, *, items: bool) -> Look | None:
    store = open_store(load_settings())
    try:
        return await look(store, saga_id, items=items)
    finally:
        await store.close()
