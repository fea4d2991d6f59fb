"""Pydantic models that are made while a saga is written down.

A model checks its values when it is made, and a traced value is no text and no number. So while a saga function runs,
in that thread or task only, a model that is given traced values takes them as they are. What it is given otherwise is
checked as ever. Everything is checked when it is decoded with real data.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from countermand.participants.shapes import model_names
from countermand.schemas.errors import DefinitionError
from countermand.schemas.models import is_models_complaint, model_complaint
from countermand.schemas.stand_ins import holds_stand_in


class _Opening:
    """One change of `BaseModel.__init__` for all traces that are under way, in whatever threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traces = 0
        self._original: Callable[..., None] | None = None

    def open(self, base: Any, is_tracing: Callable[[], bool], place: Callable[[], str]) -> None:
        with self._lock:
            self._traces += 1
            if self._traces == 1:
                self._original = base.__init__
                base.__init__ = _tolerant(base.__init__, is_tracing, place)

    def close(self, base: Any) -> None:
        with self._lock:
            self._traces -= 1
            if self._traces == 0:
                base.__init__, self._original = self._original, None


_opening = _Opening()


@contextlib.contextmanager
def models_take_traced_values(is_tracing: Callable[[], bool], place: Callable[[], str]) -> Iterator[None]:
    """While this is open, models take traced values where `is_tracing` says so. `place` is the author's line."""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    if base is None:
        yield
        return
    _opening.open(base, is_tracing, place)
    try:
        yield
    finally:
        _opening.close(base)


def _tolerant(
    original: Callable[..., None], is_tracing: Callable[[], bool], place: Callable[[], str]
) -> Callable[..., None]:
    def make(self: Any, /, **data: Any) -> None:
        if not is_tracing():
            original(self, **data)
        elif any(map(holds_stand_in, data.values())):
            _fill(self, data, place)
        else:
            try:
                original(self, **data)
            except ValueError as error:
                if not is_models_complaint(error):
                    raise
                raise DefinitionError(place(), f"{type(self).__name__}: {model_complaint(error)}") from error

    # By this pydantic knows that a class has no constructor of its own, should one be defined meanwhile.
    make.__pydantic_base_init__ = True  # type: ignore[attr-defined]
    return make


def _fill(model: Any, data: dict[str, Any], place: Callable[[], str]) -> None:
    """What pydantic's `model_construct` does, but missing and unknown fields are found, and no hook is run."""
    class_ = type(model)
    given = dict(data)
    values: dict[str, Any] = {}
    fields_set: set[str] = set()
    for name, field in class_.model_fields.items():
        keys = [key for key in model_names(class_, name) if key in given]
        if keys:
            values[name] = _checked(class_, name, given.pop(keys[0]), place)
            fields_set.add(name)
        elif field.is_required():
            needed = model_names(class_, name)[0]
            raise DefinitionError(place(), f"{class_.__name__} needs {needed!r}, which is missing here")
        else:
            values[name] = field.get_default(call_default_factory=True, validated_data=values)
    if given:
        known = ", ".join(class_.model_fields)
        raise DefinitionError(place(), f"{class_.__name__} has no field {next(iter(given))!r}; its fields are: {known}")
    # `__setattr__` is the model's, and may be frozen.
    object.__setattr__(model, "__dict__", values)
    object.__setattr__(model, "__pydantic_fields_set__", fields_set)
    object.__setattr__(model, "__pydantic_extra__", None)
    object.__setattr__(model, "__pydantic_private__", None)


def _checked(class_: Any, name: str, value: Any, place: Callable[[], str]) -> Any:
    """A field's value, checked by its type and limits unless it is traced, or the class has its own way to check it."""
    validators = class_.__pydantic_decorators__.field_validators.values()
    if holds_stand_in(value) or any({name, "*"} & set(validator.info.fields) for validator in validators):
        return value
    field = class_.model_fields[name]
    declared = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    try:
        return sys.modules["pydantic"].TypeAdapter(declared).validate_python(value)
    except ValueError as error:
        if not is_models_complaint(error):
            raise
        raise DefinitionError(place(), f"{class_.__name__}.{name}: {model_complaint(error)}") from error
