"""`countermand show`."""

import asyncio
import sys
from typing import Any

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import print_json, quiet_logging, tell
from countermand.coordinator.operate.reading import detail
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.identifiers import checked_saga_id


@click.command()
@click.argument("saga_id")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(saga_id: str, output: str) -> None:
    """Show one saga: its steps, why it is stuck, its history."""
    quiet_logging()
    found = asyncio.run(_read(checked_saga_id(saga_id)))
    if found is None:
        tell(f"no saga has the id {saga_id}")
        sys.exit(exits.NOT_FOUND)
    if output == "json":
        print_json(found)
    else:
        from countermand.coordinator.cli.tables import print_detail

        print_detail(found)


async def _read(saga_id: str) -> dict[str, Any] | None:
    store = open_store(load_settings())
    try:
        (loaded,) = await store.load([saga_id])
        return None if loaded is None else detail(loaded.saga, await store.history(saga_id))
    finally:
        await store.close()
