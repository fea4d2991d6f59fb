"""A definition beside what participants announce: who does it, and whether the values fit."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermand.schemas.definition import decode_definition
from countermand.schemas.lint import Contracts, Finding, lint
from countermand.schemas.lint.json_schema import HINTS_MAX, SchemaReader
from countermand.schemas.lint.schema_parts import Schema
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage
from schemas.documents import approval, document, for_each, reading, scope, sequence, step, when
from schemas.strategies import json_values

CONTRACT_RULES = (
    "participant-unknown",
    "action-unknown",
    "compensation-unknown",
    "probe-unknown",
    "field-unknown",
    "field-missing",
    "type-mismatch",
)


class Line(msgspec.Struct):
    sku: str
    count: int = 1


class Reserve(msgspec.Struct):
    order_id: str
    lines: list[Line]
    note: str | None = None
    speed: float = 1.0


class Reserved(msgspec.Struct):
    reservation_id: str
    lines: list[Line]
    total: float
    place: str | None


class ByCard(msgspec.Struct, tag="card"):
    number: str


class ByInvoice(msgspec.Struct, tag="invoice"):
    address: str


class Pay(msgspec.Struct):
    by: ByCard | ByInvoice
    speed: "str" = "slow"


def announced(action: str, command: Any, result: Any = None, *, compensation: bool = True) -> AnnouncedAction:
    """As a participant makes it."""
    (told, answer), definitions = msgspec.json.schema_components((command, result), ref_template="#/$defs/{name}")
    return AnnouncedAction(action, compensation, {"command": told, "result": answer, "$defs": definitions})


SHOP = AnnounceMessage(
    "shop",
    "one",
    (
        announced("reserve", Reserve, Reserved),
        announced("pay", Pay, compensation=False),
        AnnouncedAction("ship", compensation=True),
    ),
)
GOOD = {"order_id": "o-1", "lines": []}


def findings(*nodes: dict[str, Any], contracts: Contracts | None = None, **fields: Any) -> list[Finding]:
    definition = decode_definition(msgspec.json.encode(document(*nodes, **fields)))
    return lint(definition, contracts or Contracts([SHOP]))


def reserve(**input_: Any) -> dict[str, Any]:
    return step("reserve", input=GOOD | input_)


def pay(by: Any, **fields: Any) -> dict[str, Any]:
    return step("pay", compensation=False, because="x", input={"by": by}, **fields)


@pytest.mark.parametrize(
    ("rule", "path", "said", "nodes"),
    [
        (
            "participant-unknown",
            "participant",
            "did you mean 'shop'?",
            [step("reserve", participant="shp", input=GOOD)],
        ),
        ("participant-unknown", "participant", "has announced itself yet; start it", [step("x", participant="crane")]),
        ("action-unknown", "action", "did you mean 'reserve'?", [step("reserv", input=GOOD)]),
        ("action-unknown", "action", "deploy its handler first", [step("dispatch")]),
        (
            "compensation-unknown",
            "compensation",
            "no compensation for pay",
            [step("pay", input={"by": {"$": "input"}})],
        ),
        ("probe-unknown", "on_unknown", "no probe for reserve", [step("reserve", input=GOOD, on_unknown="probe")]),
        ("field-unknown", "input.ordr_id", "no field 'ordr_id'; did you mean 'order_id'?", [reserve(ordr_id="x")]),
        ("field-unknown", "input.lines[0].colour", "no field 'colour'", [reserve(lines=[{"sku": "a", "colour": "b"}])]),
        ("field-missing", "input", "requires 'lines'; add it", [step("reserve", input={"order_id": "o-1"})]),
        ("field-missing", "input.lines[1]", "requires 'sku'", [reserve(lines=[{"sku": "a"}, {}])]),
        ("type-mismatch", "input.order_id", "a whole number, and the contract says text", [reserve(order_id=7)]),
        ("type-mismatch", "input.lines", "an object, and the contract says a list", [reserve(lines={})]),
        ("type-mismatch", "input.note", "true or false, and the contract says text or null", [reserve(note=True)]),
        ("type-mismatch", "input.lines[0].count", "says a whole number", [reserve(lines=[{"sku": "a", "count": 1.5}])]),
        ("type-mismatch", "input.order_id", "saga.id", [reserve(order_id="o", speed={"$": "saga.id"})]),
        ("type-mismatch", "input.by.type", "'cash' is none of 'card'", [pay({"type": "cash", "number": "1"})]),
    ],
)
def test_a_step_beside_its_contract(rule: str, path: str, said: str, nodes: list[dict[str, Any]]) -> None:
    """Each rule says what the contract says, and where."""
    [finding] = findings(*nodes)
    place = "input.speed" if "saga.id" in said else path
    assert (finding.rule, finding.path) == (rule, f"$.root.nodes[0].{place}")
    assert said in finding.message
    assert finding.severity == "warning"


def test_a_probe_that_is_announced_is_no_finding() -> None:
    """By every variant: while a release is rolled out the question may reach either."""
    asked = step("ship", on_unknown="probe")
    able, unable = (AnnouncedAction("ship", compensation=True, probe=probe) for probe in (True, False))
    assert findings(asked, contracts=Contracts([AnnounceMessage("shop", "one", (able,))])) == []
    both = Contracts([AnnounceMessage("shop", "one", (able,)), AnnounceMessage("shop", "two", (unable,))])
    assert [each.rule for each in findings(asked, contracts=both)] == ["probe-unknown"]


def following(expression: str, field: str = "order_id") -> list[Finding]:
    """A step that passes on a part of an earlier result."""
    return findings(reserve(), step("again", action="reserve", input=GOOD | {field: {"$": expression}}))


@pytest.mark.parametrize(
    ("expression", "field", "rule", "said"),
    [
        ("steps.reserve.id", "order_id", "field-unknown", "steps.reserve has no field 'id'"),
        ("steps.reserve.total.cents", "note", "field-unknown", "steps.reserve.total is a number, in which there is no"),
        ("steps.reserve.place.city", "note", "field-unknown", "steps.reserve.place may be text"),
        ("steps.reserve.lines[0].skus", "note", "field-unknown", "did you mean 'sku'?"),
        (
            "steps.reserve.lines.sku",
            "note",
            "field-unknown",
            "steps.reserve.lines is a list, in which there is no .sku",
        ),
        ("steps.reserve.total", "order_id", "type-mismatch", "is a number, and the contract says text"),
        ("steps.reserve.place", "order_id", "type-mismatch", "may be null, and the contract says text"),
        ("steps.reserve.reservation_id", "lines", "type-mismatch", "is text, and the contract says a list"),
        ("steps.reserve", "note", "type-mismatch", "is an object"),
    ],
)
def test_an_expression_is_followed_through_results(expression: str, field: str, rule: str, said: str) -> None:
    """A field that a result doesn't have, and one whose type doesn't fit, are found before anything runs."""
    [finding] = following(expression, field)
    assert (finding.rule, finding.path) == (rule, f"$.root.nodes[1].input.{field}")
    assert said in finding.message


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("steps.reserve.reservation_id", "order_id"),
        ("steps.reserve.place", "note"),
        ("steps.reserve.lines", "lines"),
        ("steps.reserve.lines[0].count", "speed"),
        ("input.anything.at.all", "order_id"),
        ("saga.id", "order_id"),
    ],
)
def test_what_fits_or_may_fit_is_no_finding(expression: str, field: str) -> None:
    """Whole numbers are numbers; of a saga's input nothing is known."""
    assert following(expression, field) == []


