"""Every rule of the lint has a definition that breaks it, and a message with the place and the mend."""

from typing import Any

import msgspec
import pytest

from countermand.schemas.definition import Definition, decode_definition
from countermand.schemas.lint import DEPTH_MAX, RULES, STEPS_MAX, UnsoundDefinition, lint, require_sound
from schemas.documents import document, parallel, reading, sequence, step
from schemas.test_lint_contracts import CONTRACT_RULES
from schemas.test_lint_nodes import BROKEN_NODES


def decoded(value: object) -> Definition:
    return decode_definition(msgspec.json.encode(value))


def nested(levels: int) -> dict[str, Any]:
    node = step("deep")
    for _ in range(levels):
        node = sequence(node)
    return node


BROKEN: list[tuple[str, str, str, dict[str, Any]]] = [
    ("definition-name", "$.name", "expected", document(step("a")) | {"name": "My Saga"}),
    ("definition-version", "$.version", "begin with 1", document(step("a")) | {"version": 0}),
    ("deadline", "$.deadline_ms", "above 0", document(step("a"), deadline_ms=0)),
    ("deadline", "$.deadline_ms", "at most 366 days", document(step("a"), deadline_ms=10**12)),
    ("no-steps", "$.root", "at least one step", document()),
    ("step-name", "$.root.nodes[0].name", "lower-case", document(step("A-1", action="a"))),
    ("participant-name", "$.root.nodes[0].participant", "lower-case", document(step("a", participant="P!"))),
    ("action-name", "$.root.nodes[0].action", "lower-case", document(step("a", action="a-b"))),
    ("name-twice", "$.root.nodes[1].name", "already used at $.root.nodes[0]", document(step("a"), step("a"))),
    ("own-result", "$.root.nodes[0].input.field", "its own result", document(reading("a", "steps.a.id"))),
    ("unknown-step", "$.root.nodes[0].input.field", "no step 'b'", document(reading("a", "steps.b.id"))),
    ("not-yet-run", "$.root.nodes[0].input.field", "move it ahead", document(reading("a", "steps.b"), step("b"))),
    (
        "not-yet-run",
        "$.root.nodes[0].branches[1].nodes[0].input.field",
        "move it ahead",
        document(parallel(step("a"), sequence(reading("b", "steps.a")))),
    ),
    ("unknown-step", "$.outcome.id", "no step 'z'", document(step("a"), outcome={"id": {"$": "steps.z.id"}})),
    ("expression", "$.root.nodes[0].input.field", "begins with `input`", document(reading("a", "order.id"))),
    ("expression", "$.root.nodes[0].input.field", "at character 15", document(reading("a", "input.total > "))),
    ("expression", "$.root.nodes[0].input.field", "only `saga.id`", document(reading("a", "saga.name"))),
    ("expression", "$.root.nodes[0].input.field", "say which step", document(reading("a", "steps"))),
    ("expression", '$.root.nodes[0].input["$ref"]', "rename the field", document(step("a", input={"$ref": 1}))),
    (
        "expression",
        '$.root.nodes[0].input.x["$"]',
        "stands alone",
        document(step("a", input={"x": {"$": "input", "y": 1}})),
    ),
    ("expression", '$.outcome["$"]', "an expression is text", document(step("a"), outcome={"$": 5})),
    ("number-too-large", "$.outcome[0]", "write it as text", document(step("a"), outcome=[2**53])),
    ("pivot-twice", "$.root.nodes[1].kind", "at most one", document(step("a", kind="pivot"), step("b", kind="pivot"))),
    (
        "pivot-in-parallel",
        "$.root.nodes[0].branches[0].kind",
        "move it after",
        document(parallel(step("a", kind="pivot"))),
    ),
    ("undo-after-pivot", "$.root.nodes[1].kind", "retriable", document(step("a", kind="pivot"), step("b"))),
    ("retriable-before-pivot", "$.root.nodes[0].kind", "after the pivot", document(step("a", kind="retriable"))),
    ("compensation-missing", "$.root.nodes[0].compensation", "because", document(step("a", compensation=False))),
    ("timeout", "$.root.nodes[0].timeout_ms", "above 0", document(step("a", timeout_ms=0))),
    ("timeout", "$.root.nodes[0].undo_timeout_ms", "30 days", document(step("a", undo_timeout_ms=31 * 86_400_000))),
    ("retry", "$.root.nodes[0].retry.attempts_max", "at least 1", document(step("a", retry={"attempts_max": 0}))),
    (
        "retry-unbounded",
        "$.root.nodes[0].retry.attempts_max",
        "give a number",
        document(step("a", retry={"attempts_max": None})),
    ),
    ("retry", "$.root.nodes[0].retry.backoff_ms", "backoff_max_ms", document(step("a", retry={"backoff_ms": 10**6}))),
    ("retry", "$.root.nodes[0].undo_retry.backoff_ms", "0 to", document(step("a", undo_retry={"backoff_ms": -1}))),
    ("retry", "$.root.nodes[0].retry.backoff_max_ms", "30 days", document(step("a", retry={"backoff_max_ms": 10**12}))),
    ("retry", "$.root.nodes[0].retry.multiplier", "1 to 10", document(step("a", retry={"multiplier": 0}))),
    ("retry", "$.root.nodes[0].retry.jitter_percent", "0 to 100", document(step("a", retry={"jitter_percent": 101}))),
    ("empty-group", "$.root.nodes[1].branches", "remove it", document(step("a"), parallel())),
    ("empty-group", "$.root.nodes[1].nodes", "remove it", document(step("a"), sequence())),
    (
        "timeout-over-deadline",
        "$.root.nodes[0].timeout_ms",
        "raise deadline_ms",
        document(step("a", timeout_ms=60_000), deadline_ms=60_000),
    ),
    (
        "retry-over-deadline",
        "$.root.nodes[0].retry",
        # Ten attempts of 10 s each, and nine pauses: 1, 2, 4, … 32 s, then at most 60 s.
        "all 10 attempts may take 343000 ms, and the whole saga has 342999 ms",
        document(step("a", timeout_ms=10_000, retry={"attempts_max": 10}), deadline_ms=342_999),
    ),
    (
        "datetime-without-zone",
        "$.root.nodes[0].input.at",
        "write '2026-01-31T12:00:00Z' if it is UTC",
        document(step("a", input={"at": "2026-01-31T12:00:00"})),
    ),
]


