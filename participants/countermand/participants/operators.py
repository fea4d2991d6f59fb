"""What can be computed in a document: comparisons, sums and conditions, as CEL that is valid for the declared types.

Rules:

- CEL doesn't mix whole numbers and doubles, and a float's JSON may be `2`. So whatever is declared as float is wrapped
  in `double(…)`, and so is a whole number beside it.
- A Decimal and a moment are text on the wire. They are compared as number and as timestamp; nothing is calculated with
  them, because doubles would round money.
- `null` is equal to nothing but null; any other use of it turns the saga back when it runs.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal

import msgspec
from msgspec import inspect

from countermand.participants.expressions import (
    AND,
    MEMBER,
    OR,
    PRODUCT,
    RELATION,
    SUM,
    UNARY,
    Expression,
)
from countermand.participants.shapes import Shape, describe, fits, is_any, variants
from countermand.schemas.errors import DefinitionError

Sort = Literal["int", "float", "decimal", "text", "truth", "moment", "null", "any", "other", "incomparable"]

# Beyond this JSON's readers disagree about whole numbers.
INTEGER_MAX: Final = 2**53
# As many decimal digits as a double keeps.
DIGITS_MAX: Final = 15

_SORTS: Final[dict[type[Shape], Sort]] = {
    inspect.IntType: "int",
    inspect.FloatType: "float",
    inspect.DecimalType: "decimal",
    inspect.StrType: "text",
    inspect.UUIDType: "text",
    inspect.DateType: "text",
    inspect.BoolType: "truth",
    inspect.DateTimeType: "moment",
    # The same duration or time of day can be written in several ways.
    inspect.TimeDeltaType: "incomparable",
    inspect.TimeType: "incomparable",
}
_NUMBERS: Final = frozenset({"int", "float", "decimal"})
_ORDERED: Final = _NUMBERS | {"text", "moment", "any"}
_EQUAL: Final = ("==", "!=")


def literal(value: Any) -> Expression:
    """A constant: a number, text, truth value, moment, enum member or None.

    Raises:
        DefinitionError: no constant of this kind can be written in an expression.
    """
    text = _constant(value)
    shape = inspect.type_info(type(value))
    return Expression(text=text, shape=shape, value=value, is_double=isinstance(value, float | Decimal))


def listed(parts: Sequence[Expression]) -> Expression:
    """A list that the author has written out."""
    shapes: list[Shape] = []
    for part in parts:
        if part.shape not in shapes:
            shapes.append(part.shape)
    item = shapes[0] if len(shapes) == 1 else inspect.UnionType(tuple(shapes)) if shapes else inspect.AnyType()
    text = f"[{', '.join(part.text for part in parts)}]"
    known = {"value": text} if all(part.is_literal for part in parts) else {}
    return _of(text, inspect.ListType(item_type=item), MEMBER, *parts, **known)


def sort_of(shape: Shape) -> Sort:
    """How values of this type are treated here."""
    sorts = {_sort(variant) for variant in variants(shape)}
    if not sorts:
        return "null"
    if sorts <= _NUMBERS:
        return "decimal" if "decimal" in sorts else "float" if "float" in sorts else "int"
    return sorts.pop() if len(sorts) == 1 else "any"


def compare(symbol: str, left: Expression, right: Expression) -> Expression:
    """`left symbol right`, one of `== != < <= > >=`.

    Raises:
        DefinitionError: values of these types are never equal, or have no order.
    """
    sorts = sort_of(left.shape), sort_of(right.shape)
    if _raw(symbol, *sorts, left, right):
        texts = left.within(SUM), right.within(SUM)
    elif _NUMBERS.issuperset(sorts):
        texts = _converted("double", left, symbol), _converted("double", right, symbol)
    elif sorts == ("moment", "moment"):
        texts = _converted("timestamp", left, symbol), _converted("timestamp", right, symbol)
    else:
        raise _mismatch(left, right)
    return _joined(texts[0], symbol, texts[1], RELATION, inspect.BoolType(), left, right)


def add(left: Expression, right: Expression) -> Expression:
    """The sum of two numbers, or one text after the other.

    Raises:
        DefinitionError: these can't be added.
    """
    sorts = {sort_of(left.shape), sort_of(right.shape)}
    if sorts == {"text"}:
        return _joined(left.within(SUM), "+", right.within(PRODUCT), SUM, inspect.StrType(), left, right)
    if "text" in sorts and sorts & _NUMBERS:
        raise DefinitionError(
            "",
            f"{_shown(left)} + {_shown(right)}: a text and a number can't be put together; give the number a field of "
            "its own and let the participant write the text",
        )
    return calculate("+", left, right)


def calculate(symbol: str, left: Expression, right: Expression) -> Expression:
    """`left symbol right`, one of `+ - * /`. A quotient is always a float, as it is in Python.

    Raises:
        DefinitionError: one of them is no number.
    """
    sorts = _number(left), _number(right)
    tightness = SUM if symbol in "+-" else PRODUCT
    if sorts == ("int", "int") and symbol != "/":
        return _joined(
            left.within(tightness), symbol, right.within(tightness + 1), tightness, inspect.IntType(), left, right
        )
    texts = _double(left, tightness), _double(right, tightness + 1)
    return _joined(texts[0], symbol, texts[1], tightness, inspect.FloatType(), left, right, is_double=True)


def negative(value: Expression) -> Expression:
    """The number with the other sign.

    Raises:
        DefinitionError: it is no number.
    """
    if _number(value) == "int":
        return _of(f"-{value.within(MEMBER)}", inspect.IntType(), UNARY, value)
    return _of(f"-{_double(value, MEMBER)}", inspect.FloatType(), UNARY, value, is_double=True)


def combined(symbol: Literal["&&", "||"], conditions: Sequence[Expression]) -> Expression:
    """All of the conditions, or any of them.

    Raises:
        DefinitionError: one of them is no condition, or there is none.
    """
    if not conditions:
        raise DefinitionError("", "there is no condition in it")
    tightness = AND if symbol == "&&" else OR
    texts = [_condition(condition).within(tightness + 1) for condition in conditions]
    tightness = conditions[0].tightness if len(texts) == 1 else tightness
    return _of(f" {symbol} ".join(texts), inspect.BoolType(), tightness, *conditions)


def negated(condition: Expression) -> Expression:
    """Whether the condition doesn't hold.

    Raises:
        DefinitionError: it is no condition.
    """
    return _of(f"!{_condition(condition).within(MEMBER)}", inspect.BoolType(), UNARY, condition)


def present(value: Expression) -> Expression:
    """Whether the value is there and not null."""
    return _of(f"{value.within(SUM)} != null", inspect.BoolType(), RELATION, value)


def contained(whole: Expression, part: Expression) -> Expression:
    """Whether a list has an entry, a mapping a key, or a text a part.

    Raises:
        DefinitionError: the one can't contain the other.
    """
    if sort_of(whole.shape) == "text":
        if sort_of(part.shape) != "text":
            raise _mismatch(whole, part)
        return _of(f"{whole.within(MEMBER)}.contains({part.text})", inspect.BoolType(), MEMBER, whole, part)
    entry = _entry_shape(whole)
    if entry is None:
        raise DefinitionError("", f"{_shown(whole)} is no list, mapping or text")
    if not whole.is_literal and sort_of(entry) in {"decimal", "moment", "incomparable"}:
        problem = "holds text on the wire that may be written in several ways; let the participant look"
        raise DefinitionError("", f"{_shown(whole)} {problem}")
    member = Expression(text=f"an entry of {whole.text}", shape=entry)
    compare("==", member, part)
    return _joined(_member(part), "in", whole.within(SUM), RELATION, inspect.BoolType(), part, whole)


def size(many: Expression) -> Expression:
    """How many entries a list or a mapping has.

    Raises:
        DefinitionError: it is neither.
    """
    if _entry_shape(many) is None:
        # How long a text is, in bytes or in characters, implementations of CEL don't agree upon.
        raise DefinitionError("", f"{_shown(many)} is no list or mapping, so it has no size")
    return _of(f"size({many.text})", inspect.IntType(), MEMBER, many)


def _entry_shape(many: Expression) -> Shape | None:
    """The type of a list's entries or a mapping's keys; None if it is neither."""
    match variants(many.shape):
        case (only,) if is_any(only):
            return only
        case (inspect.DictType(key_type=key),):
            return key
        case (inspect.TupleType(item_types=items),):
            return inspect.UnionType(items)
        case (only,):
            entry: Shape | None = getattr(only, "item_type", None)
            return entry
    return None


def _raw(symbol: str, left_sort: Sort, right_sort: Sort, left: Expression, right: Expression) -> bool:
    """Whether the values can be compared as they are on the wire."""
    sorts = {left_sort, right_sort}
    if sorts == {"int"} or (symbol in _EQUAL and "null" in sorts):
        return True
    if "any" in sorts:
        return not sorts & {"decimal", "moment", "incomparable"} and (symbol in _EQUAL or sorts <= _ORDERED)
    if sorts == {"text"}:
        return {type(variant) for variant in variants(left.shape)} == {inspect.DateType} or not any(
            isinstance(variant, inspect.DateType) for variant in variants(right.shape)
        )
    if sorts <= {"truth"} or sorts <= {"other"}:
        return symbol in _EQUAL and (fits(left.shape, right.shape) or fits(right.shape, left.shape))
    return False


def _converted(function: Literal["double", "timestamp"], value: Expression, symbol: str) -> str:
    """The operand of a comparison as CEL's own type; with `==`, null stays null."""
    if value.is_literal or value.is_double:
        return _double(value, SUM) if function == "double" else value.within(SUM)
    if symbol in _EQUAL and _may_be_null(value.shape):
        return f"({value.within(SUM)} == null ? null : {function}({value.text}))"
    return f"{function}({value.text})"


