"""Values that stand in for data which isn't there yet, while a saga is being written down.

A contract's own checks can't judge them, so whatever holds one is left unchecked until it is decoded with real data.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import msgspec

from countermand.schemas.models import is_model


class StandIn:
    """The base of such values. Asked for by `is_stand_in`: `isinstance` is what some of them refuse."""

    __slots__ = ()


def is_stand_in(value: object) -> bool:
    """Whether this is no data but stands in for some."""
    return issubclass(type(value), StandIn)


def holds_stand_in(value: Any) -> bool:
    """Whether one is anywhere inside: in lists, mappings, structs, dataclasses and models."""
    if is_stand_in(value):
        return True
    if isinstance(value, str | bytes | int | float | None):
        return False
    if isinstance(value, Mapping):
        return any(map(holds_stand_in, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(holds_stand_in, value))
    if is_model(type(value)):
        return any(map(holds_stand_in, value.__dict__.values()))
    names: tuple[str, ...] = ()
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
    elif dataclasses.is_dataclass(value):
        names = tuple(field.name for field in dataclasses.fields(value))
    # A dataclass that is still being made may lack some.
    return any(holds_stand_in(getattr(value, name, None)) for name in names)


def checks_data_only(post_init: Callable[..., None]) -> Callable[..., None]:
    """The same `__post_init__`, which leaves an instance alone that holds a value without data."""

    @wraps(post_init)
    def check(self: Any, *arguments: Any, **named: Any) -> None:
        if not holds_stand_in(self):
            post_init(self, *arguments, **named)

    return check
