"""Expressions: what a traced value stands for, as text of the document (CEL) with its declared type.

A plain path (`input.order.id`) is one; so is what is computed from paths. Where an expression may be read from is
known by its sources: `optional` and `collected` are how a value gets out of a branch and out of a loop.
"""

from collections.abc import Collection
from typing import Any, Final

import msgspec
from msgspec import inspect

from countermand.participants.regions import Region
from countermand.participants.shapes import Shape
from countermand.schemas.errors import DefinitionError
from countermand.schemas.template import Key, key_text

# How tightly the outermost operator of a text binds, in CEL's order.
TERNARY, OR, AND, RELATION, SUM, PRODUCT, UNARY, MEMBER = range(8)

_STEPS: Final = "steps."


class Source(msgspec.Struct, frozen=True):
    """What an expression reads: `input`, `steps.<name>`, `each.<name>.item`; and the enclosures it came to be in."""

    text: str
    home: tuple[Region, ...] = ()


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """Text of the document with the type of its value.

    `keys` is the way from the one source, if it is a plain path; `entries` says of each list that `collected` made,
    the outermost first, whether entries may be null; `guarded` is what `optional` guards. `value` is a literal's, and
    `is_double` says that CEL has a double here whatever the data holds.
    """

    text: str
    shape: Shape
    sources: tuple[Source, ...] = ()
    tightness: int = MEMBER
    keys: tuple[Key, ...] | None = None
    entries: tuple[bool, ...] = ()
    guarded: "Expression | None" = None
    value: Any = msgspec.UNSET
    is_double: bool = False

    @property
    def is_literal(self) -> bool:
        return self.value is not msgspec.UNSET

    def within(self, tightness: int) -> str:
        """The text as an operand of something that binds as tightly as this."""
        return self.text if self.tightness >= tightness else f"({self.text})"


def place(source: str, shape: Shape, home: tuple[Region, ...] = ()) -> Expression:
    """The expression for what stands at the root of a path."""
    return Expression(text=source, shape=shape, sources=(Source(source, home),), keys=())


def child(parent: Expression, key: Key, shape: Shape) -> Expression:
    """The expression for a field or an entry.

    Raises:
        DefinitionError: nothing can be read from what `optional` gives.
    """
    if parent.guarded is not None:
        problem = f"it may be null; read the field inside: optional({_spoken(parent.guarded)}{_python(key)})"
        raise DefinitionError("", problem)
    keys = None if parent.keys is None or parent.entries else (*parent.keys, key)
    return Expression(text=parent.within(MEMBER) + key_text(key), shape=shape, sources=parent.sources, keys=keys)


def optional(value: Expression) -> Expression:
    """The value, or null if what it reads has not run.

    Raises:
        DefinitionError: it reads no step's result.
    """
    if value.guarded is not None:
        return value
    steps = list(dict.fromkeys(source.text for source in value.sources if source.text.startswith("steps")))
    if not steps:
        raise DefinitionError("", "optional() is for what a step, wait or child gave; this is always there")
    if unspeakable := next((text for text in steps if not text.startswith(_STEPS)), None):
        raise DefinitionError("", f"{unspeakable}: CEL can't ask for a step of this name; give it another one")
    there = " && ".join(f"has({text})" for text in steps)
    shape = inspect.UnionType((value.shape, inspect.NoneType()))
    return Expression(
        text=f"{there} ? {value.within(OR)} : null",
        shape=shape,
        sources=tuple(Source(source.text, _out_of_branches(source.home)) for source in value.sources),
        tightness=TERNARY,
        guarded=value,
    )


def or_empty(field: Expression) -> Expression:
    """A text field that may be missing; then empty text."""
    text = f'has({field.text}) ? {field.text} : ""'
    return Expression(text=text, shape=field.shape, sources=field.sources, tightness=TERNARY)


def collected(value: Expression, opened: Collection[Region]) -> Expression:
    """The list of what a step in a loop gave, one entry for each item; `opened` are the regions being written.

    Raises:
        DefinitionError: it is no result of a loop that has ended; says what to write instead.
    """
    base = value.guarded or value
    if base.keys is None or not base.sources[0].text.startswith("steps"):
        raise DefinitionError("", f"collected() is for a step's result or a field of it, not for {base.text}")
    home = tuple(region for region in value.sources[0].home if region.enclosure)
    if not home or home[-1].enclosure != "loop":
        if home and home[-1] not in opened:
            raise DefinitionError("", f"it may not have run; write collected(optional({_spoken(base)}))")
        raise DefinitionError("", "it doesn't come from a loop, so there is one of it; drop collected()")
    if home[-1] in opened:
        raise DefinitionError(
            "", f"inside its loop it is the one of this item; write collected() after {home[-1].opening}"
        )
    entries = (value.guarded is not None, *base.entries)
    return Expression(
        text=_mapped(base.sources[0].text, entries, base.keys),
        shape=inspect.ListType(item_type=value.shape),
        sources=(Source(base.sources[0].text, home[:-1]),),
        keys=base.keys,
        entries=entries,
    )


def enclosing(expression: Expression, opened: Collection[Region]) -> tuple[Source, Region] | None:
    """A source that can't be read from where `opened` is being written, and the enclosure that is between."""
    for source in expression.sources:
        for region in reversed(source.home):
            if region.enclosure and region not in opened:
                return source, region
    return None


def _out_of_branches(home: tuple[Region, ...]) -> tuple[Region, ...]:
    while home and home[-1].enclosure != "loop":
        home = home[:-1]
    return home


def _mapped(source: str, entries: tuple[bool, ...], keys: tuple[Key, ...]) -> str:
    """Each entry's field at `keys`, however deep the lists are nested; null stays null."""
    if not keys:
        return source
    way = "".join(map(key_text, keys))

    def mapped(list_: str, depth: int) -> str:
        item = "item" if len(entries) == 1 else f"item_{depth + 1}"
        inner = item + way if depth + 1 == len(entries) else mapped(item, depth + 1)
        return (
            f"{list_}.map({item}, {item} == null ? null : {inner})"
            if entries[depth]
            else f"{list_}.map({item}, {inner})"
        )

    return mapped(source, 0)


def _spoken(expression: Expression) -> str:
    """A path about as its author wrote it."""
    return expression.text.removeprefix(_STEPS)


def _python(key: Key) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"
