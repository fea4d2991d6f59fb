"""`countermand list`."""

import asyncio
from typing import Any

import click
import msgspec

from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging
from countermand.coordinator.operate.reading import summary
from countermand.coordinator.ports import SagaQuery
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings


@click.command(name="list")
@click.option("--phase", default=None, help="Only sagas in this phase, such as running or compensated.")
@click.option("--definition", default=None, help="Only sagas of this name@version.")
@click.option("--stuck", default=None, help="Only sagas stuck by this cause; 'any' for all.")
@click.option("--tag", default=None, help="Only sagas with this tag.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@output_option
def list_(
    phase: str | None, definition: str | None, stuck: str | None, tag: str | None, limit: int, output: str
) -> None:
    """List sagas, newest first."""
    quiet_logging()
    asked = {"phase": phase, "definition": definition, "stuck": stuck, "tag": tag, "limit": limit}
    try:
        query = msgspec.convert(asked, SagaQuery)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from error
    rows = asyncio.run(_read(query))
    if output == "json":
        print_json(rows)
    elif output == "jsonl":
        print_lines(rows)
    else:
        from countermand.coordinator.cli.tables import print_list

        print_list(rows)


async def _read(query: SagaQuery) -> list[dict[str, Any]]:
    store = open_store(load_settings())
    try:
        return [summary(saga) for saga in await store.sagas(query)]
    finally:
        await store.close()
