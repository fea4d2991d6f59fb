"""A definition on the screen: a line for each node, nested as it is written, laid out for the terminal's width."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from countermand.coordinator.cli.output import printable
from countermand.coordinator.operate.counting import counted
from countermand.coordinator.operate.definitions.outline import Line, outline
from countermand.coordinator.operate.definitions.words import saga_facts, value_text
from countermand.schemas.definition import Definition, definition_hash

if TYPE_CHECKING:
    from rich.console import Console

HASH_SHOWN: Final = 12
INDENT: Final = 2
GAP: Final = 2
NAME_WIDTH_MAX: Final = 32  # Longer ones, and those nested deep, push their own line aside.
WHAT_WIDTH_MIN: Final = 24  # With less than that, the columns stand below the name instead.


def definition_screen(definition: Definition, in_motion: int | None, console: "Console") -> Group:
    """What a definition says, for people. `in_motion` is null where nobody counted its sagas."""
    width = console.width
    title = Text.assemble((printable(definition.label), "bold"), f"  {definition_hash(definition)[:HASH_SHOWN]}")
    facts = [*saga_facts(definition)]
    if in_motion is not None:
        facts.insert(0, f"{counted(in_motion, 'saga')} in motion")
    lines = [title, *(Text(line) for line in _wrapped("; ".join(facts), width)), Text()]
    lines += _table(outline(definition), width)
    if definition.outcome is not None:
        lines += [Text(), *(Text(line) for line in _wrapped(f"outcome: {value_text(definition.outcome)}", width))]
    return Group(*lines)


def _table(lines: Sequence[Line], width: int) -> Iterator[Text]:
    name_width = min(NAME_WIDTH_MAX, max(len("name"), *(len(_name(line)) for line in lines), 0))
    waits_width = max(len("waits"), *(len(line.waits) for line in lines), 0)
    role_width = max(len("kind"), *(len(line.role) for line in lines), 0)
    what_width = width - name_width - waits_width - role_width - 3 * GAP
    if what_width < WHAT_WIDTH_MIN:
        for line in lines:
            yield from _stacked(line, width)
        return
    what_width = min(what_width, max(len("what"), *(len(line.what) for line in lines), 0))
    widths = (name_width, what_width, waits_width, role_width)
    yield Text(_row(("name", "what", "waits", "kind"), widths), style="bold")
    for line in lines:
        yield from _columns(line, widths)


def _columns(line: Line, widths: tuple[int, int, int, int]) -> Iterator[Text]:
    name, style = _name(line), "" if line.kind else "dim"
    if not line.kind:
        yield Text(name, style=style)
        return
    if len(name) > widths[0]:
        yield Text(name)
        name = ""
    what = textwrap.wrap(printable(line.what), widths[1], break_on_hyphens=False) or [""]
    yield Text(_row((name, what[0], line.waits, line.role), widths), style=style)
    for rest in what[1:]:
        yield Text(_row(("", rest, "", ""), widths))


def _stacked(line: Line, width: int) -> Iterator[Text]:
    """The name, and below it what there is to say."""
    yield Text(_name(line), style="bold" if line.kind else "dim")
    said = "; ".join(each for each in (line.what, line.waits, line.role) if each)
    indent = min(len(_name(line)) - len(_name(line).lstrip()) + INDENT, width // 2)
    for part in textwrap.wrap(printable(said), max(10, width - indent), break_on_hyphens=False):
        yield Text(" " * indent + part)


def _name(line: Line) -> str:
    return " " * INDENT * line.depth + printable(line.name) + ("" if line.kind else ":")


def _row(texts: tuple[str, str, str, str], widths: tuple[int, int, int, int]) -> str:
    return (" " * GAP).join(f"{text:<{width}}" for text, width in zip(texts, widths, strict=True)).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(printable(text), max(20, width), break_on_hyphens=False)
