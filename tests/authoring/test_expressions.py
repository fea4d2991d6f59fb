"""What is computed in a saga function is text that the coordinator evaluates to what Python would have given."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest

from countermand.participants.saga import all_of, any_of, contains, is_present, none_of, saga, size, step
from countermand.schemas import Command, DefinitionError
from countermand.schemas.template import UnresolvedPath, render


class Grade(Enum):
    GOOD = "good"
    POOR = "poor"


class Place(msgspec.Struct):
    city: str


class Data(msgspec.Struct):
    whole: int
    half: float
    full: float
    exact: Decimal
    text: str
    flag: bool
    at: datetime
    later: datetime
    day: date
    grade: Grade
    id: UUID
    here: Place
    there: Place
    numbers: list[float]
    names: list[str]
    labels: dict[str, int]
    anything: Any
    note: str | None = None
    rate: float | None = None
    due: datetime | None = None


ID = UUID("12345678-1234-4234-8234-123456789abc")
# `full` is a float that has no fraction: in JSON it may look like a whole number.
DATA = (
    b'{"whole":7,"half":2.5,"full":2,"exact":"1000.10","text":"caf\xc3\xa9","flag":true,"at":"2030-01-31T12:00:00+02:00",'
    b'"later":"2030-01-31T11:00:00Z","day":"2030-01-31","grade":"good","id":"12345678-1234-4234-8234-123456789abc",'
    b'"here":{"city":"Bonn"},"there":{"city":"Bonn"},"numbers":[1,2.5],"names":["a","in"],"labels":{"on sale":1},'
    b'"anything":3.5,"note":null,"rate":null,"due":null}'
)


class Ask(Command[None], participant="anybody"):
    value: Any


def written(body: Callable[[Any], Any]) -> str:
    @saga("computed", version=1)
    def traced(data: Data) -> None:
        step(Ask(value=body(data)))

    [only] = traced.definition.steps()
    text: str = only.input["value"]["$"]
    return text


def evaluated(text: str, data: bytes = DATA) -> Any:
    return render({"$": text}, saga_id="s", input=msgspec.json.decode(data), results={})


NOON_UTC = datetime(2030, 1, 31, 12, tzinfo=UTC)
COMPUTED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "whole above whole": (lambda d: d.whole > 5, True),
    "reversed": (lambda d: 5 > d.whole, False),  # noqa: SIM300
    "whole below fraction": (lambda d: d.whole < 7.5, True),
    "float that looks whole": (lambda d: d.full >= 2.0, True),
    "float and float": (lambda d: d.full < d.half, True),
    "whole and float": (lambda d: d.whole != d.half, True),
    "large literal": (lambda d: d.half < 1e22, True),
    "negative literal": (lambda d: d.whole - -3, 10),
    "decimal": (lambda d: d.exact > 1000, True),
    "decimal and decimal": (lambda d: d.exact == Decimal("1000.1"), True),
    "text": (lambda d: d.text == "café", True),
    "order of texts": (lambda d: d.text < "d", True),
    "enum": (lambda d: d.grade == Grade.GOOD, True),
    "uuid": (lambda d: d.id == ID, True),
    "flag": (lambda d: d.flag == False, False),  # noqa: E712
    "moments in two zones": (lambda d: d.at < d.later, True),
    "moment": (lambda d: d.at < NOON_UTC, True),
    "no moment": (lambda d: d.due == NOON_UTC, False),
    "day": (lambda d: d.day <= date(2030, 1, 31), True),
    "structs": (lambda d: d.here == d.there, True),
    "any": (lambda d: d.anything > 3, True),
    "null": (lambda d: d.note == None, True),  # noqa: E711
    "null and text": (lambda d: d.note == "x", False),
    "null and number": (lambda d: d.rate == 2.5, False),
    "null and number differ": (lambda d: d.rate != d.half, True),
    "present": (lambda d: is_present(d.note), False),
    "present computation": (lambda d: is_present(d.text + "x"), True),
    "sum": (lambda d: d.whole + 1, 8),
    "sum reversed": (lambda d: 1 + d.half, 3.5),
    "difference": (lambda d: 10 - d.whole - 1, 2),
    "nested difference": (lambda d: 10 - (d.whole - 1), 4),
    "product before sum": (lambda d: d.whole + d.whole * 2, 21),
    "sum before product": (lambda d: (d.whole + d.full) * 2, 18.0),
    "quotient of wholes": (lambda d: d.whole / 2, 3.5),
    "quotient nested": (lambda d: d.whole / (d.whole / 2), 2.0),
    "negative": (lambda d: -d.whole, -7),
    "negative float": (lambda d: -(d.half - d.full), -0.5),
    "twice negative": (lambda d: -(1 * -d.whole), 7),
    "compared sum": (lambda d: d.full + d.half > d.whole - 3, True),
    "text sum": (lambda d: "no. " + d.text + "!", "no. café!"),
    "quotes": (lambda d: d.text + '"\\\n\t\x00\u2028 {{}} ${x} 😀', 'café"\\\n\t\x00\u2028 {{}} ${x} 😀'),
    "all": (lambda d: all_of(d.whole > 5, d.half > 5, d.flag), False),
    "any of": (lambda d: any_of(d.whole > 5, d.half > 5), True),
    "none": (lambda d: none_of(d.whole > 5, d.half > 5), False),
    "not": (lambda d: none_of(d.flag), False),
    "one condition": (lambda d: all_of(any_of(d.whole > 5)), True),
    "nested conditions": (lambda d: all_of(any_of(d.flag, d.whole > 9), none_of(d.flag)), False),
    "condition compared": (lambda d: (d.whole > 5) == d.flag, True),
    "in list": (lambda d: contains(d.names, "in"), True),
    "float in list": (lambda d: contains(d.numbers, d.full / 2), True),
    "in constants": (lambda d: contains(["good", "fair"], d.grade), True),
    "in numbers": (lambda d: contains([2, 3.5], d.full), True),
    "moment in constants": (lambda d: contains([NOON_UTC], d.at), False),
    "in values": (lambda d: contains([d.text, "x"], d.text), True),
    "in mapping": (lambda d: contains(d.labels, "on sale"), True),
    "in text": (lambda d: contains(d.text, "fé"), True),
    "size": (lambda d: size(d.names) + size(d.labels), 3),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_the_document_computes_what_python_would(name: str) -> None:
    """On the same data the text gives the value, and of the same kind: a truth value, a whole number, a float."""
    body, expected = COMPUTED[name]
    found = evaluated(written(body))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (lambda d: d.whole > 1000, "input.whole > 1000"),
        (lambda d: d.half > 1000, "double(input.half) > 1000.0"),
        (lambda d: (d.half * 2) - d.whole, "double(input.half) * 2.0 - double(input.whole)"),
        (lambda d: all_of(d.flag, d.text == 'a"b'), r'input.flag && input.text == "a\"b"'),
        (lambda d: none_of(d.flag, d.whole == 1), "!(input.flag || input.whole == 1)"),
    ],
)
def test_texts_are_short_and_stay_as_they_are(body: Callable[[Any], Any], text: str) -> None:
    """They are a part of the definition's hash: another way of writing would be another definition."""
    assert written(body) == text


