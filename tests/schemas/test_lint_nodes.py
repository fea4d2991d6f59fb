"""The rules for nodes other than steps: each has a definition that breaks it, alone, and says the mend."""

from typing import Any

import msgspec
import pytest

from countermand.schemas.definition import Definition, decode_definition
from countermand.schemas.lint import lint
from schemas.documents import (
    approval,
    child,
    document,
    for_each,
    lock,
    parallel,
    reading,
    scope,
    sequence,
    sleep,
    step,
    wait_for,
    when,
)

YES = {"$": "input.yes"}
LINES = {"$": "input.lines"}
FIRST = "$.root.nodes[0]"
SECOND = "$.root.nodes[1]"
PIVOT = step("decide", kind="pivot")


def decoded(value: object) -> Definition:
    return decode_definition(msgspec.json.encode(value))


def retriable(name: str, **fields: Any) -> dict[str, Any]:
    return step(name, kind="retriable", **fields)


def loops(levels: int) -> dict[str, Any]:
    node = step("a")
    for level in range(levels):
        node = for_each(f"loop_{level}", LINES, node)
    return node


BROKEN_NODES: list[tuple[str, str, str, dict[str, Any]]] = [
    # Names.
    ("step-name", f"{FIRST}.name", "lower-case", document(when("A-1", YES, step("a")))),
    ("name-twice", f"{FIRST}.then.name", f"already used at {FIRST}", document(when("a", YES, step("a")))),
    ("reserved-name", f"{FIRST}.participant", "the coordinator itself", document(step("a", participant="countermand"))),
    ("reserved-name", f"{FIRST}.name", "choose another one", document(step("countermand_limit"))),
    ("event-name", f"{FIRST}.event", "lower-case", document(wait_for("a", event="Paid!"))),
    ("lock-name", f"{FIRST}.lock", "lower-case", document(lock("a", "x", lock="a:b"))),
    ("child-definition", f"{FIRST}.definition", "lower-case", document(child("a", definition=""))),
    ("child-definition", f"{FIRST}.version", "begin with 1", document(child("a", version=0))),
    # Numbers.
    ("concurrency", "$.concurrency.at_once", "1 to", document(step("a"), concurrency={"at_once": 0})),
    (
        "timeout",
        "$.concurrency.timeout_ms",
        "more than 0",
        document(step("a"), concurrency={"at_once": 1, "timeout_ms": 0}),
    ),
    ("timeout", f"{FIRST}.timeout_ms", "366 days", document(child("a", timeout_ms=10**12))),
    ("timeout", f"{FIRST}.timeout_ms", "more than 0", document(lock("a", "x", timeout_ms=0))),
    (
        "for-each-concurrency",
        f"{FIRST}.concurrency",
        "1 to 1000",
        document(for_each("a", LINES, step("b"), concurrency=1001)),
    ),
    ("wait-deadline", f"{FIRST}.deadline_ms", "more than 0", document(wait_for("a", deadline_ms=0))),
    ("wait-deadline", f"{FIRST}.deadline_ms", "366 days", document(approval("a", deadline_ms=10**12))),
    # Time.
    ("wait-without-deadline", FIRST, "give it deadline_ms", document(wait_for("a", deadline_ms=None))),
    ("wait-without-deadline", FIRST, "give it deadline_ms", document(approval("a", deadline_ms=None))),
    (
        "wait-without-deadline",
        SECOND,
        "give it deadline_ms",
        document(PIVOT, wait_for("a", deadline_ms=None), deadline_ms=10**6),
    ),
    ("sleep", FIRST, "neither is", document(sleep("a"))),
    ("sleep", FIRST, "both are", document(sleep("a", duration_ms=1, until=YES))),
    ("sleep", f"{FIRST}.duration_ms", "above 0", document(sleep("a", duration_ms=0))),
    ("sleep", f"{FIRST}.until", "2026-01-31T12:00:00Z", document(sleep("a", until="2026-01-31T12:00:00"))),
    ("sleep", f"{FIRST}.until", "no moment", document(sleep("a", until="2026-02-31T12:00:00Z"))),
    ("sleep", f"{FIRST}.until", "no moment", document(sleep("a", until=2**63))),
    ("sleep", f"{FIRST}.until", "no moment", document(sleep("a", until=[1]))),
    (
        "wait-over-deadline",
        f"{FIRST}.duration_ms",
        "raise",
        document(sleep("a", duration_ms=60_000), deadline_ms=60_000),
    ),
    ("wait-over-deadline", f"{FIRST}.deadline_ms", "raise", document(wait_for("a"), deadline_ms=60_000)),
    ("wait-over-deadline", f"{FIRST}.deadline_ms", "raise", document(approval("a"), deadline_ms=60_000)),
    ("wait-over-deadline", f"{FIRST}.timeout_ms", "raise", document(child("a", timeout_ms=9_000), deadline_ms=9_000)),
    ("wait-over-deadline", f"{FIRST}.timeout_ms", "raise", document(lock("a", 1, timeout_ms=9_000), deadline_ms=9_000)),
    ("timeout-after-pivot", SECOND, "give it on_timeout", document(PIVOT, wait_for("a"))),
    ("timeout-after-pivot", SECOND, "give it otherwise", document(PIVOT, approval("a"))),
    # Branches.
    ("condition", f"{FIRST}.condition", "found true", document(when("a", True, step("b")))),
    ("condition", f"{FIRST}.condition", "found an object", document(when("a", {"x": YES}, step("b")))),
    ("unreachable", f"{FIRST}.condition", "remove the when", document(when("a", {"$": "1 == 2"}, step("b")))),
    (
        "unreachable",
        f"{FIRST}.on_timeout",
        "give it one",
        document(wait_for("a", deadline_ms=None, on_timeout=step("b")), deadline_ms=10**6),
    ),
    ("empty-group", f"{FIRST}.body.nodes", "remove it", document(for_each("a", LINES, sequence()))),
    ("items", f"{FIRST}.items", "found 5", document(for_each("a", 5, step("b")))),
    ("loops-too-deep", f"{FIRST}.body.body.body", "child saga", document(loops(4))),
    # Keys and people.
    ("key", f"{FIRST}.key", "found null", document(lock("a", None))),
    ("key", f"{FIRST}.key", "found a list", document(wait_for("a", key=[1]))),
    ("key", f"{FIRST}.key", "256 characters", document(wait_for("a", key="x" * 257))),
    ("key", "$.concurrency.key", "found true", document(step("a"), concurrency={"at_once": 1, "key": True})),
    ("approval-nobody", FIRST, "give a role", document(approval("a", role=None))),
    ("role", f"{FIRST}.role", "1 to 64", document(approval("a", role=""))),
    ("assignees", f"{FIRST}.assignees", "found 'ann'", document(approval("a", assignees="ann"))),
    ("assignees", f"{FIRST}.assignees", "found a list", document(approval("a", assignees=[1]))),
    ("escalation", FIRST, "escalate_to is missing", document(approval("a", escalate_after_ms=1))),
    ("escalation", FIRST, "escalate_after_ms is missing", document(approval("a", escalate_to="chief"))),
    (
        "escalation",
        f"{FIRST}.escalate_after_ms",
        "before it",
        document(approval("a", escalate_to="chief", escalate_after_ms=60_000)),
    ),
    (
        "escalation",
        f"{FIRST}.escalate_after_ms",
        "above 0",
        document(approval("a", escalate_to="chief", escalate_after_ms=0)),
    ),
    # The pivot, and what may stand on its sides.
    ("pivot-misplaced", f"{FIRST}.then.kind", "outermost", document(when("a", YES, PIVOT))),
    (
        "pivot-misplaced",
        f"{FIRST}.body.nodes[0].kind",
        "after the loop",
        document(for_each("a", LINES, sequence(PIVOT))),
    ),
    ("pivot-misplaced", f"{FIRST}.body.kind", "after the scope", document(scope("a", child("b", kind="pivot")))),
    ("pivot-misplaced", f"{FIRST}.on_timeout.kind", "outermost", document(wait_for("a", on_timeout=PIVOT))),
    ("pivot-misplaced", f"{FIRST}.otherwise.kind", "outermost", document(approval("a", otherwise=PIVOT))),
    ("pivot-in-parallel", f"{FIRST}.branches[0].kind", "after", document(parallel(child("a", kind="pivot")))),
    ("scope-after-pivot", SECOND, "its body alone", document(PIVOT, scope("a", retriable("b")))),
    ("undo-after-pivot", f"{SECOND}.kind", "retriable", document(PIVOT, child("a"))),
    ("undo-after-pivot", f"{SECOND}.kind", "retriable", document(PIVOT, lock("a", "x"))),
    ("retriable-before-pivot", f"{FIRST}.kind", "after the pivot", document(lock("a", "x", kind="retriable"))),
    ("compensation-missing", f"{FIRST}.compensation", "because", document(child("a", compensation=False))),
    ("probe-kind", f"{SECOND}.on_unknown", "remove on_unknown", document(PIVOT, retriable("a", on_unknown="probe"))),
    # What can be read.
    ("no-result", f"{SECOND}.input.field", "is a when", document(when("a", YES, step("b")), reading("c", "steps.a"))),
    ("no-result", f"{SECOND}.input.field", "is a lock", document(lock("a", "x"), reading("c", "steps.a"))),
    (
        "may-not-have-run",
        f"{SECOND}.input.field",
        "has(steps.b) ? steps.b.id : null",
        document(when("a", YES, step("b")), reading("c", "steps.b.id")),
    ),
    (
        "may-not-have-run",
        f"{SECOND}.input.field",
        "ask first",
        # To ask for the field isn't to ask for the step.
        document(when("a", YES, step("b")), reading("c", "has(steps.b.id) ? steps.b.id : null")),
    ),
    ("may-not-have-run", "$.outcome", "undone", document(scope("a", step("b")), outcome={"$": "steps.b"})),
    (
        "may-not-have-run",
        "$.outcome",
        "ask first",
        document(wait_for("a", on_timeout=step("b")), outcome={"$": "steps.a.id"}),
    ),
    ("not-yet-run", f"{FIRST}.condition", "move it ahead", document(when("a", {"$": "steps.b > 1"}, step("b")))),
    (
        "not-yet-run",
        f"{FIRST}.otherwise.input.field",
        "move it ahead",
        document(when("a", YES, step("b"), otherwise=reading("c", "steps.b"))),
    ),
    (
        "not-yet-run",
        "$.concurrency.key",
        "move it ahead",
        document(step("a"), concurrency={"at_once": 1, "key": {"$": "steps.a"}}),
    ),
    ("own-result", f"{FIRST}.input.x", "its own", document(child("a", input={"x": {"$": "steps.a"}}))),
    ("each-outside", f"{SECOND}.input.field", "move it there", document(loops(1), reading("b", "each.loop_0.item"))),
    ("each-outside", f"{FIRST}.input.field", "no for_each 'x'", document(reading("b", "each.x.index"))),
    (
        "each-outside",
        f"{FIRST}.items",
        "move it there",
        document(for_each("a", {"$": "each.a.item"}, step("b"))),
    ),
    ("expression", f"{FIRST}.input.field", "of which loop", document(reading("a", "each.x.name"))),
]


