"""The part of a saga that runs once for each item of a list."""

from collections.abc import Collection
from typing import Any, Generic, TypeVar

from msgspec import inspect

from countermand.participants.author_lines import author_line
from countermand.participants.expressions import place
from countermand.participants.groups import Group, claimed
from countermand.participants.regions import Handle, Region
from countermand.participants.shapes import ANY, Shape, describe, is_any, variants
from countermand.participants.tracing import Trace, is_traced, readable
from countermand.schemas.definition import FOR_EACH_CONCURRENCY, ForEachNode, Node
from countermand.schemas.errors import DefinitionError
from countermand.schemas.identifiers import LOOPS_MAX
from countermand.schemas.template import key_text

T = TypeVar("T")


class Each(Handle, Generic[T]):
    """One item of a list and its place, counted from 0."""

    parts = ".item or .index"

    def __init__(self, item: T, index: int) -> None:
        self.item = item
        self.index = index


class ForEach(Group, Generic[T]):
    """See `for_each`."""

    word = "for_each()"
    enclosure = "loop"

    def __init__(self, items: Collection[T], name: str | None, concurrency: int) -> None:
        super().__init__()
        self._items: Any = items
        self._name = name
        self._concurrency = concurrency
        self._text = ""
        self._item_shape: Shape = ANY

    def __enter__(self) -> Each[T]:
        trace = self._begin()
        source = f"each{key_text(self._name or '')}"
        item = trace.value(place(f"{source}.item", self._item_shape, trace.opened))
        return Each(item, trace.value(place(f"{source}.index", inspect.IntType(), trace.opened)))

    def take_place(self, trace: Trace, region: Region) -> None:
        if not is_traced(self._items):
            problem = "takes a list in the saga's data; over a list that is known now, write a plain `for`"
            raise DefinitionError(author_line(), f"{self.word} {problem}")
        items = readable(self._items)
        found = _item_shape(items.shape)
        if found is None:
            raise DefinitionError(author_line(), f"{self.word}: {items.text} is {describe(items.shape)}, not a list")
        if sum(opened.enclosure == "loop" for opened in trace.opened) >= LOOPS_MAX:
            problem = f"loops stand in one another at most {LOOPS_MAX} deep; make a child saga of the inner one"
            raise DefinitionError(author_line(), f"{self.word}: {problem}")
        if type(self._concurrency) is not int:
            raise DefinitionError(author_line(), f"concurrency: {self._concurrency!r} is not a whole number")
        self._text, self._item_shape = items.text, found
        self._name = claimed(trace, self.word, self._name or trace.counted_name("for_each"))
        trace.add(self)

    def node(self) -> Node:
        return ForEachNode(self._name or "", {"$": self._text}, self.body.node(), self._concurrency)


def for_each(items: Collection[T], *, name: str | None = None, concurrency: int = FOR_EACH_CONCURRENCY) -> ForEach[T]:
    """`with for_each(order.lines) as line:` runs what is in it once for each item, at most `concurrency` at a time.

    `line.item` and `line.index` are the item and its place. What a step inside gave is one for each item: after the
    loop, `collected(…)` is the list of them, in the list's order.
    """
    return ForEach(items, name, concurrency)


def _item_shape(shape: Shape) -> Shape | None:
    """What stands in a list; None if it is none."""
    found: list[Shape] = []
    for variant in variants(shape):
        if is_any(variant):
            return ANY
        if isinstance(variant, inspect.TupleType):
            found.append(inspect.UnionType(variant.item_types))
        elif (item := getattr(variant, "item_type", None)) is not None:
            found.append(item)
        else:
            return None
    return found[0] if len(found) == 1 else inspect.UnionType(tuple(found)) if found else None