def test_tagged_unions() -> None:
    """One of the forms has to fit as a whole."""
    assert findings(pay({"type": "card", "number": "1"})) == []
    assert findings(pay({"type": "invoice", "address": {"$": "input.address"}})) == []
    [finding] = findings(pay({"type": "invoice", "address": 5}))
    assert "none of the 2 forms" in finding.message


def test_the_outcome_is_followed_too() -> None:
    [finding] = findings(reserve(), outcome={"id": {"$": "steps.reserve.reservation"}})
    assert (finding.rule, finding.path) == ("field-unknown", "$.outcome.id")


def test_a_participant_is_missed_once() -> None:
    """However many of its actions are used."""
    [finding] = findings(step("x", participant="crane"), step("y", participant="crane"))
    assert finding.path == "$.root.nodes[0].participant"


def test_without_schemas_only_names_are_compared() -> None:
    """A participant in a language without schemas loses nothing."""
    assert findings(step("ship", input={"anything": 1}), outcome={"$": "steps.ship.anything"}) == []


def test_while_a_release_is_rolled_out_both_contracts_count() -> None:
    """The command may reach either, so it has to fit both; each difference is told once."""

    class Newer(msgspec.Struct):
        order_id: str
        lines: list[Line]
        warehouse: str

    newer = AnnounceMessage("shop", "two", (announced("reserve", Newer, Reserved),))
    again = msgspec.structs.replace(SHOP, instance="three")
    [finding] = findings(reserve(), contracts=Contracts([SHOP, newer, again]))
    assert (finding.rule, finding.path) == ("field-missing", "$.root.nodes[0].input")
    assert "'warehouse'" in finding.message


def test_nobody_asked_means_nothing_compared() -> None:
    """A saga is traced where no coordinator is."""
    assert lint(decode_definition(msgspec.json.encode(document(step("a"))))) == []
    assert [each.rule for each in findings(step("a"), contracts=Contracts([]))] == ["participant-unknown"]


