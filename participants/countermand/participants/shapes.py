"""What a traced value knows about itself: its declared type, which fields that has, and where it fits.

msgspec's own reading of types is used throughout, so that renamed fields, dataclasses, typed dicts, generics and
forward references mean here what they mean on the wire. Pydantic's models are to msgspec a type that only their
author can judge; what is inside them is read from pydantic.
"""

import types
from collections.abc import Iterator
from typing import Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from countermand.schemas.errors import DefinitionError
from countermand.schemas.models import is_model, is_root_model
from countermand.schemas.template import Key

Shape = inspect.Type

ANY: Final = inspect.AnyType()

_Fielded = inspect.StructType | inspect.DataclassType | inspect.NamedTupleType | inspect.TypedDictType
_Arrays = (
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
    inspect.CollectionType,
)


def shape_of(type_: Any, where: str) -> Shape:
    """What msgspec knows of a type.

    Raises:
        DefinitionError: it can't be sent as JSON, or names something that doesn't exist.
    """
    try:
        shape = inspect.type_info(type_)
    except (TypeError, NameError) as error:
        raise DefinitionError(where, f"{type_!r} can't be sent as JSON: {error}") from error
    for part in _parts(shape, set()):
        if isinstance(part, inspect.DataclassType) and hasattr(part.cls, "__pydantic_validator__"):
            problem = f"{describe(part)} is a dataclass of pydantic's, whose validators would never run here"
            raise DefinitionError(where, f"{problem}; derive it from pydantic.BaseModel, or use Python's own dataclass")
    return shape


def variants(shape: Shape) -> tuple[Shape, ...]:
    """The members of a union without null and without annotations; the shape itself if it is no union."""
    if isinstance(shape, inspect.Metadata):
        return variants(shape.type)
    if isinstance(shape, inspect.UnionType):
        return tuple(found for member in shape.types for found in variants(member))
    return () if isinstance(shape, inspect.NoneType) else (shape,)


def is_nothing(shape: Shape) -> bool:
    """Whether only null has this shape."""
    return not variants(shape)


def is_any(shape: Shape) -> bool:
    """Whether everything may have this shape: `Any`, `object` and types that only their author can judge."""
    if isinstance(shape, inspect.CustomType):
        return not is_model(shape.cls) or is_root_model(shape.cls)
    return isinstance(shape, inspect.AnyType | inspect.RawType)


def model_names(model: Any, name: str) -> tuple[str, ...]:
    """The keys under which a model takes one of its fields, the one that it writes first."""
    field = model.model_fields[name]
    told = field.validation_alias
    taken = [told] if isinstance(told, str) else [key for key in getattr(told, "choices", ()) if isinstance(key, str)]
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    if told is None or by_name:
        taken.append(name)
    written = field.serialization_alias or name
    return tuple(sorted(taken, key=lambda key: key != written))


def model_fields(model: Any) -> tuple[inspect.Field, ...]:
    """The fields of a pydantic model as msgspec would describe them.

    Raises:
        DefinitionError: a field is written under another name than it is read, so it would never arrive.
    """
    if not model.__pydantic_complete__:
        model.model_rebuild()
    if model.__pydantic_decorators__.model_serializers:
        problem = "it has a model_serializer, so nobody knows its fields on the wire; pass it whole"
        raise DefinitionError("", f"{model.__name__}: {problem}")
    return tuple(_model_field(model, name, field) for name, field in model.model_fields.items())


def attribute(shape: Shape, name: str) -> tuple[Key, Shape]:
    """The wire's key and the shape of a field. A union must have the field in every member but null.

    Raises:
        DefinitionError: there is no such field; names those that are there.
    """
    return _joined([_attribute(variant, name) for variant in variants(shape)], shape)


def entry(shape: Shape, key: object) -> tuple[Key, Shape]:
    """The wire's key and the shape of what `value[key]` reads.

    Raises:
        DefinitionError: it can't be indexed, or not by this.
    """
    return _joined([_entry(variant, key) for variant in variants(shape)], shape)


def fits(source: Shape, target: Shape) -> bool:
    """Whether a value of one declared type can stand where another is declared. A whole number fits a float.

    Null is left to the type checker: here it can't be seen whether the author has ruled it out by an assert.
    """
    sources, targets = variants(source), variants(target)
    if not sources:
        return _takes_null(target)
    return all(any(_fits(one, other) for other in targets) for one in sources)


