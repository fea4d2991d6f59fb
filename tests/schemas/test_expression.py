"""Expressions beyond plain paths: what they read, what they give, and what they refuse."""

import contextlib
import random
import string
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermand.schemas.cel_text import EXPRESSION_CHARACTERS_MAX, NESTING_MAX
from countermand.schemas.errors import DefinitionError
from countermand.schemas.expression import MissingLibrary, evaluate, parse_expression
from countermand.schemas.path import Sources, UnresolvedPath
from countermand.schemas.template import Template, compile_template, render

INPUT = {
    "total": 5,
    "price": 2.5,
    "name": "tea",
    "lines": [{"sku": "a", "count": 2}, {"sku": "b", "count": 0}],
    "map": {"k": 1},
    "nothing": None,
    "huge": 2**70,
    "many": [1] * 2_001,
}
RESULTS = {"reserve": {"id": "r-1", "in": [1]}, "quote": [{"price": 3}, None, {"price": 4}]}
EACH = {"line": {"item": {"sku": "a"}, "index": 4}}


def value(text: str) -> Any:
    return render({"$": text}, saga_id="s-1", input=INPUT, results=RESULTS, each=EACH)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("input.total > 4 && input.name == 'tea'", True),
        ("double(input.total) * double(input.price)", 12.5),
        ("input.total + 1", 6),
        ("input.name + '-' + saga.id", "tea-s-1"),
        ("input.lines.exists(line, line.count == 0)", True),
        ("input.lines.all(line, input.total > line.count)", True),
        ("input.lines.filter(line, line.count > 0).map(line, line.sku)", ["a"]),
        ("size(input.lines)", 2),
        ("'k' in input.map", True),
        ("has(steps.late) ? steps.late.id : null", None),
        ("has(steps.reserve) ? steps.reserve.id : null", "r-1"),
        ("has(input.note) ? input.note : 'none'", "none"),
        ("each.line.item.sku", "a"),
        ("each.line.index + 1", 5),
        ("input.lines[each.line.index - 3].sku", "b"),
        ("input['name'].startsWith('t') // yes", True),
        ("{'b': 1, 'a': [input.name]}", {"a": ["tea"], "b": 1}),
        ("timestamp('2026-01-31T12:00:00+01:00') + duration('1h')", "2026-01-31T13:00:00+01:00"),
        ("duration('90s').getSeconds()", 90),
        ("input.nothing == null", True),
        ("'input.secret'", "input.secret"),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_expressions_have_the_value_that_cel_says(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("input.nope > 1", "input has no field 'nope'"),
        ("steps.late.id == 'x'", "step 'late' has no result yet"),
        ("input.lines[9].sku == 'x'", "input.lines has 2 entries, so there is no [9]"),
        ("input.lines[input.total]", "a field or place that it reads isn't there"),
        ("input.price > input.total + 1.5", "whole numbers and decimals don't mix"),
        ("input.total / 0", "divides by zero"),
        ("9223372036854775807 + input.total", "goes beyond its range"),
        ("int(input.name)", "can't take the value"),
        ("input.huge > 1", "more than 64 bits"),
        ("duration('5s')", "a duration"),
        ("b'abc'", "bytes"),
        ("{1: 2}", "keys that aren't text"),
        ("double('nan')", "no finite number"),
        ("input.map.filter(key, true)", "input.map is an object, and map() and filter() are for lists"),
        ("input.many.map(x, x + 1)", "a list with 2001 entries is too long for its loops, which take 2000"),
        ("input.many.all(x, x in input.many)", "too long for its loops"),
    ],
)
def test_an_expression_without_a_value_says_why(text: str, problem: str) -> None:
    """And never the data: the message is stored, shown and logged."""
    with pytest.raises(UnresolvedPath) as caught:
        value(text)
    assert problem in caught.value.problem
    assert caught.value.at == "$"
    assert "tea" not in caught.value.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "this is empty"),
        ("order.id > 5", "'order' is unknown"),
        ("input.total >", "at character 14"),
        ("steps == null", "say which step"),
        ("steps[input.name] == 1", "say which step"),
        ("saga.state == 1", "only `saga.id`"),
        ("each.line.name == 1", "say what of which loop"),
        ("now() > 1", "there is no function 'now'"),
        ("input.name.reverse() == ''", "there is no method 'reverse'"),
        ("input.lines.map(input, 1)", "another name"),
        ("input.lines.map(1, 1)", "names its variable first"),
        ("{'a': 1}.map(key, key)", "have no order"),
        ("x.exists(x, x)", "'x' is unknown"),
        ("[1, 2", "']' is missing"),
        ("(1]", "']' closes nothing"),
        ("input.a # b", "isn't CEL"),
        ("Message{a: 1}", "'Message' is unknown"),
        ("(" * (NESTING_MAX + 1), "nested deeper"),
        ("1 + " * EXPRESSION_CHARACTERS_MAX + "1", "at most 2048"),
        ("[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))", "loops are nested deeper"),
    ],
)
def test_what_is_no_expression_is_refused_before_it_runs(text: str, problem: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_expression(text)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("input.a.b + input.c", {"input.a.b": False, "input.c": False}),
        ("input.name.size()", {"input.name": False}),
        ("input.lines[0].map(x, x.y)", {"input.lines[0]": True}),
        ("input.lines[input.at].sku", {"input.lines": False, "input.at": False}),
        ("'input.a' + input.b // input.c", {"input.b": False}),
        ("[input.a].exists(x, x == steps.b)", {"input.a": True, "steps.b": True}),
        ("input['a b']['c'].d == 1", {'input["a b"].c.d': False}),
        ("has(input.a)", {"input.a": True}),
        ("has(input.a) == input.a.b", {"input.a": True, "input.a.b": True}),
        ("input.a || input.b", {"input.a": True, "input.b": True}),
        ("each.l.index + size(each.l.item)", {"each.l.index": False, "each.l.item": False}),
    ],
)
def test_what_an_expression_reads_and_may_do_without(text: str, read: dict[str, bool]) -> None:
    assert {path.text: path.guarded for path in parse_expression(text).paths} == read


