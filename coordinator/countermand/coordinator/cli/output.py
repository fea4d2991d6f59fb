"""What every command shares on its way to the terminal: data to standard output, messages to standard error.

Colours are left out where `NO_COLOR` is set, `TERM` is dumb or nobody watches; JSON never has any.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar, cast

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


class WithoutPadding:
    """A stream that takes the blanks from the ends of lines: of a table only a terminal wants its full width."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._stream.write(re.sub(r" +(?=\n)", "", text))
        return len(text)


def console(*, stderr: bool = False) -> "Console":
    """A terminal as wide as it is; what is not one gets lines as long as they are.

    Piped into a file, a table that is folded at 80 columns would be of use to nobody.
    """
    from countermand.coordinator.cli.guarded_console import GuardedConsole

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return GuardedConsole(stderr=stderr, highlight=False, soft_wrap=False)
    width = None if "COLUMNS" in os.environ else PIPED_WIDTH
    return GuardedConsole(file=cast("TextIO", WithoutPadding(stream)), highlight=False, width=width, soft_wrap=False)


def print_json(value: Any) -> None:
    """One document."""
    click.echo(harmless_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_lines(values: Iterable[Any]) -> None:
    """One document a line."""
    for value in values:
        click.echo(harmless_json(json.dumps(value, ensure_ascii=False)))


def tell(text: str) -> None:
    """A message to the person: never a part of the data."""
    say(f"countermand: {text}", err=True)


def say(text: str, *, err: bool = False) -> None:
    """Lines of text, whoever wrote parts of them."""
    click.echo(printable_lines(text), err=err)


def printable(text: str) -> str:
    """A text that is safe to show: what a participant chose must not move the cursor of an operator's terminal."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def printable_lines(text: str) -> str:
    """The same of a text of several lines."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def harmless_json(document: str) -> str:
    """The same document, in characters that no terminal obeys."""
    # JSON escapes control characters up to U+001F only, and some terminals obey those from U+007F on as well.
    return re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", document)


def quiet_logging(level: int = logging.CRITICAL) -> None:
    """What goes wrong with a command's own connections is told by the command, once and in words."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
