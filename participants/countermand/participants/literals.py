"""Turns a command, or what a saga function returns, into the template that stands in the document.

Traced values become `{"$": "…"}`; everything else becomes the JSON that msgspec makes of it, under the names that
the wire uses.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from countermand.participants.author_lines import author_line
from countermand.participants.regions import Handle
from countermand.participants.shapes import (
    ANY,
    Shape,
    describe,
    fits,
    is_any,
    model_fields,
    shape_of,
    variants,
    wire_key,
)
from countermand.participants.tracing import MARK, is_traced, readable
from countermand.schemas.errors import DefinitionError
from countermand.schemas.models import builtins_hook, decode_hook, is_model, split_complaint
from countermand.schemas.stand_ins import holds_stand_in


def template_of(value: Any, shape: Shape, where: str) -> Any:
    """The template for a value that is declared with this shape. `where` names the field, for errors.

    Raises:
        DefinitionError: it can't be sent as JSON, or isn't what its field is declared as.
    """
    if is_traced(value):
        found = readable(value)
        if not fits(found.shape, shape):
            raise _error(where, f"expected {describe(shape)}, but {found.text} is {describe(found.shape)}")
        return {"$": found.text}
    if isinstance(value, Handle):
        raise _error(where, f"what the `with` gives is no value itself; write {value.parts} behind it")
    if isinstance(value, msgspec.Struct):
        return _object(value, shape, where)
    if not holds_stand_in(value):
        return _literal(value, shape, where)
    if isinstance(value, Mapping):
        return _mapping(value, shape, where)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return _list(value, shape, where)
    return _object(value, shape, where)


def _object(value: Any, shape: Shape, where: str) -> Any:
    """A struct, or a dataclass, named tuple or model with a traced value somewhere inside."""
    if is_model(type(value)):
        return _model(value, shape, where)
    own = shape_of(type(value), where)
    if not isinstance(own, inspect.StructType | inspect.DataclassType | inspect.NamedTupleType):
        raise _error(where, f"a traced value can't stand inside a {type(value).__name__}")
    if not (_generic_match(own, shape) or fits(own, shape)):
        raise _error(where, f"expected {describe(shape)}, got {describe(own)}")
    declared = _declared(own, shape)
    items: dict[Any, Any] = {}
    if isinstance(own, inspect.StructType) and own.tag is not None:
        items[0 if own.array_like else own.tag_field] = own.tag
    for position, field in enumerate(own.fields):
        part = getattr(value, field.name)
        if part is not msgspec.UNSET:
            place = f"{where}.{field.name}"
            items[wire_key(own, position)] = template_of(part, declared.fields[position].type, place)
    as_list = isinstance(own, inspect.NamedTupleType) or (isinstance(own, inspect.StructType) and own.array_like)
    if not holds_stand_in(value):
        _require_valid(value, where)
    return list(items.values()) if as_list else items


def _model(value: Any, shape: Shape, where: str) -> dict[str, Any]:
    own = shape_of(type(value), where)
    if not fits(own, shape):
        raise _error(where, f"expected {describe(shape)}, got {describe(own)}")
    try:
        fields = model_fields(type(value))
    except DefinitionError as error:
        raise _error(where, error.problem) from None
    literals = {field.name for field in fields if not holds_stand_in(getattr(value, field.name))}
    # By the model's own serializers, and without its warnings: they are about what is traced.
    items: dict[str, Any] = value.model_dump(mode="json", by_alias=True, include=literals, warnings=False)
    for field in fields:
        if field.name not in literals:
            items[field.encode_name] = template_of(getattr(value, field.name), field.type, f"{where}.{field.name}")
    return items


def _require_valid(value: Any, where: str) -> None:
    """Constraints such as `Meta(ge=1)`, of which the shapes say nothing."""
    try:
        msgspec.convert(_plain(value), type(value), str_keys=True, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        problem, path = split_complaint(error)
        raise _error(where + path, problem) from error


def _list(value: Sequence[Any], shape: Shape, where: str) -> list[Any]:
    found = []
    for index, part in enumerate(value):
        if (item := _item(shape, index)) is None:
            raise _error(where, f"expected {describe(shape)}, got a list of {len(value)}")
        found.append(template_of(part, item, f"{where}[{index}]"))
    return found


def _mapping(value: Mapping[Any, Any], shape: Shape, where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, part in value.items():
        (name,) = _plain({key: None})
        if (item := _value(shape, name)) is None:
            raise _error(f"{where}[{name!r}]", f"expected {describe(shape)}, got an object with this key")
        found[name] = template_of(part, item, f"{where}[{name!r}]")
    return found


def _literal(value: Any, shape: Shape, where: str) -> Any:
    try:
        plain = _plain(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _error(where, f"{type(value).__name__} can't be sent as JSON: {error}") from error
    for leaf in _leaves(plain):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise _error(where, f"{leaf} has no form in JSON")
        if isinstance(leaf, str) and MARK in leaf:
            raise _error(where, "this text was made from a traced value; pass that in a field of its own")
    if not _accepts(value, plain, shape):
        raise _error(where, f"expected {describe(shape)}, got {type(value).__name__}")
    return plain


def _accepts(value: Any, plain: Any, shape: Shape) -> bool:
    """Whether a literal is what its field is declared as."""
    if is_any(shape):
        return True
    if value is None:
        return fits(inspect.NoneType(), shape)
    for variant in variants(shape):
        match variant:
            case inspect.LiteralType(values=values):
                accepted = plain in values
            case inspect.EnumType(cls=cls):
                accepted = isinstance(value, cls)
            case inspect.CustomType(cls=cls):
                accepted = isinstance(value, cls)
            case inspect.StructType() | inspect.DataclassType() | inspect.NamedTupleType() | inspect.TypedDictType():
                accepted = _converts(plain, variant.cls)
            case inspect.DictType():
                accepted = isinstance(value, Mapping) and all(
                    _accepts(part, _plain(part), variant.value_type) for part in value.values()
                )
            case _ if isinstance(value, list | tuple | set | frozenset):
                accepted = _accepts_items(value, variant)
            case _:
                accepted = fits(inspect.type_info(type(value)), variant)
        if accepted:
            return True
    return False


def _accepts_items(value: Any, shape: Shape) -> bool:
    if isinstance(shape, inspect.TupleType) and len(shape.item_types) != len(value):
        return False
    return all(
        (expected := _item(shape, index)) is not None and _accepts(item, _plain(item), expected)
        for index, item in enumerate(value)
    ) and (bool(value) or isinstance(shape, inspect.TupleType) or _item(shape, 0) is not None)


def _converts(plain: Any, type_: Any) -> bool:
    try:
        msgspec.convert(plain, type_, builtin_types=(), str_keys=True, dec_hook=decode_hook)
    except msgspec.ValidationError:
        return False
    return True


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True, enc_hook=builtins_hook)


def _leaves(plain: Any) -> Iterator[Any]:
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield key
            yield from _leaves(value)
    elif isinstance(plain, list | tuple):
        for value in plain:
            yield from _leaves(value)
    else:
        yield plain


def _item(shape: Shape, index: int) -> Shape | None:
    """The shape of a list's entry; None if there can't be one."""
    for variant in variants(shape):
        if is_any(variant):
            return ANY
        match variant:
            case inspect.TupleType(item_types=items) if index < len(items):
                return items[index]
            case inspect.ListType() | inspect.VarTupleType() | inspect.CollectionType() | inspect.SetType():
                return variant.item_type
            case inspect.FrozenSetType(item_type=item):
                return item
    return None


def _value(shape: Shape, key: str) -> Shape | None:
    """The shape of what a mapping has under a key; None if there can't be one."""
    for variant in variants(shape):
        if is_any(variant):
            return ANY
        match variant:
            case inspect.DictType(value_type=value):
                return value
            case inspect.TypedDictType(fields=fields):
                return next((field.type for field in fields if field.encode_name == key), None)
    return None


def _generic_match(own: Any, shape: Shape) -> bool:
    # `Page(items=…)` doesn't remember that it was a Page[Order]; the declaration does.
    return any(getattr(getattr(variant, "cls", None), "__origin__", None) is own.cls for variant in variants(shape))


def _declared(own: Any, shape: Shape) -> Any:
    for variant in variants(shape):
        if getattr(getattr(variant, "cls", None), "__origin__", None) is own.cls:
            return variant
    return own


def _error(where: str, problem: str) -> DefinitionError:
    return DefinitionError(author_line(), f"{where}: {problem}")