ODD_SCHEMAS: list[Any] = [
    True,
    False,
    None,
    5,
    {},
    {"type": ["string", "null", 7]},
    {"type": "file"},
    {"$ref": "#/$defs/missing"},
    {"$ref": "https://example.org/x"},
    {"allOf": [{}, {}]},
    {"properties": [], "required": 5, "items": "x", "enum": {}, "type": "object"},
    {"anyOf": "x", "oneOf": []},
]
schemas = st.recursive(
    st.sampled_from(ODD_SCHEMAS) | json_values,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer", "null", "x"]) | inner,
            "properties": st.dictionaries(st.sampled_from(["a", "b", "order_id", "lines"]), inner) | inner,
            "required": st.lists(st.sampled_from(["a", "b"])) | inner,
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, max_size=2) | inner,
            "anyOf": st.lists(inner, max_size=3) | inner,
            "enum": st.lists(inner, max_size=3),
            "const": inner,
            "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b", ""]) | inner,
        },
    ),
    max_leaves=12,
)


@given(schemas, schemas, st.dictionaries(st.sampled_from(["a", "b"]), schemas), json_values)
def test_any_schema_gives_an_answer(command: Any, result: Any, definitions: Any, value: Any) -> None:
    """Whatever a participant announces, the lint goes on: what it doesn't understand fits."""
    action = AnnouncedAction("reserve", True, {"command": command, "result": result, "$defs": definitions})
    nodes = (
        step("reserve", input={"a": value, "b": [value], "lines": {"$": "input.x"}}),
        step("again", action="reserve", input={"a": {"$": "steps.reserve.a"}, "order_id": {"$": "steps.reserve.b[0]"}}),
    )
    found = findings(*nodes, contracts=Contracts([AnnounceMessage("shop", "one", (action,))]))
    assert all(each.path.startswith("$.root.nodes[") and each.message for each in found)


def test_the_work_for_schemas_is_bounded() -> None:
    """A schema that doubles with each reference is given up, not followed to its end: then anything fits."""
    doubling = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(7)} | {"a7": {"type": "null"}}
    assert list(SchemaReader().literal("x", Schema({"$ref": "#/$defs/a0"}, doubling), lambda _: []))
    reader = SchemaReader(work_max=100)
    assert list(reader.literal("x", Schema({"$ref": "#/$defs/a0"}, doubling), lambda _: [])) == []
    crowded = [f"field_{n}" for n in range(500)]
    told = [
        each.problem
        for each in SchemaReader().literal(
            dict.fromkeys(crowded), Schema({"properties": {"field": {}}}, None), lambda _: []
        )
    ]
    assert len(told) == 500
    assert sum("did you mean" in each for each in told) == HINTS_MAX
    endless = {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}}, "b": {"anyOf": [{"$ref": "#/$defs/b"}] * 40}}
    reader = SchemaReader()
    source = Schema({"$ref": "#/$defs/a"}, endless)
    assert list(reader.literal({"$": "input"}, source, lambda _: [source])) == []
    assert list(reader.literal("x", Schema({"$ref": "#/$defs/b"}, endless), lambda _: [])) == []


def judged(*nodes: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    definition = decode_definition(msgspec.json.encode(document(*nodes, **fields)))
    found = lint(definition, Contracts([SHOP]))
    return [(each.rule, each.path) for each in found if each.rule == "field-unknown"]


def test_outside_of_its_loop_a_result_is_a_list() -> None:
    """Inside it is this item's own; the same field is right here and wrong there."""
    loop = for_each(
        "each_line",
        {"$": "input.lines"},
        sequence(step("reserve", input=GOOD), reading("a", "steps.reserve.total"), reading("b", "steps.reserve[0]")),
    )
    after = (reading("one", "steps.reserve[0].total"), reading("whole", "steps.reserve.total"))
    assert judged(loop, *after, outcome={"$": "steps.reserve[1].totall"}) == [
        ("field-unknown", "$.root.nodes[0].body.nodes[2].input.field"),
        ("field-unknown", "$.root.nodes[2].input.field"),
        ("field-unknown", "$.outcome"),
    ]


def test_fields_are_looked_for_in_every_expression() -> None:
    """In conditions and keys as well as in inputs, and in the midst of CEL."""
    nodes = (
        step("reserve", input=GOOD),
        when("large", {"$": "double(steps.reserve.totall) > 5.0"}, step("pay")),
        approval("agree", shows={"what": {"$": "steps.reserve.total"}}, assignees={"$": "steps.reserve.people"}),
    )
    assert judged(*nodes) == [
        ("field-unknown", "$.root.nodes[1].condition"),
        ("field-unknown", "$.root.nodes[2].assignees"),
    ]


def test_what_the_coordinator_itself_gives_is_known() -> None:
    nodes = (
        scope("trip", step("ship")),
        approval("agree"),
        reading("good", "steps.trip.failed && steps.agree.decision == 'approved'"),
        reading("bad", "steps.agree.decided"),
        reading("worse", "steps.trip.error"),
    )
    assert judged(*nodes) == [
        ("field-unknown", "$.root.nodes[3].input.field"),
        ("field-unknown", "$.root.nodes[4].input.field"),
    ]