def test_only_asking_for_the_step_itself_guards_it() -> None:
    """`has(steps.a.id)` fails where `a` has not run, so it answers another question."""
    guarded = {path.step: path.guarded_step for path in parse_expression("has(steps.a) && has(steps.b.id)").paths}
    assert guarded == {"a": True, "b": False}


def test_only_what_is_read_is_handed_over() -> None:
    """A number that CEL can't hold is no harm where nobody reads it."""
    assert value("input.total + size(input.map)") == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps.quote.map(quote, quote == null ? null : quote.price)", [3, None, 4]),
        ("steps.deep.map(a, a.map(b, b == null ? null : b.p[0]))", [[1, None], [2]]),
        ("steps.deep.map(a, a)", [[{"p": [1]}, None], [{"p": [2]}]]),
    ],
)
def test_lists_of_a_loop_are_collected_by_field_however_long(text: str, expected: Any) -> None:
    """This shape of expression takes any length of list, and gives what the library would."""
    results = RESULTS | {"deep": [[{"p": [1]}, None], [{"p": [2]}]]}
    expression = parse_expression(text)
    assert expression.projection is not None
    sources = Sources("s", INPUT, results, {})
    plain = parse_expression(text + " + []")
    assert plain.projection is None
    assert evaluate(expression, "$", sources) == evaluate(plain, "$", sources) == expected
    long = [{"price": number} for number in range(10_000)]
    compiled = compile_template({"$": "steps.quote.map(quote, quote.price)"})
    assert rendered(compiled, quote=long) == list(range(10_000))


def rendered(template: Template, **results: Any) -> Any:
    return template.render(saga_id="s", input={}, results=results)


def test_a_missing_field_of_a_collected_entry_is_named() -> None:
    with pytest.raises(UnresolvedPath, match=r"steps.quote\[1\] is null"):
        value("steps.quote.map(quote, quote.price)")


def test_without_the_library_definitions_are_read_but_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever only writes sagas needs no library; whoever runs them is told what to install."""
    monkeypatch.setitem(sys.modules, "cel", None)
    expression = parse_expression("input.total > 123454321")
    with pytest.raises(MissingLibrary, match=r"install countermand\[coordinator\]"):
        evaluate(expression, "$", Sources("s", INPUT, {}, {}))


_PIECES = """
input input.a input.l steps.x steps saga.id each.l.item . ( ) [ ] { } ? : && || ! - + * / % == < in 1 2.5 'a' , x
has( size( double( int( string( .map(x, .exists(x, .filter(x, null true 0x1f 1u b'z' .matches( 9223372036854775807
"""
pieces = st.lists(st.sampled_from(_PIECES.split()), max_size=10).map(" ".join)


@given(pieces | st.text(string.printable, max_size=30))
def test_any_text_has_a_value_or_an_error_of_ours(text: str) -> None:
    """Whatever the text: the library's own errors and crashes never come through."""
    sources = Sources("s", {"a": 3, "l": [1, {"a": 1}]}, {"x": {"f": 1.5}}, {"l": {"item": 5, "index": 0}})
    with contextlib.suppress(DefinitionError, UnresolvedPath):
        msgspec.json.encode(evaluate(parse_expression(text), "$", sources))


def test_the_same_expression_gives_the_same_bytes() -> None:
    """The library keeps objects in another order each time; a saga's messages must not change with it."""
    keys = random.Random(7).sample(string.ascii_lowercase, 12)
    text = "{" + ", ".join(f"'{key}': input.total" for key in keys) + "}"
    assert [list(value(text)) for _ in range(5)] == [sorted(keys)] * 5
