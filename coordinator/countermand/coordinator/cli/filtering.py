"""How a command takes a filter: `--where`, and for the usual conditions an option of their own."""

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from countermand.coordinator.operate.filters import Filter

Function = TypeVar("Function", bound=Callable[..., Any])

WHERE_HELP = """\b
Conditions, separated by spaces, that must all hold:
  phase:compensating    definition:order or order@3
  stuck:any or a cause  step:ship (any item's, too)  error:timed_out
  tag:vip  hold:paused  age:>2h  age:<30m
  since:>1d (stuck or paused for)  updated:>1h (unchanged for)
  approval:any or a role that may decide  assignee:alice
A value with spaces is quoted: error:"no money"."""


def where_option(function: Function) -> Function:
    """Adds `--where`."""
    return click.option("--where", default="", metavar="FILTER", help="Only sagas that match; see below.")(function)


def filter_from(where: str, *conditions: tuple[str, str | None]) -> "Filter":
    """The filter that `--where` and further conditions make together.

    Raises:
        click.UsageError: it can't be read; says which condition and what is expected.
    """
    from countermand.coordinator.operate.filters import FilterError, condition, parse

    further = [condition(name, value) for name, value in conditions if value is not None]
    try:
        return parse(" ".join([where, *further]))
    except FilterError as error:
        raise click.UsageError(str(error)) from error


def quoted_for_shell(text: str) -> str:
    """A word of a command that can be pasted into a shell as it is."""
    return shlex.quote(text)
