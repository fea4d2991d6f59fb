"""What changed between two versions, in the words of the field, and what it means for sagas in motion."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from core.definitions import plans
from countermand.coordinator.core import Plan
from countermand.coordinator.operate.definitions.changes import Change
from countermand.coordinator.operate.definitions.differences import differences
from countermand.coordinator.operate.definitions.meaning import consequences
from countermand.schemas.definition import Definition, NamedNode, decode_definition, nodes_of
from schemas.documents import document, parallel, sequence, step


def made(*nodes: dict[str, Any], version: int = 1, **fields: Any) -> Definition:
    return decode_definition(msgspec.json.encode(document(*nodes, **fields) | {"version": version}))


A, B, C, D = (step(name) for name in "abcd")

GROWING = " growing 2-fold up to 1m, jitter 20%"


def said(old: Definition, new: Definition) -> list[str]:
    return [f"{each.node or 'the saga'} {each.aspect} | {each.said}" for each in differences(old, new)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([A, B], [A, B, C], ["c added | added: shop.c, compensatable"]),
        ([A, B, C], [A, C], ["b removed | removed: shop.b"]),
        ([A, B], [A, step("bb", action="b")], ["bb renamed | renamed from b"]),
        # Of two alike nobody can say which one is meant.
        (
            [step("a1", action="x"), step("a2", action="x")],
            [step("b1", action="x")],
            ["a1 removed | removed: shop.x", "a2 removed | removed: shop.x", "b1 added | added: shop.x, compensatable"],
        ),
        ([A, B, C, D], [B, C, A, D], ["a moved | moved: now after b, c"]),
        ([A, B, C], [A, parallel(B, C)], ["c moved | moved: no longer after b"]),
        ([A, parallel(B, C), D], [A, parallel(sequence(B, C)), D], ["c moved | moved: now after b"]),
        ([A, C], [A, B, C], ["b added | added: shop.b, compensatable"]),
        (
            [A],
            [step("a", participant="store", action="take")],
            ["a route | participant: shop → store", "a contract | action: a → take"],
        ),
        ([A], [step("a", timeout_ms=90_000)], ["a timeout | timeout: 30s → 1m30s"]),
        ([A], [step("a", undo_timeout_ms=60_000)], ["a timeout | timeout of the compensation: 30s → 1m"]),
        (
            [A],
            [step("a", retry={"attempts_max": 5, "backoff_ms": 500})],
            [
                f"a retry | retry: 3 attempts, pauses 1s{GROWING} → 5 attempts, pauses 500ms{GROWING}",
            ],
        ),
        (
            [A],
            [step("a", compensation=False, because="a quote")],
            ["a compensation | compensation: yes → none (a quote)"],
        ),
        (
            [step("a", input={"id": {"$": "input.id"}, "old": 1, "deep": {"x": [1], "y": 2}})],
            [step("a", input={"id": {"$": "input.order.id"}, "deep": {"x": [2], "y": 2}, "new": "n"})],
            [
                "a input | input.id: input.id → input.order.id",
                "a input | input.old: removed, was 1",
                "a input | input.deep.x: [1] → [2]",
                'a input | input.new: added, "n"',
            ],
        ),
        ([step("a", input={"x": 1})], [step("a", input={"x": True})], ["a input | input.x: 1 → true"]),
    ],
)
def test_each_change_in_words(old: list[dict[str, Any]], new: list[dict[str, Any]], expected: list[str]) -> None:
    assert said(made(*old), made(*new, version=2)) == expected


def test_changes_of_the_saga_itself() -> None:
    old = made(A, deadline_ms=7_200_000, outcome={"id": {"$": "steps.a.id"}})
    new = made(A, outcome={"id": {"$": "steps.a.order"}})
    assert said(old, new) == [
        "the saga deadline | deadline: 2h → none",
        "the saga outcome | outcome.id: steps.a.id → steps.a.order",
    ]


def test_a_changed_kind_is_told_with_what_follows_from_it() -> None:
    aspects = [each.aspect for each in differences(made(A, B), made(A, step("b", kind="pivot")))]
    assert aspects == ["kind", "compensation", "retry"]


def test_what_it_means_for_sagas_in_motion() -> None:
    """They keep their definition, so what only they use has to be served until they have ended."""
    quote = step("quote", participant="carrier", compensation=False, because="x")
    old = made(step("pay", participant="bank"), A, quote)
    new = made(step("pay", participant="bank", compensation=False, because="x"), B, version=2)
    assert consequences(old, new, 1_234) == [
        "1,234 sagas of order@1 in motion: nothing changes for them, each keeps order@1 to its end",
        "bank must go on consuming the compensation of pay until they have ended",
        "shop must go on consuming the compensation of a until they have ended",
        "shop must go on consuming a until they have ended",
        "carrier must go on consuming quote until they have ended",
    ]
    assert consequences(old, new, 0) == ["no saga of order@1 is in motion: nobody has to go on serving it"]
    assert consequences(old, new, None) == ["sagas of order@1 in motion keep it to their end"]
    assert consequences(old, old, 3) == ["nothing: they are the same definition"]
    assert consequences(made(A), made(B), 0)[0] == "order@1 can't be registered with other content: raise the version"


@given(plans(), plans())
def test_any_two_definitions_can_be_compared(before: Plan, after: Plan) -> None:
    """Nothing differs from itself, and whatever differs is told."""
    old, new = before.definition, after.definition
    assert differences(old, old) == []
    changes = differences(old, new)
    assert all(isinstance(each, Change) and each.said for each in changes)
    assert bool(changes) == (msgspec.structs.replace(old, name=new.name, version=new.version) != new) or not changes
    names = {each.name for root in (old.root, new.root) for each in nodes_of(root) if isinstance(each, NamedNode)}
    assert {each.node for each in changes} <= names | {None}