@pytest.mark.parametrize(("rule", "path", "mend", "broken"), BROKEN)
def test_each_rule_is_broken_by_its_definition(rule: str, path: str, mend: str, broken: dict[str, Any]) -> None:
    [finding] = lint(decoded(broken))
    assert (finding.rule, finding.path) == (rule, path)
    assert mend in finding.message


@pytest.mark.parametrize(
    "sound",
    [
        document(step("a", timeout_ms=10_000, retry={"attempts_max": 10}), deadline_ms=343_000),
        # Nobody wrote the default policy with this deadline in mind, and after the pivot there is no deadline.
        document(step("a"), deadline_ms=31_000),
        document(
            step("a", kind="pivot", timeout_ms=1),
            step("b", kind="retriable", timeout_ms=10_000, retry={"attempts_max": None}),
            deadline_ms=1_000,
        ),
        document(step("a", input={"at": ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00+01:00", "2026-01-31", "12:00"]})),
    ],
)
def test_what_fits_the_deadline_and_has_a_zone_is_no_finding(sound: dict[str, Any]) -> None:
    """The bounds themselves are allowed; a day or a time of day alone is no moment."""
    assert lint(decoded(sound)) == []


def test_a_retry_of_any_size_is_weighed() -> None:
    """A million attempts are worked out without being counted one by one."""
    policy = {"attempts_max": 1_000_000, "backoff_max_ms": 86_400_000, "multiplier": 10}
    [finding] = lint(decoded(document(step("a", retry=policy), deadline_ms=86_400_000)))
    assert finding.rule == "retry-over-deadline"
    even = step("a", timeout_ms=1, retry={"attempts_max": 100, "backoff_ms": 1_000, "multiplier": 1})
    assert lint(decoded(document(even, deadline_ms=99_100))) == []
    assert len(lint(decoded(document(even, deadline_ms=99_099)))) == 1


def test_every_rule_is_broken_by_some_definition() -> None:
    """The table has no rule that nobody has seen at work."""
    told = {rule for rule, *_ in (*BROKEN, *BROKEN_NODES)}
    assert told | {"too-many-steps", "too-deep"} | set(CONTRACT_RULES) == set(RULES)


def test_a_warning_keeps_nothing_out() -> None:
    warned = decoded(document(step("a", input={"at": "2026-01-31T12:00:00"})))
    require_sound(warned)
    assert [finding.severity for finding in lint(warned)] == ["warning"]


def test_limits_of_size() -> None:
    many = [step(f"s{number}") for number in range(STEPS_MAX + 1)]
    assert lint(decoded(document(*many[:-1]))) == []
    [finding] = lint(decoded(document(*many)))
    assert finding.rule == "too-many-steps"


def test_limits_of_depth() -> None:
    """Sixteen levels with the root; what is deeper isn't walked to its end."""
    shape = lint(decoded(document(step("a"), nested(DEPTH_MAX - 3))))
    assert shape == []
    assert [finding.rule for finding in lint(decoded(document(step("a"), nested(DEPTH_MAX - 2))))] == []
    definition = decoded(document(step("a")))
    root = definition.root
    for _ in range(5_000):
        root = type(root)((root,))
    deep = msgspec.structs.replace(definition, root=root)
    assert "too-deep" in {finding.rule for finding in lint(deep)}


def test_after_a_parallel_its_results_are_visible() -> None:
    sound = document(
        step("a"),
        parallel(reading("b", "steps.a.id"), sequence(step("c"), reading("d", "steps.c.id"))),
        reading("e", "steps.b.id"),
        reading("f", "steps.d.id"),
        step("pay", kind="pivot"),
        reading("g", "steps.pay.id", kind="retriable", retry={"attempts_max": None}),
        outcome=[{"$": "steps.g"}, {"$": "input.x[0]"}, {"$": "saga.id"}],
    )
    assert lint(decoded(sound)) == []


def test_all_findings_are_told_at_once() -> None:
    broken = decoded(document(step("a", timeout_ms=0), step("a"), deadline_ms=-1))
    with pytest.raises(UnsoundDefinition) as caught:
        require_sound(broken)
    assert [finding.rule for finding in caught.value.findings] == ["deadline", "timeout", "name-twice"]
    assert all(str(finding) in str(caught.value) for finding in caught.value.findings)
