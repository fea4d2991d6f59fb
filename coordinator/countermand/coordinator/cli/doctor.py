"""`countermand doctor`: what is wrong with an installation, why it matters, and how to mend it."""

import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.output import output_option, print_json, print_lines, quiet_logging
from countermand.coordinator.cli.running import run
from countermand.coordinator.operate.doctor import Examination, examine, worst
from countermand.coordinator.settings import load_settings


@click.command()
@click.option("--verbose", "-v", is_flag=True, help="Show what is in order, too.")
@output_option
def doctor(verbose: bool, output: str) -> None:
    """Examine RabbitMQ, Redis, coordinators and participants.

    Changes nothing. Exit code: 0 nothing wrong, 10 warnings, 11 something critical, 6 a server can't be reached.
    """
    quiet_logging()
    found = run(examine(load_settings()))
    values: list[dict[str, Any]] = [msgspec.to_builtins(each) for each in found]
    if output == "json":
        print_json(values)
    elif output == "jsonl":
        print_lines(values)
    else:
        from countermand.coordinator.cli.doctor_table import print_examinations

        print_examinations(found, verbose=verbose)
    sys.exit(exit_code(found))


def exit_code(found: Sequence[Examination]) -> int:
    """The code that says how bad it is."""
    if any(each.unreachable for each in found):
        return exits.UNREACHABLE
    match worst(found):
        case "critical":
            return exits.CRITICAL
        case "warning":
            return exits.WARNINGS
        case _:
            return exits.DONE
