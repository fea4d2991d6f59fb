"""Examples of values, made from the types that contracts and sagas declare.

Fields that may be left out are. `Annotated[str, msgspec.Meta(examples=["lamp"])]` says what a good value looks like.
"""

from typing import Any, Final

import msgspec
from msgspec import inspect

from countermand.participants.shapes import model_fields, shape_of, variants
from countermand.schemas.codec import decode_checked
from countermand.schemas.errors import DefinitionError, LimitExceeded
from countermand.schemas.models import is_model, is_root_model

DEPTH_MAX: Final = 8  # A type can hold itself.
# A whole number above zero is an amount, a count or a version to nearly everybody.
NUMBER: Final = 1

_TEXTS: Final[dict[type, str]] = {
    inspect.DateTimeType: "2030-01-31T12:00:00Z",
    inspect.DateType: "2030-01-31",
    inspect.TimeType: "12:00:00Z",
    inspect.TimeDeltaType: "PT1H",
    inspect.UUIDType: "00000000-0000-4000-8000-000000000001",
    inspect.DecimalType: "1.00",
    inspect.BytesType: "AAAA",
}


def example(type_: Any, where: str) -> bytes | None:
    """A value of this type as JSON; None if none can be made that the type takes."""
    try:
        encoded = msgspec.json.encode(_sample(shape_of(type_, where), "value", 0))
        decode_checked(encoded, type_)
    except (TypeError, ValueError, DefinitionError, LimitExceeded, msgspec.MsgspecError):
        return None  # A type that only its author can judge; then nothing is better than something wrong.
    return encoded


def _sample(shape: inspect.Type, name: str, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise ValueError(f"{name}: the type holds itself")
    if isinstance(shape, inspect.Metadata):
        examples = (shape.extra_json_schema or {}).get("examples")
        return examples[0] if examples else _sample(shape.type, name, depth)
    match next(iter(variants(shape)), None):
        case None:
            return None
        case inspect.Metadata() as annotated:
            return _sample(annotated, name, depth)
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() as fielded:
            return _fields(fielded, depth)
        case inspect.CustomType(cls=model) if is_model(model) and not is_root_model(model):
            required = [field for field in model_fields(model) if field.required]
            return {field.encode_name: _sample(field.type, field.name, depth + 1) for field in required}
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType() as many:
            return [_sample(many.item_type, name.removesuffix("s"), depth + 1)]
        case inspect.TupleType(item_types=items):
            return [_sample(item, name, depth + 1) for item in items]
        case inspect.DictType(value_type=value):
            return {"key": _sample(value, name, depth + 1)}
        case one:
            return _scalar(one, name)


def _fields(shape: inspect.StructType | inspect.DataclassType | inspect.TypedDictType, depth: int) -> Any:
    tag = {shape.tag_field: shape.tag} if isinstance(shape, inspect.StructType) and shape.tag_field else {}
    required = {
        field.encode_name: _sample(field.type, field.name, depth + 1) for field in shape.fields if field.required
    }
    if isinstance(shape, inspect.StructType) and shape.array_like:
        return [*tag.values(), *required.values()]
    return tag | required


def _scalar(shape: inspect.Type, name: str) -> Any:
    match shape:
        case inspect.StrType(pattern=None, min_length=least):
            return f"{name.replace('_', '-')}-1".ljust(least or 0, "1")
        case inspect.BoolType():
            return False
        case inspect.IntType() | inspect.FloatType():
            lowest = shape.ge if shape.ge is not None else NUMBER if shape.gt is None else shape.gt + 1
            return max(NUMBER, lowest) if shape.le is None else min(max(NUMBER, lowest), shape.le)
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.EnumType(cls=members):
            return next(iter(members)).value
        case inspect.AnyType() | inspect.RawType():
            return {}
        case _ if type(shape) in _TEXTS:
            return _TEXTS[type(shape)]
        case _:
            raise ValueError(f"{name}: no sample of {type(shape).__name__}")
