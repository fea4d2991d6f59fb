"""Lines of a screen, fitted to its width."""

import textwrap
from collections.abc import Iterator

from rich.text import Text

from countermand.coordinator.cli.output import printable


def joined(parts: list[str], width: int) -> Iterator[Text]:
    """The parts side by side, on as many lines as it takes; no part is broken if it fits on a line."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if line and len(longer) > width:
            yield flat(line)
            line = part
        else:
            line = longer
    if line:
        yield flat(line)


def command_lines(command: str, width: int, indent: int) -> Iterator[Text]:
    """A command line to copy: where it has to be broken, a shell reads the parts as one."""
    line = " " * indent
    for index, part in enumerate(command.split(" --")):
        word = part if index == 0 else f" --{part}"
        if len(line) + len(word) + len(" \\") > width and index > 0:
            yield flat(f"{line} \\")
            line = " " * 2 * indent + word.lstrip()
        else:
            line += word
    yield flat(line)


def wrapped(text: str, width: int, *, indent: int = 0, hang: int = 0, style: str = "") -> Iterator[Text]:
    """The text on as many lines as it takes, the first one indented, the others by `hang` more."""
    # What participants and operators wrote may hold line ends and control characters.
    safe = printable(text)
    lines = textwrap.wrap(
        safe,
        max(20, width),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        drop_whitespace=True,
        break_on_hyphens=False,
    )
    for line in lines:
        yield flat(line, style)


def flat(text: str, style: str = "") -> Text:
    """A line of text, whoever wrote it."""
    return Text(printable(text), style=style)


def cut(name: str, width: int) -> str:
    """The name, if need be without its end."""
    return name if len(name) <= width else name[: width - 1] + "…"
