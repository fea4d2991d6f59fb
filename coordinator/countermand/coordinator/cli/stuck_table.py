"""The groups of `countermand stuck`, each a paragraph: a table would have to fold every sentence of it."""

from collections.abc import Sequence
from typing import Any

from rich.padding import Padding
from rich.text import Text

from countermand.coordinator.cli.filtering import quoted_for_shell
from countermand.coordinator.cli.output import console, printable
from countermand.coordinator.operate.durations import short

INDENT = 2


def print_groups(groups: Sequence[dict[str, Any]], *, stuck: int, in_motion: int) -> None:
    """Each group: how many, since when, why, and what to do next."""
    terminal = console()
    many = "saga is" if stuck == 1 else "sagas are"
    terminal.print(Text(f"{stuck:,} {many} stuck, of {in_motion:,} in motion", style="bold"))
    for group in groups:
        terminal.print()
        terminal.print(_headline(group))
        for line in (_place(group), group["meaning"], f"such as {', '.join(group['samples'])}"):
            terminal.print(Padding(Text(line), (0, 0, 0, INDENT), expand=False))
        for command in commands(group):
            # Never folded: a command that is copied must come whole.
            terminal.print(Text(f"{' ' * INDENT}{command}", style="cyan"), soft_wrap=True)


def commands(group: dict[str, Any]) -> list[str]:
    """What to do next, to copy."""
    where = quoted_for_shell(printable(group["where"]))
    show = f"countermand show {quoted_for_shell(group['samples'][0])}"
    return [show, f"countermand retry --where {where} --reason '…'"]


def _headline(group: dict[str, Any]) -> Text:
    many = f"{group['count']:,} saga{'' if group['count'] == 1 else 's'}"
    title = Text(f"{many}: {group['cause'].replace('_', ' ')}", style="bold red")
    return title + Text(f"  oldest {short(group['oldest_ms'])}")


def _place(group: dict[str, Any]) -> str:
    step = f"step {group['step']}" if group["step"] else "no step"
    error = f", error {printable(group['error'])}" if group["error"] else ""
    return f"{group['definition']}, {step}{error}"
