"""What every command shares on its way to the terminal: data to standard output, messages to standard error.

Colours are left out where `NO_COLOR` is set, `TERM` is dumb or nobody watches; JSON never has any.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

Function = TypeVar("Function", bound=Callable[..., Any])

PIPED_WIDTH: Final = 200  # Wide enough for every table of ours.
FORMATS: Final = ("table", "json", "jsonl")


def output_option(function: Function) -> Function:
    """Adds `--output`."""
    return click.option(
        "--output", "-o", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print it."
    )(function)


def console(*, stderr: bool = False) -> "Console":
    """A terminal as wide as it is; what is not one gets lines as long as they are.

    Piped into a file, a table that is folded at 80 columns would be of use to nobody.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=False)


def print_json(value: Any) -> None:
    """One document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_lines(values: Iterable[Any]) -> None:
    """One document a line."""
    for value in values:
        click.echo(json.dumps(value, ensure_ascii=False))


def tell(text: str) -> None:
    """A message to the person: never a part of the data."""
    click.echo(f"countermand: {text}", err=True)


def quiet_logging(level: int = logging.WARNING) -> None:
    """The drivers' news is for standard error, and only where something is wrong."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
