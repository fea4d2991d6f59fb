"""Whatever is calculated, the document gives what Python gives."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from countermand.participants.saga import all_of, any_of, none_of, saga, step
from countermand.schemas import Command
from countermand.schemas.template import render

# `c` and `d` are floats, but what looks whole in JSON is read as a whole number.
DATA = {"a": 7, "b": -3, "c": 2, "d": 0.75}


class Numbers(msgspec.Struct):
    a: int
    b: int
    c: float
    d: float


class Ask(Command[None], participant="anybody"):
    value: Any


class Formula(msgspec.Struct, frozen=True):
    """How a value is computed, from whatever has the fields: traced ones, or the numbers themselves."""

    name: str
    compute: Callable[[Any], Any]


def field(name: str) -> Formula:
    return Formula(name, lambda data: getattr(data, name))


def constant(value: float) -> Formula:
    return Formula(repr(value), lambda _: value)


def binary(symbol: str, left: Formula, right: Formula) -> Formula:
    work: dict[str, Callable[[Any, Any], Any]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "<": lambda a, b: a < b,
        ">=": lambda a, b: a >= b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
    }
    return Formula(
        f"({left.name} {symbol} {right.name})", lambda data: work[symbol](left.compute(data), right.compute(data))
    )


def negative(operand: Formula) -> Formula:
    return Formula(f"(-{operand.name})", lambda data: -operand.compute(data))


FIELDS = st.sampled_from(["a", "b", "c", "d"]).map(field)
CONSTANTS = st.one_of(st.integers(-9, 9), st.floats(-9, 9, width=16)).map(constant)
NUMBERS = st.recursive(
    FIELDS,
    lambda inner: st.one_of(
        st.builds(binary, st.sampled_from("+-*/"), inner, inner),
        st.builds(binary, st.sampled_from("+-*/"), inner, CONSTANTS),
        st.builds(binary, st.sampled_from("+-*/"), CONSTANTS, inner),
        inner.map(negative),
    ),
    max_leaves=6,
)
COMPARISONS = st.builds(binary, st.sampled_from(["<", ">=", "==", "!="]), NUMBERS, NUMBERS)


def evaluated(formula: Formula, combine: Callable[[Any], Any]) -> Any:
    @saga("formula", version=1)
    def traced(numbers: Numbers) -> None:
        step(Ask(value=combine(formula.compute(numbers))))

    [only] = traced.definition.steps()
    return render(only.input, saga_id="s", input=DATA, results={})["value"]


def in_python(formula: Formula) -> Any:
    try:
        value = formula.compute(Numbers(a=7, b=-3, c=2.0, d=0.75))
    except (ZeroDivisionError, OverflowError):
        value = math.nan
    assume(math.isfinite(value) and abs(value) < 2**53)
    return value


@given(NUMBERS)
def test_numbers_are_calculated_as_in_python(formula: Formula) -> None:
    """Precedence, brackets, whole numbers and floats in any mixture; what is calculated is of Python's type."""
    expected = in_python(formula)
    found = evaluated(formula, lambda value: value)
    assert found == expected
    if formula.name.startswith("("):  # Else it is a field, which is handed on as it is.
        assert type(found) is type(expected)


@given(COMPARISONS, COMPARISONS)
def test_conditions_hold_as_in_python(left: Formula, right: Formula) -> None:
    expected = in_python(left) and not (in_python(right) or in_python(left))
    both = Formula("", lambda data: (left.compute(data), right.compute(data)))
    assert evaluated(both, lambda pair: all_of(pair[0], none_of(pair[1], pair[0]))) == expected
    assert evaluated(both, lambda pair: any_of(pair[1], all_of(pair[0]))) == (in_python(right) or in_python(left))
