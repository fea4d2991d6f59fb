"""The canonical form of every sort of node: whatever has its default is left out, in whichever way it was written."""

from typing import Any

import msgspec
import pytest

from countermand.schemas.definition import (
    ApprovalNode,
    Concurrency,
    Definition,
    Node,
    SequenceNode,
    StepNode,
    WaitNode,
    canonical,
    decode_definition,
    definition_hash,
    nodes_of,
)
from definitions.showcase import node, path, showcase
from schemas.documents import document, parallel, sequence, step

# Every node, with nothing but what it must have, nested in one that has branches.
BARE = {
    "step": step("x"),
    "sequence": sequence(step("x")),
    "parallel": parallel(step("x")),
    "when": node("when", "x", condition=path("input.a"), then=step("y")),
    "for_each": node("for_each", "x", items=path("input.a"), body=step("y")),
    "wait_for": node("wait_for", "x", event="paid"),
    "sleep": node("sleep", "x"),
    "approval": node("approval", "x"),
    "child": node("child", "x", definition="other"),
    "lock": node("lock", "x", lock="order", key=path("input.a")),
    "scope": node("scope", "x", body=step("y")),
}


def nested(inner: dict[str, Any]) -> Definition:
    outer = node("when", "outer", condition=path("input.b"), then=node("scope", "in", body=sequence(inner)))
    return decode_definition(msgspec.json.encode(document(outer)))


def written_out(value: Any) -> Any:
    """A definition's parts with every default written down, as a careful author would."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = {name: written_out(getattr(value, name)) for name in value.__struct_fields__}
        return fields if tag is None else {"node": tag, **fields}
    return [written_out(each) for each in value] if isinstance(value, tuple) else value


def test_every_sort_of_node_is_looked_at() -> None:
    assert set(BARE) == {str(each.__struct_config__.tag) for each in Node.__args__}


@pytest.mark.parametrize("kind", BARE)
def test_a_default_that_is_written_out_is_left_out(kind: str) -> None:
    """However deep the node stands; and what was given stays."""
    bare = nested(BARE[kind])
    full = decode_definition(msgspec.json.encode(written_out(bare)))
    assert canonical(full) == canonical(bare)
    plain = document(
        node("when", "outer", condition=path("input.b"), then=node("scope", "in", body=sequence(BARE[kind])))
    )
    assert msgspec.json.decode(canonical(bare)) == plain


def test_a_list_from_a_document_is_the_tuple_of_python() -> None:
    """In fields of any type, which hold what their author wrote: none at all, or a few."""

    none: tuple[Any, ...] = ((), [])
    some: tuple[Any, ...] = (("a", "b"), ["a", "b"])

    def saga(assignees: Any) -> Definition:
        return Definition(1, "order", 1, SequenceNode((ApprovalNode("x", assignees=assignees),)))

    assert len({definition_hash(saga(each)) for each in none}) == 1
    assert b"assignees" not in canonical(saga([]))
    assert len({definition_hash(saga(each)) for each in some}) == 1
    inputs = [StepNode("x", "shop", "x", {"a": value}) for value in ((1, (2,)), [1, [2]])]
    assert len({definition_hash(Definition(1, "order", 1, SequenceNode((each,)))) for each in inputs}) == 1


def test_what_is_not_the_default_stays() -> None:
    """Also what Python takes for the same: an empty object is no null, false is no zero."""
    keys: tuple[Any, ...] = ({}, 0, False, "", [])
    for key in keys:
        wait = WaitNode("x", "paid", key=key)
        assert b'"key"' in canonical(Definition(1, "order", 1, SequenceNode((wait,))))
    limit = Definition(1, "order", 1, SequenceNode(()), concurrency=Concurrency(5))
    assert msgspec.json.decode(canonical(limit))["concurrency"] == {"at_once": 5}


def test_the_showcase_reads_back_as_it_was_written() -> None:
    definition = showcase()
    assert canonical(decode_definition(canonical(definition))) == canonical(definition)
    assert {str(each.__struct_config__.tag) for each in nodes_of(definition.root)} == set(BARE)