@pytest.mark.parametrize(("rule", "path", "mend", "broken"), BROKEN_NODES)
def test_each_rule_is_broken_by_its_definition(rule: str, path: str, mend: str, broken: dict[str, Any]) -> None:
    [finding] = lint(decoded(broken))
    assert (finding.rule, finding.path) == (rule, path)
    assert mend in finding.message


SOUND = [
    document(
        lock("locked", {"$": "input.order_id"}),
        when("big", {"$": "double(input.total) > 100.0"}, step("check"), otherwise=sequence(step("trust"))),
        reading("a", "has(steps.check) ? steps.check.id : null"),
        reading("b", "has(steps.check) && steps.check.ok"),
        step("decide", kind="pivot", on_unknown="probe"),
        lock("other", 5, kind="retriable"),
        child("ship", kind="retriable"),
        wait_for("arrived", on_timeout=retriable("complain")),
    ),
    # In its branch a step has surely run; a loop's body reads its own item, and the outside reads the lists.
    document(
        for_each(
            "quotes",
            LINES,
            sequence(
                reading("ask", "each.quotes.item.sku"),
                when("cheap", {"$": "steps.ask.price < 5"}, sequence(step("take"), reading("thank", "steps.take.id"))),
                reading("note", "each.quotes.index"),
            ),
            concurrency=1_000,
        ),
        reading("best", "steps.ask.map(quote, quote.price)"),
        outcome=[{"$": "steps.take"}, {"$": "steps.note[0]"}],
    ),
    # A scope says whether it failed; an approval has a result however it was decided.
    document(
        scope("trip", sequence(step("hotel"), reading("car", "steps.hotel.id"))),
        when("sad", {"$": "steps.trip.failed"}, step("console")),
        approval("agree", otherwise=reading("tell", "steps.agree.by"), requester={"$": "input.by"}),
        reading("after", "steps.agree.comment"),
    ),
    document(loops(3)),
    # Nobody wrote the default of an hour with this deadline in mind.
    document(lock("a", "x"), deadline_ms=9_000),
    document(wait_for("paid", deadline_ms=None), approval("a", deadline_ms=None), deadline_ms=99),
    document(wait_for("paid", key={"$": "input.id"}), approval("a", role=None, assignees={"$": "input.people"})),
    document(approval("a", escalate_to="chief", escalate_after_ms=59_999, assignees=["ann", {"$": "input.second"}])),
    document(sleep("a", duration_ms=366 * 86_400_000), sleep("b", until="2026-01-31T12:00:00.5+01:00")),
    document(sleep("a", until=1_769_860_800_000), sleep("b", until={"$": "input.at"}), deadline_ms=9_000),
    document(for_each("a", ["x", {"$": "input.y"}], step("b")), concurrency={"at_once": 3, "key": {"$": "input.y"}}),
]