def wire_key(shape: _Fielded, position: int) -> Key:
    """The key under which the field at `position` is found in JSON."""
    if isinstance(shape, inspect.NamedTupleType):
        return position
    if isinstance(shape, inspect.StructType) and shape.array_like:
        return position + (shape.tag is not None)
    return shape.fields[position].encode_name


def describe(shape: Shape) -> str:
    """The type as its author writes it."""
    match shape:
        case inspect.Metadata(type=inner):
            return describe(inner)
        case inspect.UnionType(types=members):
            return " | ".join(describe(member) for member in members)
        case inspect.NoneType():
            return "None"
        case inspect.DictType(key_type=key, value_type=value):
            return f"dict[{describe(key)}, {describe(value)}]"
        case inspect.VarTupleType(item_type=item):
            return f"tuple[{describe(item)}, ...]"
        case inspect.TupleType(item_types=items):
            return f"tuple[{', '.join(describe(item) for item in items)}]"
        case inspect.LiteralType(values=values):
            return f"Literal[{', '.join(repr(value) for value in values)}]"
        case inspect.ListType(item_type=item) | inspect.SetType(item_type=item):
            return f"{'list' if isinstance(shape, inspect.ListType) else 'set'}[{describe(item)}]"
        case _:
            cls = getattr(shape, "cls", None)
            return type(shape).__name__.removesuffix("Type").lower() if cls is None else _class_name(cls)


def _class_name(cls: Any) -> str:
    return cls.__name__ if isinstance(cls, type) and not isinstance(cls, types.GenericAlias) else str(cls)


def _joined(found: list[tuple[Key, Shape]], shape: Shape) -> tuple[Key, Shape]:
    if not found:
        raise DefinitionError("", "it is always null, so nothing can be read from it")
    keys = {key for key, _ in found}
    if len(keys) > 1:
        raise DefinitionError(
            "", f"the members of {describe(shape)} keep it under different names: {sorted(map(str, keys))}"
        )
    shapes = tuple(part for _, part in found)
    return found[0][0], shapes[0] if len(shapes) == 1 else inspect.UnionType(shapes)


def _attribute(shape: Shape, name: str) -> tuple[Key, Shape]:
    if isinstance(shape, inspect.CustomType) and is_model(shape.cls):
        return _model_attribute(shape, name)
    if is_any(shape):
        return name, ANY
    if not isinstance(shape, inspect.StructType | inspect.DataclassType | inspect.NamedTupleType):
        how = ', read its entries with ["key"]' if isinstance(shape, inspect.DictType | inspect.TypedDictType) else ""
        raise DefinitionError(
            "",
            f"{describe(shape)} has no field {name!r}{how}; methods can't run while a saga is written "
            "down: let the participant do it",
        )
    for position, field in enumerate(shape.fields):
        if field.name == name:
            _refuse_absent(shape, field)
            return wire_key(shape, position), field.type
    names = ", ".join(field.name for field in shape.fields) or "none"
    raise DefinitionError("", f"{describe(shape)} has no field {name!r}; its fields are: {names}")


def _model_attribute(shape: inspect.CustomType, name: str) -> tuple[Key, Shape]:
    if is_root_model(shape.cls):
        raise DefinitionError("", f"{describe(shape)} is on the wire what it wraps, without a field; pass it whole")
    model: Any = shape.cls
    fields = model_fields(model)
    found = next((field for field in fields if field.name == name), None)
    if found is not None and not model.model_fields[name].exclude:
        return found.encode_name, found.type
    if found is not None:
        raise DefinitionError("", f"{describe(shape)}.{name} is excluded from the JSON, so nobody gets to read it")
    if name in model.model_computed_fields:
        problem = f"{describe(shape)}.{name} is computed, so it is not there in JSON that others write"
        raise DefinitionError("", f"{problem}; make it a field, or compute it in the participant")
    names = ", ".join(field.name for field in fields) or "none"
    raise DefinitionError("", f"{describe(shape)} has no field {name!r}; its fields are: {names}")


def _model_field(model: Any, name: str, field: Any) -> inspect.Field:
    written = field.serialization_alias or name
    if written not in model_names(model, name):
        problem = f"is written as {written!r} and not read under that name; give it one alias for both"
        raise DefinitionError("", f"{model.__name__}.{name} {problem}")
    return inspect.Field(name, written, _annotated(field.annotation), field.is_required())


