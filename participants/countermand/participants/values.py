"""What can be asked and made of the values of a saga, beside comparing them and calculating with them."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar, overload

from countermand.participants import expressions, operators
from countermand.participants.author_lines import author_line
from countermand.participants.tracing import computed, current_trace, is_traced
from countermand.schemas.errors import DefinitionError

T = TypeVar("T")


def all_of(*conditions: bool) -> bool:
    """Whether all of the conditions hold; takes the place of `and`."""
    holds: Any = computed(lambda *parts: operators.combined("&&", parts), *conditions)
    return holds  # type: ignore[no-any-return]


def any_of(*conditions: bool) -> bool:
    """Whether at least one of the conditions holds; takes the place of `or`."""
    holds: Any = computed(lambda *parts: operators.combined("||", parts), *conditions)
    return holds  # type: ignore[no-any-return]


def none_of(*conditions: bool) -> bool:
    """Whether not one of the conditions holds; takes the place of `not`."""
    holds: Any = computed(lambda *parts: operators.negated(operators.combined("||", parts)), *conditions)
    return holds  # type: ignore[no-any-return]


def is_present(value: object) -> bool:
    """Whether the value is there; takes the place of `is not None`."""
    _require_traced("is_present()", value)
    there: Any = computed(operators.present, value)
    return there  # type: ignore[no-any-return]


@overload
def contains(whole: str, part: str) -> bool: ...
@overload
def contains(whole: Mapping[T, Any], part: T) -> bool: ...
@overload
def contains(whole: Collection[T], part: T) -> bool: ...
def contains(whole: Any, part: Any) -> bool:
    """Whether a text has a part, a mapping a key, or a list an entry; takes the place of `in`."""
    found: Any = computed(operators.contained, whole, part)
    return found  # type: ignore[no-any-return]


def size(many: Collection[Any]) -> int:
    """How many entries a list or mapping has; takes the place of `len()`."""
    _require_traced("size()", many)
    counted: Any = computed(operators.size, many)
    return counted  # type: ignore[no-any-return]


def optional(value: T) -> T | None:
    """What a step, wait or child gave, or None if it has not run.

    So is read from outside what is in a `when`, `otherwise`, `timed_out`, `denied` or `scope`.
    """
    _require_traced("optional()", value)
    read: Any = computed(expressions.optional, value)
    return read  # type: ignore[no-any-return]


def collected(value: T) -> list[T]:
    """What a step in a loop gave, or a field of it, of all items: a list in the order of the items.

    Of a step that may not have run for every item, `collected(optional(…))` has None there.
    """
    _require_traced("collected()", value)
    regions = current_trace("collected()").opened
    many: Any = computed(lambda one: expressions.collected(one, regions), value)
    return many  # type: ignore[no-any-return]


def _require_traced(word: str, value: object) -> None:
    if not is_traced(value):
        raise DefinitionError(author_line(), f"{word} takes a value of the saga; this one is known already")
