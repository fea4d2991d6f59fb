"""What changed in each sort of node, where nodes moved to, and who could go over to the new version."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from countermand.coordinator.operate.definitions.changes import Change, change_document
from countermand.coordinator.operate.definitions.differences import differences
from countermand.coordinator.operate.definitions.meaning import consequences
from countermand.schemas.definition import Definition, NamedNode, definition_hash, nodes_of
from definitions.showcase import node, path, showcase
from definitions.test_differences import A, B, C, made, said
from definitions.trees import trees
from schemas.documents import parallel

WHEN = {"condition": path("input.a"), "then": A}
LOOP = {"items": path("input.lines"), "body": A}
WAIT = {"event": "paid"}
CHILD = {"definition": "trip"}
THREE = [C, C | {"name": "d"}, C | {"name": "e"}]
LOCK = {"lock": "order", "key": path("input.id")}


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("when", WHEN, {"condition": path("input.b")}, ["condition | condition: input.a → input.b"]),
        ("for_each", LOOP, {"items": path("input.all")}, ["items | items: input.lines → input.all"]),
        ("for_each", LOOP, {"concurrency": 3}, ["concurrency | at once: 10 → 3"]),
        ("wait_for", WAIT, {"event": "sent"}, ["event | event: paid → sent"]),
        ("wait_for", WAIT, {"key": path("input.id")}, ["key | key: none → input.id"]),
        ("wait_for", WAIT, {"deadline_ms": 60_000}, ["deadline | deadline: none → 1m"]),
        ("sleep", {"duration_ms": 1}, {"duration_ms": 2}, ["pause | pause: sleeps for 1ms → sleeps for 2ms"]),
        (
            "sleep",
            {"duration_ms": 1},
            {"duration_ms": None, "until": path("input.at")},
            ["pause | pause: sleeps for 1ms → sleeps until input.at"],
        ),
        ("approval", {"role": "a"}, {"role": "b"}, ["approvers | who decides: asks role a → asks role b"]),
        ("approval", {"role": "a"}, {"assignees": ["x"]}, ["approvers | who decides: asks role a → asks role a or x"]),
        ("approval", {}, {"requester": path("input.by")}, ["approvers | who may not decide: none → input.by"]),
        ("approval", {"shows": {"a": 1}}, {"shows": {"a": 2}}, ["shown | what is shown.a: 1 → 2"]),
        ("approval", {}, {"deadline_ms": 3_600_000}, ["deadline | deadline: none → 1h"]),
        (
            "approval",
            {},
            {"escalate_after_ms": 60_000, "escalate_to": "boss"},
            ["escalation | escalation: none → after 1m to role boss"],
        ),
        ("child", CHILD, {"version": 2}, ["child | child: saga trip → saga trip@2"]),
        (
            "child",
            CHILD,
            {"kind": "retriable"},
            ["kind | kind: compensatable → retriable", "compensation | compensation: yes → not needed"],
        ),
        (
            "child",
            CHILD,
            {"compensation": False, "because": "x"},
            ["compensation | compensation: yes → none (x)"],
        ),
        ("child", CHILD, {"timeout_ms": 60_000}, ["timeout | timeout: none → 1m"]),
        ("child", CHILD | {"input": {"a": 1}}, {"input": {}}, ["input | input.a: removed, was 1"]),
        ("lock", LOCK, {"lock": "stock"}, ["lock | lock: order → stock"]),
        ("lock", LOCK, {"key": path("input.sku")}, ["key | key: input.id → input.sku"]),
        ("lock", LOCK, {"timeout_ms": 60_000}, ["timeout | timeout: 1h → 1m"]),
        ("lock", LOCK, {"kind": "retriable"}, ["kind | kind: compensatable → retriable"]),
    ],
)
def test_each_change_of_a_node(kind: str, old: dict[str, Any], new: dict[str, Any], expected: list[str]) -> None:
    before, after = made(node(kind, "x", **old)), made(node(kind, "x", **(old | new)))
    assert said(before, after) == [f"x {each}" for each in expected]


def test_a_step_that_is_probed_when_in_doubt() -> None:
    assert said(made(A), made(A | {"on_unknown": "probe"})) == ["a in_doubt | in doubt: compensate → probe"]


def test_branches_come_and_go() -> None:
    """The branch itself is told, and what is done in it."""
    bare: dict[str, dict[str, Any]] = {"when": WHEN, "wait_for": WAIT, "approval": {"role": "r"}}
    for kind, place, words in (
        ("when", "otherwise", "otherwise"),
        ("wait_for", "on_timeout", "on timeout"),
        ("approval", "otherwise", "otherwise"),
    ):
        without, with_ = made(node(kind, "x", **bare[kind])), made(node(kind, "x", **bare[kind], **{place: B}))
        assert said(without, with_) == [
            f"x branch | branch {words}: added",
            "b added | added: shop.b, compensatable",
        ]
        assert said(with_, without) == ["b removed | removed: shop.b", f"x branch | branch {words}: removed"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            [A, B],
            [A, node("scope", "s", body=B)],
            ["s added | added: scope: undone alone", "b moved | moved: now in the scope s"],
        ),
        (
            [node("for_each", "l", items=path("input.x"), body=A)],
            [A, node("for_each", "l", items=path("input.x"), body=B)],
            ["a moved | moved: no longer in the loop l", "b added | added: shop.b, compensatable"],
        ),
        (
            [node("when", "w", condition=path("input.a"), then=A, otherwise=B)],
            [node("when", "w", condition=path("input.a"), then=B, otherwise=A)],
            ["b moved | moved: now in `then` of when w", "a moved | moved: now in `otherwise` of when w"],
        ),
        # What is in a node moves along with it, and isn't told again.
        (
            [node("scope", "s", body=A), *THREE],
            [*THREE, node("scope", "s", body=A)],
            ["s moved | moved: now after c, d, e"],
        ),
        # A new name for what holds them is no move of those in it.
        (
            [node("scope", "s", body=A)],
            [node("scope", "t", body=A)],
            ["t renamed | renamed from s"],
        ),
        ([node("lock", "x", **LOCK), A], [A, node("lock", "x", **LOCK)], ["a moved | moved: no longer after x"]),
        (
            [A],
            [node("child", "a", **CHILD)],
            ["a replaced | replaced: shop.a, compensatable → child saga trip, compensatable"],
        ),
        ([A], [A, node("sleep", "s", duration_ms=1)], ["s added | added: sleeps for 1ms"]),
        ([A, node("wait_for", "w", event="e")], [A], ["w removed | removed: waits for e"]),
    ],
)
def test_what_moved_came_and_went(old: list[dict[str, Any]], new: list[dict[str, Any]], expected: list[str]) -> None:
    assert said(made(*old), made(*new)) == expected


def test_the_limit_of_all_sagas() -> None:
    limit = {"at_once": 2, "key": path("input.id")}
    assert said(made(A), made(A, concurrency=limit)) == [
        "the saga limit | sagas at once: no limit → 2 at once for each input.id, waiting up to 1h"
    ]


@pytest.mark.parametrize(
    ("old", "new", "migration"),
    [
        (made(A), made(A | {"timeout_ms": 1}), "any_time"),
        (made(A, deadline_ms=1), made(A), "any_time"),
        (made(A, outcome=1), made(A, outcome=2), "any_time"),
        (made(A), made(A | {"input": {"x": 1}}), "until_reached"),
        (made(A), made(A, B), "until_reached"),
        (made(A, B), made(A), "until_reached"),
        (made(A, B), made(parallel(A, B)), "until_reached"),
        (made(node("wait_for", "w", **WAIT)), made(node("wait_for", "w", **WAIT, deadline_ms=1)), "until_reached"),
        (made(A), made(A, concurrency={"at_once": 1}), "not_concerned"),
    ],
)
def test_who_could_go_over(old: Definition, new: Definition, migration: str) -> None:
    """What is looked at again and again can change under a saga; what was acted upon can't."""
    [change] = differences(old, new)
    assert change.migration == migration
    assert change_document(change)["migration"] == migration