def _annotated(annotation: Any) -> Shape:
    """The shape of a model's field; pydantic knows more types, and more unions, than msgspec does."""
    try:
        return inspect.type_info(annotation)
    except TypeError:
        if get_origin(annotation) in (Union, types.UnionType):
            return inspect.UnionType(tuple(map(_annotated, get_args(annotation))))
        return ANY


def _parts(shape: Any, seen: set[int]) -> Iterator[Shape]:
    """The shape and all shapes inside it. Types may hold themselves."""
    if id(shape) in seen:
        return
    seen.add(id(shape))
    if isinstance(shape, inspect.Type):
        yield shape
    if isinstance(shape, inspect.Type | inspect.Field):
        for name in shape.__struct_fields__:
            yield from _parts(getattr(shape, name), seen)
    elif isinstance(shape, tuple):
        for part in shape:
            yield from _parts(part, seen)


def _refuse_absent(shape: _Fielded, field: inspect.Field) -> None:
    """A field that its encoder may leave out would be an unresolved path in some sagas and not in others."""
    if field.required:
        return
    config = getattr(get_origin(shape.cls) or shape.cls, "__struct_config__", None)
    unset = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
    if unset or (config is not None and config.omit_defaults):
        why = "it may be UNSET" if config is None or not config.omit_defaults else "the struct has omit_defaults"
        problem = f"{describe(shape)}.{field.name} may be missing from the data ({why}); make it required"
        raise DefinitionError("", problem)


def _entry(shape: Shape, key: object) -> tuple[Key, Shape]:
    if isinstance(key, bool) or not isinstance(key, int | str):
        what = "a slice" if isinstance(key, slice) else type(key).__name__
        raise DefinitionError("", f"an index is a whole number or a text, not {what}; pass the whole list instead")
    if isinstance(key, int) and key < 0:
        raise DefinitionError("", f"[{key}] counts from the end, which a document can't say; count from the front")
    match shape, key:
        case ((inspect.AnyType() | inspect.RawType() | inspect.CustomType()), _):
            return key, ANY
        case ((inspect.ListType() | inspect.VarTupleType() | inspect.CollectionType()), int()):
            return key, shape.item_type
        case inspect.TupleType(item_types=items), int() if key < len(items):
            return key, items[key]
        case inspect.DictType(key_type=key_type, value_type=value_type), str() if fits(inspect.StrType(), key_type):
            return key, value_type
        case inspect.TypedDictType(fields=fields), str():
            for field in fields:
                if field.name == key:
                    _refuse_absent(shape, field)
                    return field.encode_name, field.type
    raise DefinitionError("", f"{describe(shape)} has no [{key!r}]")


def _takes_null(shape: Shape) -> bool:
    match shape:
        case inspect.Metadata(type=inner):
            return _takes_null(inner)
        case inspect.UnionType(types=members):
            return any(_takes_null(member) for member in members)
        case _:
            return isinstance(shape, inspect.NoneType) or is_any(shape)


def _fits(source: Shape, target: Shape) -> bool:
    if is_any(source) or is_any(target):
        return True
    match source, target:
        case inspect.LiteralType(values=values), inspect.LiteralType(values=allowed):
            return set(values) <= set(allowed)
        case inspect.LiteralType(values=values), _:
            return all(_fits(inspect.type_info(type(value)), target) for value in values)
        case inspect.IntType(), inspect.FloatType() | inspect.DecimalType():
            return True
        case inspect.EnumType(cls=cls), inspect.StrType():
            return issubclass(cls, str)
        case inspect.EnumType(cls=cls), inspect.IntType() | inspect.FloatType():
            return issubclass(cls, int)
        case inspect.TupleType(item_types=items), inspect.TupleType(item_types=others):
            return len(items) == len(others) and all(map(fits, items, others))
        case inspect.TupleType(item_types=items), _ if isinstance(target, _Arrays):
            return all(fits(item, target.item_type) for item in items)
        case inspect.DictType(), inspect.DictType():
            return fits(source.key_type, target.key_type) and fits(source.value_type, target.value_type)
    if isinstance(source, _Arrays) and isinstance(target, _Arrays):
        return fits(source.item_type, target.item_type)
    if type(source) is not type(target):
        return False
    own, other = getattr(source, "cls", None), getattr(target, "cls", None)
    if own is None or own is other or own == other:
        return True
    return isinstance(own, type) and isinstance(other, type) and get_origin(other) is None and issubclass(own, other)
