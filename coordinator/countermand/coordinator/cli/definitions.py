"""`countermand definitions` and `countermand definitions show`."""

import asyncio
import difflib
import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import (
    console,
    output_option,
    print_json,
    print_lines,
    quiet_logging,
    tell,
)
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.definition import Definition, canonical, definition_hash
from countermand.schemas.identifiers import checked_slug

HASH_SHOWN = 12


@click.group(invoke_without_command=True)
@output_option
@click.pass_context
def definitions(context: click.Context, output: str) -> None:
    """List the registered definitions: steps, participants, and how many of their sagas are in motion."""
    if context.invoked_subcommand is not None:
        return
    quiet_logging()
    found, in_motion = asyncio.run(_read())
    rows = [definition_document(each, in_motion) for each in found]
    if output == "json":
        print_json(rows)
    elif output == "jsonl":
        print_lines(rows)
    elif rows:
        _print(rows)
    else:
        tell("no definition is registered; register one with `countermand apply DOCUMENT`")


@definitions.command()
@click.argument("definition")
def show(definition: str) -> None:
    """Print the document of DEFINITION (name, for the newest version, or name@version)."""
    quiet_logging()
    name, at, version = definition.partition("@")
    if at and not version.isdigit():
        raise click.UsageError(
            f"DEFINITION: {definition!r} is not valid; expected name or name@version, such as order@3"
        )
    checked_slug("DEFINITION", name)
    found, _ = asyncio.run(_read())
    wanted = [each for each in found if each.name == name and (not at or each.version == int(version))]
    if not wanted:
        near = difflib.get_close_matches(definition, [label for each in found for label in (each.label, each.name)], 1)
        tell(f"{definition} is not registered" + (f"; did you mean {near[0]}?" if near else ""))
        sys.exit(exits.NOT_FOUND)
    print_json(json.loads(canonical(wanted[-1])))


def definition_document(definition: Definition, in_motion: Mapping[str, int]) -> dict[str, Any]:
    """A definition in short, ready for JSON."""
    steps = list(definition.steps())
    return {
        "name": definition.name,
        "version": definition.version,
        "definition": definition.label,
        "hash": definition_hash(definition),
        "steps": [step.name for step in steps],
        "participants": sorted({step.participant for step in steps}),
        "deadline_ms": definition.deadline_ms,
        "in_motion": in_motion.get(definition.label, 0),
    }


async def _read() -> tuple[list[Definition], dict[str, int]]:
    store = open_store(load_settings())
    try:
        return await store.definitions(), (await store.census()).in_motion
    finally:
        await store.close()


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("definition", overflow="fold")
    table.add_column("hash", no_wrap=True)
    table.add_column("in motion", justify="right", no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("participants", overflow="fold")
    for row in rows:
        hash_ = row["hash"][:HASH_SHOWN]
        participants = ", ".join(row["participants"])
        table.add_row(row["definition"], hash_, f"{row['in_motion']:,}", str(len(row["steps"])), participants)
    console().print(table)