def test_the_meaning_says_who_could_be_migrated() -> None:
    def last_word(old: Definition, new: Definition) -> str:
        return consequences(old, new, 1, differences(old, new))[-1]

    assert last_word(made(A), made(A | {"timeout_ms": 1}, version=2)) == (
        "any of them could be migrated to the new version"
    )
    assert last_word(made(A), made(A | {"input": {"x": 1}}, B, version=2)) == (
        "those that haven't come to a or b yet could be migrated to the new version"
    )
    many = [A | {"name": f"s{number}"} for number in range(6)]
    assert last_word(made(A), made(A, *many, version=2)) == (
        "those that haven't come to s0, s1, s2, s3 or 2 more places yet could be migrated to the new version"
    )


def test_a_list_and_a_tuple_are_no_difference() -> None:
    """A document gives lists, Python may give tuples."""
    [approval] = [each for each in nodes_of(showcase().root) if getattr(each, "name", "") == "fraud_review"]
    assert isinstance(approval, NamedNode)
    before = msgspec.structs.replace(showcase().root, nodes=(approval,))
    after = msgspec.structs.replace(before, nodes=(msgspec.structs.replace(approval, assignees=("alice", "bob")),))
    one, other = (msgspec.structs.replace(showcase(), root=root) for root in (before, after))
    assert differences(one, other) == []
    assert consequences(one, other, 3) == ["nothing: they are the same definition"]


@given(trees(), trees())
def test_any_two_trees_can_be_compared(old: Definition, new: Definition) -> None:
    """Nothing differs from itself; each node that only one of them has is told, each exactly once."""
    assert differences(old, old) == []
    changes = differences(old, new)
    assert all(isinstance(each, Change) and each.said and each.migration_words for each in changes)
    before, after = names_of(old), names_of(new)
    told = [each.node for each in changes if each.aspect in ("added", "removed", "renamed")]
    assert len(told) == len(set(told))
    renamed = {each.before for each in changes if each.aspect == "renamed"}
    assert {each.node for each in changes if each.aspect == "removed"} == before - after - renamed
    if definition_hash(old) != definition_hash(new):
        assert consequences(old, new, 2, changes)


def names_of(definition: Definition) -> set[str]:
    return {node.name for node in nodes_of(definition.root) if isinstance(node, NamedNode)}