@pytest.mark.parametrize("sound", SOUND)
def test_what_is_sound_is_no_finding(sound: dict[str, Any]) -> None:
    assert lint(decoded(sound)) == []


def test_what_a_loop_perhaps_gave_is_a_list_but_what_stood_before_it_stays_in_doubt() -> None:
    """A loop whose body saw a branch's step doesn't make that step certain."""
    broken = document(when("a", YES, step("b")), for_each("c", LINES, step("d")), outcome={"$": "steps.b"})
    assert [finding.rule for finding in lint(decoded(broken))] == ["may-not-have-run"]


def test_a_literal_that_is_too_deep_is_told_and_not_walked() -> None:
    """In memory there may be what no document can be; the lint never runs out of stack."""
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    definition = decoded(document(step("a")))
    root = definition.root
    [node] = root.nodes
    for changed in (
        msgspec.structs.replace(definition, outcome=deep),
        msgspec.structs.replace(definition, root=type(root)((msgspec.structs.replace(node, input={"x": deep}),))),
    ):
        assert [finding.rule for finding in lint(changed)] == ["too-deep"]


def test_nodes_of_every_kind_are_counted() -> None:
    nodes = [sleep(f"s{number}", duration_ms=1) for number in range(1_001)]
    assert lint(decoded(document(*nodes[1:]))) == []
    assert [finding.rule for finding in lint(decoded(document(*nodes)))] == ["too-many-steps"]