def _double(value: Expression, tightness: int) -> str:
    if value.is_literal:
        return _literal_double(value.value)
    return value.within(tightness) if value.is_double else f"double({value.text})"


def _member(value: Expression) -> str:
    match sort_of(value.shape):
        case "float" | "decimal":
            return _converted("double", value, "==")
        case "moment":
            return _converted("timestamp", value, "==")
    return value.within(SUM)


def _joined(
    left_text: str, symbol: str, right_text: str, tightness: int, shape: Shape, *operands: Expression, **known: Any
) -> Expression:
    return _of(f"{left_text} {symbol} {right_text}", shape, tightness, *operands, **known)


def _of(text: str, shape: Shape, tightness: int, *operands: Expression, **known: Any) -> Expression:
    sources = tuple(dict.fromkeys(source for operand in operands for source in operand.sources))
    return Expression(text=text, shape=shape, sources=sources, tightness=tightness, **known)


def _condition(value: Expression) -> Expression:
    if sort_of(value.shape) not in {"truth", "any"}:
        raise DefinitionError("", f"{_shown(value)} is no condition; compare it with something")
    return value


def _number(value: Expression) -> Literal["int", "float"]:
    match sort_of(value.shape):
        case "int":
            return "int"
        case "float":
            return "float"
        case "decimal":
            problem = "a document calculates with doubles, which round; let the participant do it"
        case "any":
            problem = "its type doesn't say that it is a number, so nothing can be calculated with it; declare its type"
        case _:
            problem = "only numbers can be calculated with; let the participant do it"
    raise DefinitionError("", f"{_shown(value)} is used in arithmetic: {problem}")


