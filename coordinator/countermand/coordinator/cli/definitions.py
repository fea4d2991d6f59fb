"""`countermand definitions` and `countermand definitions show`; `definition_tools` has its other commands."""

import json
from collections.abc import Mapping
from typing import Any

import click

from countermand.coordinator.cli.definition_tools import TARGET_HELP, check, diff, graph, known_for, told
from countermand.coordinator.cli.known import is_registered_name, one_source, read_known
from countermand.coordinator.cli.output import (
    console,
    output_option,
    print_json,
    print_lines,
    quiet_logging,
    tell,
)
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.definitions.sources import is_file, is_module
from countermand.schemas.definition import Definition, canonical, definition_hash

HASH_SHOWN = 12


@click.group(invoke_without_command=True)
@output_option
@click.pass_context
def definitions(context: click.Context, output: str) -> None:
    """List the registered definitions: steps, participants, and how many of their sagas are in motion."""
    if context.invoked_subcommand is not None:
        return
    quiet_logging()
    known = run(read_known())
    rows = [definition_document(each, known.in_motion) for each in known.definitions]
    if output == "json":
        print_json(rows)
    elif output == "jsonl":
        print_lines(rows)
    elif rows:
        _print(rows)
    else:
        tell("no definition is registered; register one with `countermand apply DOCUMENT`")


@definitions.command(
    help=f"Show a DEFINITION: {TARGET_HELP}. A line for each node, nested as it is written; as JSON, its document."
)
@click.argument("definition")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@told
def show(definition: str, output: str) -> None:
    if not (is_registered_name(definition) or is_file(definition) or is_module(definition)):
        raise click.UsageError(f"DEFINITION: {definition!r} is not valid; expected {TARGET_HELP}, such as order@3")
    known = known_for([definition])
    found = one_source(definition, known).definition
    if output == "json":
        print_json(json.loads(canonical(found)))
        return
    from countermand.coordinator.cli.definition_table import definition_screen

    terminal = console()
    terminal.print(definition_screen(found, known.sagas_of(found) if known else None, terminal))


for command in (graph, diff, check):
    definitions.add_command(command)


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
