"""`countermand`: run coordinators, start sagas, find out why one is stuck, and free it.

Data goes to standard output, messages to standard error; `exits` has the exit codes.
"""

import sys
from collections.abc import Mapping
from typing import ClassVar

import click

from countermand.coordinator.cli import exits
from countermand.coordinator.cli.lazy import LazyGroup, Section
from countermand.schemas.errors import (
    BrokerUnavailable,
    CountermandError,
    InvalidIdentifier,
    SettingsError,
    StoreUnavailable,
    UnsafeServer,
)

EXIT_CODES = """\b
Exit codes
  0  done                          6    RabbitMQ or Redis can't be reached
  1  a fault of countermand        8    the saga ended compensated
  2  wrong usage or settings       9    the saga is stuck
  3  not found                     124  it took longer than was asked for
  4  refused, and why              130  interrupted
  5  of many, some were refused"""


class Countermand(LazyGroup):
    """The table of commands."""

    sections: ClassVar[Mapping[str, Section]] = {
        "Run": {
            "serve": ("serving:serve", "Run a coordinator until it is told to stop."),
            "settings": ("serving:show_settings", "Show every setting with its value."),
        },
        "Sagas": {
            "apply": ("starting:apply", "Register the definition in a JSON document."),
            "start": ("starting:start", "Start a saga, and wait for its outcome if you like."),
            "list": ("listing:list_", "List sagas, newest first."),
            "show": ("showing:show", "Show one saga: its steps, why it is stuck, what can be done."),
        },
    }


@click.group(cls=Countermand, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="countermand")
def cli() -> None:
    """Durable sagas over RabbitMQ and Redis. Every command has its countermand.

    Configured by environment variables COUNTERMAND_…; `countermand settings` shows them.
    """


def main() -> None:
    """Entry point: turns our own errors into a line and an exit code."""
    try:
        cli()
    except CountermandError as error:
        click.echo(f"countermand: {error}", err=True)
        sys.exit(_code(error))


def _code(error: CountermandError) -> int:
    match error:
        case SettingsError() | InvalidIdentifier():
            return exits.USAGE
        case StoreUnavailable() | BrokerUnavailable():
            return exits.UNREACHABLE
        case UnsafeServer():
            return exits.REFUSED
        case _:
            raise error


if __name__ == "__main__":
    main()
