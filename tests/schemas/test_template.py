"""Templates: literals stay, expressions are replaced, and a path that leads nowhere says where it broke off."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermand.schemas.definition import decode_definition
from countermand.schemas.errors import DefinitionError
from countermand.schemas.template import (
    PATH_CHARACTERS_MAX,
    Path,
    UnresolvedPath,
    compile_definition,
    compile_template,
    key_text,
    parse_path,
    references,
    render,
)
from schemas.documents import approval, child, document, for_each, lock, scope, sequence, sleep, step, wait_for, when
from schemas.strategies import json_values, texts

INPUT = {"id": "o-1", "lines": [{"sku": "tea"}, {"sku": "cup"}], "on sale": {"in": 5}, "nothing": None}
EACH = {"line": {"item": {"sku": "tea"}, "index": 3}}
RESULTS = {"reserve": {"id": "r-1", "shelves": [3, 4]}, "count": 7}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("input", INPUT),
        ("input.id", "o-1"),
        ("input.lines[1].sku", "cup"),
        ('input["on sale"]["in"]', 5),
        ("input.nothing", None),
        ("steps.reserve.shelves[0]", 3),
        ("steps.reserve", RESULTS["reserve"]),
        ("steps.count", 7),
        ("saga.id", "order-1"),
        ("each.line.item.sku", "tea"),
        ("each.line.index", 3),
    ],
)
def test_paths_are_followed(path: str, expected: Any) -> None:
    template = {"a": [{"$": path}, "literal"], "b": {"c": {"$": path}}, "d": 1.5}
    rendered = render(template, saga_id="order-1", input=INPUT, results=RESULTS, each=EACH)
    assert rendered == {"a": [expected, "literal"], "b": {"c": expected}, "d": 1.5}
    assert parse_path(path).text == path


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("input.nope", "input has no field 'nope'"),
        ("input.lines[2].sku", "input.lines has 2 entries, so there is no [2]"),
        ("input.lines.sku", "input.lines is a list, not an object in which .sku could be looked up"),
        ("input.id[0]", "input.id is text, not a list in which [0] could be looked up"),
        ("input.nothing.a", "input.nothing is null, not an object in which .a could be looked up"),
        ("steps.reserve.nope", "steps.reserve has no field 'nope'"),
        ("steps.pay.id", "step 'pay' has no result yet"),
        ("each.line.item", "this is not inside the for_each 'line'"),
    ],
)
def test_a_path_that_leads_nowhere_names_the_field(path: str, problem: str) -> None:
    """And never the data: the message is stored, shown and logged."""
    with pytest.raises(UnresolvedPath) as caught:
        render({"a": [0, {"$": path}]}, saga_id="s", input=INPUT, results=RESULTS)
    assert (caught.value.expression, caught.value.at, caught.value.problem) == (path, "$.a[1]", problem)


@pytest.mark.parametrize(
    "text",
    ["", "order", "input.", "input..a", " input", "input ", "input[-1]", "input[a]", "input['a']", 'input["a]', "steps",
     "steps[0]", "saga", "saga.id.x", "saga.name", "input + 1", "double(input.a)", "input.a\n", 'input["\\x"]',
     "input[9999999999]", "each", "each.line", "each.line.name", "each.line.index.x", "each[0].item",
     "input." + "a" * PATH_CHARACTERS_MAX],
)  # fmt: skip
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_path(text)
    assert caught.value.problem


@given(st.lists(texts | st.integers(0, 10**9 - 1), max_size=5))
def test_any_key_can_be_written_and_read(keys: list[str | int]) -> None:
    path = Path("input", "input", None, ())
    for key in keys:
        path = path.child(key)
    if len(path.text) <= PATH_CHARACTERS_MAX:
        assert parse_path(path.text) == path
        assert path.text == "input" + "".join(key_text(key) for key in keys)


def test_keywords_of_the_expression_language_are_quoted() -> None:
    assert key_text("in") == '["in"]'


def has_dollar(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key.startswith("$") or has_dollar(part) for key, part in value.items())
    return isinstance(value, list) and any(map(has_dollar, value))


@given(json_values)
def test_literals_are_rendered_as_they_are(template: Any) -> None:
    if has_dollar(template):
        with pytest.raises(DefinitionError):
            compile_template(template)
    else:
        assert render(template, saga_id="s", input={}, results={}) == template
        assert list(references(template)) == []


def test_references_have_their_place() -> None:
    template = {"a": {"$": "input.x"}, "b": [{"c d": {"$": "steps.s.y"}}]}
    found = [(place, path.text, path.step) for place, path in references(template)]
    assert found == [("$.a", "input.x", None), ('$.b[0]["c d"]', "steps.s.y", "s")]


def test_a_compiled_template_renders_many_sagas() -> None:
    compiled = compile_template({"id": {"$": "saga.id"}, "x": {"$": "input.x"}})
    rendered = [compiled.render(saga_id=str(n), input={"x": n}, results={}) for n in range(3)]
    assert rendered == [{"id": str(n), "x": n} for n in range(3)]


def test_every_template_of_a_definition_is_found_by_its_node_and_field() -> None:
    """Whatever kind of node it stands in, wherever that is."""
    item = {"$": "each.loop.item"}
    body = sequence(
        when("cond", {"$": "each.loop.index > 2"}, step("act", input={"x": item})),
        wait_for("came", key=item),
        sleep("rest", until=item),
        approval("agree", shows={"what": item}, assignees=[item], requester=item),
        child("inner", input=[item]),
        lock("mine", item),
    )
    nodes = (for_each("loop", {"$": "input.lines"}, scope("safe", body)),)
    limit = {"at_once": 1, "key": {"$": "saga.id"}}
    written = document(*nodes, outcome={"$": "input"}, concurrency=limit)
    templates = compile_definition(decode_definition(msgspec.json.encode(written)))
    fields = {
        ("cond", "condition"): True,
        ("act", "input"): {"x": "tea"},
        ("came", "key"): "tea",
        ("rest", "until"): "tea",
        ("agree", "shows"): {"what": "tea"},
        ("agree", "assignees"): ["tea"],
        ("agree", "requester"): "tea",
        ("inner", "input"): ["tea"],
        ("mine", "key"): "tea",
        ("loop", "items"): [1],
    }
    each = {"loop": {"item": "tea", "index": 3}}
    assert set(templates.parts) == set(fields)
    for (name, field), expected in fields.items():
        template = templates.part(name, field)
        assert template.render(saga_id="s-1", input={"lines": [1]}, results={}, each=each) == expected
    assert set(templates.steps) == {"act", "inner"}
    assert templates.concurrency_key is not None
    assert templates.concurrency_key.render(saga_id="s-1", input=None, results={}) == "s-1"
    assert templates.outcome.render(saga_id="s-1", input=5, results={}) == 5
