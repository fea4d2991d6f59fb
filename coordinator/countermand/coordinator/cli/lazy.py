"""A command group that imports the module of a command only when it runs, so that `--help` and completion are quick."""

import difflib
import importlib
from collections.abc import Mapping
from typing import ClassVar, Final

import click

Section = Mapping[str, tuple[str, str]]

_MODULES: Final = "countermand.coordinator.cli"


class LazyGroup(click.Group):
    """Knows its commands by a table: sections of `name: (module:attribute, one line of help)`."""

    sections: ClassVar[Mapping[str, Section]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for section in self.sections.values():
            if cmd_name in section:
                return _load(section[cmd_name][0])
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # A command's own name may differ from the table's (`list` is a bad name for a Python function): the table's
        # is the one that was typed.
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            ctx.fail(f"there is no command {args[0]!r}{hint}")
        return args[0], command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in section.items()])


def _load(place: str) -> click.Command:
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(importlib.import_module(f"{_MODULES}.{module}"), attribute)
    return command