def _mismatch(left: Expression, right: Expression) -> DefinitionError:
    sorts = {sort_of(left.shape), sort_of(right.shape)}
    if sorts & {"incomparable"} or len(sorts) == 1:
        why = "let a participant compare them"
    else:
        why = "values of these types are never equal and have no order"
    return DefinitionError("", f"{_shown(left)} can't be compared with {_shown(right)}: {why}")


def _shown(value: Expression) -> str:
    return value.text if value.is_literal else f"{value.text} ({describe(value.shape)})"


def _may_be_null(shape: Shape) -> bool:
    return fits(inspect.NoneType(), shape)


def _sort(shape: Shape) -> Sort:
    if is_any(shape):
        return "any"
    match shape:
        case inspect.Metadata(type=inner):
            return _sort(inner)
        case inspect.LiteralType(values=values):
            return _one({_sort(inspect.type_info(type(value))) for value in values})
        case inspect.EnumType(cls=cls):
            return _one({_sort(inspect.type_info(type(member.value))) for member in cls})
    return _SORTS.get(type(shape), "other")


def _one(sorts: set[Sort]) -> Sort:
    return sorts.pop() if len(sorts) == 1 else "any"


def _constant(value: Any) -> str:
    match value:
        case Enum():
            return _constant(value.value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if abs(value) <= INTEGER_MAX:
            return str(value)
        case float() | Decimal():
            return _literal_double(value)
        case datetime():
            return f"timestamp({_quoted(_moment(value))})"
    plain = _plain(value)
    if not isinstance(plain, str):
        found = str(value) if isinstance(value, int) else type(value).__name__
        raise DefinitionError("", f"{found} can't stand in an expression; give it to a participant, or compare fields")
    return _quoted(plain)


def _plain(value: Any) -> Any:
    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError) as error:
        raise DefinitionError("", f"{type(value).__name__} can't stand in an expression") from error


def _literal_double(value: Any) -> str:
    number = value.value if isinstance(value, Enum) else value
    if isinstance(number, Decimal) and len(number.as_tuple().digits) > DIGITS_MAX:
        raise DefinitionError("", f"{number} has more than {DIGITS_MAX} digits, which a comparison can't tell apart")
    if not math.isfinite(number):
        raise DefinitionError("", f"{number} has no form in JSON")
    return repr(float(number))


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise DefinitionError("", f"{value} has no zone; write datetime(…, tzinfo=UTC)")
    encoded: str = msgspec.to_builtins(value)
    return encoded


def _quoted(text: str) -> str:
    try:
        return msgspec.json.encode(text).decode()
    except UnicodeError as error:
        raise DefinitionError("", "this text has characters that JSON can't carry") from error