def test_null_where_a_number_is_needed_has_no_value() -> None:
    """Nothing is guessed: the saga turns back when it runs."""
    with pytest.raises(UnresolvedPath):
        evaluated(written(lambda d: d.rate * 2))
    assert evaluated(written(lambda d: d.rate * 2), DATA.replace(b'"rate":null', b'"rate":3')) == 6.0


@dataclass
class Refused:
    body: Callable[[Any], Any]
    expected: str


REFUSED = [
    Refused(lambda d: d.exact * 2, "input.exact (decimal) is used in arithmetic: a document calculates with doubles"),
    Refused(lambda d: d.at - d.later, "input.at (datetime) is used in arithmetic"),
    Refused(lambda d: d.anything + 1, "declare its type"),
    Refused(lambda d: d.at < datetime(2030, 1, 1), "has no zone"),  # noqa: DTZ001
    Refused(lambda d: d.exact > Decimal("1.0000000000000001"), "has more than 15 digits"),
    Refused(lambda d: d.flag < True, "let a participant compare them"),
    Refused(lambda d: d.at == "2030-01-31", 'input.at (datetime) can\'t be compared with "2030-01-31"'),
    Refused(lambda d: all_of(d.whole), "input.whole (int) is no condition; compare it with something"),
    Refused(lambda d: all_of(), "there is no condition in it"),
    Refused(lambda d: contains(d.names, 3), "can't be compared with 3"),
    Refused(lambda d: contains(d.whole, 3), "input.whole (int) is no list, mapping or text"),
    Refused(lambda d: contains(d.text, 3), "input.text (str) can't be compared with 3"),
    Refused(lambda d: size(d.text), "is no list or mapping"),
    Refused(lambda d: size(["a"]), "size() takes a value of the saga; this one is known already"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: refused.expected[:40])
def test_what_would_be_wrong_or_never_true_is_refused(refused: Refused) -> None:
    """At once, with the author's line."""
    with pytest.raises(DefinitionError) as caught:
        written(refused.body)
    assert refused.expected in str(caught.value)
    assert "test_expressions.py:" in caught.value.path
