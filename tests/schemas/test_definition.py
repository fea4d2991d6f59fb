"""Documents: their identity, their shape, and the fuzz that must not get past either."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermand.schemas.codec import BODY_BYTES_MAX
from countermand.schemas.definition import Definition, canonical, decode_definition, definition_hash
from countermand.schemas.errors import DefinitionError
from countermand.schemas.lint import Contracts, UnsoundDefinition, errors, lint, require_sound
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage
from countermand.schemas.template import compile_definition
from schemas.documents import document, parallel, step
from schemas.strategies import json_values

# Whatever stands in the random documents, somebody announces it.
ANNOUNCED = Contracts([AnnounceMessage("a", "one", (AnnouncedAction("a", compensation=False, schema={"result": {}}),))])
GOLDEN = document(
    step("reserve_stock", input={"order_id": {"$": "input.id"}, "count": 2}),
    parallel(step("authorise_payment", timeout_ms=10_000, retry={"attempts_max": 5}), step("quote")),
    step("capture_payment", kind="pivot"),
    deadline_ms=7_200_000,
    outcome={"$": "steps.reserve_stock.id"},
)
GOLDEN_HASH = "64c70cd51f0b8b562d545a4d1781e408f1cde04f31a97801e0e3095f52b7d1e1"


def decoded(value: object) -> Definition:
    return decode_definition(msgspec.json.encode(value))


def test_identity_never_changes() -> None:
    """Sagas in motion are pinned to it. If this fails, released documents have lost their identity."""
    assert definition_hash(decoded(GOLDEN)) == GOLDEN_HASH


def test_identity_is_of_the_content_not_of_the_writing() -> None:
    """Order of keys, spaces and defaults written out make no difference."""
    loose = msgspec.json.format(msgspec.json.encode(dict(reversed(GOLDEN.items()))), indent=4)
    assert definition_hash(decode_definition(loose)) == GOLDEN_HASH
    spelled = decoded(GOLDEN)
    written_out = document(*copy.deepcopy(GOLDEN["root"]["nodes"]), deadline_ms=7_200_000, outcome=GOLDEN["outcome"])
    written_out["root"]["nodes"][2] = step(
        "capture_payment", kind="pivot", because="", compensation=True, timeout_ms=30_000, input={}, retry=None
    )
    written_out["root"]["nodes"][1]["branches"][0]["retry"] = {
        "attempts_max": 5,
        "backoff_ms": 1_000,
        "backoff_max_ms": 60_000,
        "multiplier": 2,
        "jitter_percent": 20,
    }
    assert canonical(decoded(written_out)) == canonical(spelled)


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (step("a"), "'step'; the root is a sequence"),
        (
            {"node": "sequence", "nodes": [{"node": "loop"}]},
            "'loop'; expected step, sequence, parallel, when, for_each, ",
        ),
    ],
)
def test_an_unknown_kind_of_node_says_which_there_are(root: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        decoded(document() | {"root": root})


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"colour": "red"}, "$"),
        ({"countermand": 2}, "$.countermand"),
        ({"version": "3"}, "$.version"),
        ({"root": {"node": "loop"}}, "$.root.node"),
        ({"root": {"node": "sequence", "nodes": [step("a", colour="red")]}}, "$.root.nodes[0]"),
        ({"root": {"node": "sequence", "nodes": [step("a", kind="maybe")]}}, "$.root.nodes[0].kind"),
        ({"root": {"node": "sequence", "nodes": [step("a", retry={"times": 3})]}}, "$.root.nodes[0].retry"),
    ],
)
def test_a_wrong_shape_is_refused_with_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        decoded({**GOLDEN, **changes})
    # msgspec says "any element" for the places in a tuple of nodes.
    assert caught.value.path.replace("[...]", "[0]") == path


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b'"\xff"', b"[" * 100_000, b'"' + b"x" * BODY_BYTES_MAX + b'"', b"1" * 5_000]
)
def test_what_is_no_document_is_refused(text: bytes) -> None:
    with pytest.raises(DefinitionError):
        decode_definition(text)


nodes: st.SearchStrategy[dict[str, Any]] = st.deferred(lambda: steps | sequences | parallels | named)
EXPRESSIONS = ["input.a", "steps.a", "steps.b.c", "saga.id", "$", "1 + 1", "has(steps.a) ? steps.a : 1", "each.a.item"]
small = st.sampled_from(["a", "b", "c", "A b", "", "x" * 70])
templates = st.recursive(
    json_values | st.fixed_dictionaries({"$": st.sampled_from(EXPRESSIONS)}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(small | st.just("$"), inner, max_size=3),
    max_leaves=6,
)
numbers = st.integers(-(2**70), 2**70) | st.integers(-2, 100)
retries = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("backoff_ms", "backoff_max_ms", "multiplier", "jitter_percent"), numbers)
    | {"attempts_max": st.none() | numbers},
)
steps: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"node": st.just("step"), "name": small, "participant": small, "action": small},
    optional={
        "input": st.dictionaries(small | st.just("$"), templates, max_size=3),
        "kind": st.sampled_from(["compensatable", "pivot", "retriable"]),
        "compensation": st.booleans(),
        "because": small,
        "timeout_ms": numbers,
        "retry": st.none() | retries,
        "undo_retry": st.none() | retries,
    },
)
sequences: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"node": st.just("sequence"), "nodes": st.lists(nodes, max_size=3)}
)
parallels: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"node": st.just("parallel"), "branches": st.lists(nodes, max_size=3)}
)
maybe = st.none() | numbers


def node(tag: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A node of this kind; most are of the right shape, some have one field that is anything."""
    right = st.fixed_dictionaries({"node": st.just(tag), "name": small, **required}, optional=optional)
    spoilt = st.tuples(right, st.sampled_from(["name", *required, *optional]), json_values)
    return right | right | right | spoilt.map(lambda parts: {**parts[0], parts[1]: parts[2]})


kinds = {"kind": st.sampled_from(["compensatable", "pivot", "retriable"]), "timeout_ms": maybe}
named: st.SearchStrategy[dict[str, Any]] = st.one_of(
    node("when", {"condition": templates, "then": nodes}, otherwise=st.none() | nodes),
    node("for_each", {"items": templates, "body": nodes}, concurrency=numbers),
    node("wait_for", {"event": small}, deadline_ms=maybe, key=templates, on_timeout=st.none() | nodes),
    node("sleep", {}, duration_ms=maybe, until=templates),
    node(
        "approval",
        {},
        deadline_ms=maybe,
        shows=templates,
        role=st.none() | small,
        assignees=templates,
        requester=templates,
        escalate_after_ms=maybe,
        escalate_to=st.none() | small,
        otherwise=st.none() | nodes,
    ),
    node("child", {"definition": small}, version=maybe, input=templates, compensation=st.booleans(), **kinds),
    node("lock", {"lock": small, "key": templates}, timeout_ms=numbers, kind=kinds["kind"]),
    node("scope", {"body": nodes}),
)
limits = st.fixed_dictionaries({"at_once": numbers}, optional={"key": templates, "timeout_ms": numbers})
documents = st.fixed_dictionaries(
    {"countermand": st.just(1), "name": small, "version": numbers, "root": sequences},
    optional={"deadline_ms": maybe, "outcome": templates, "concurrency": st.none() | limits},
)


@given(documents | json_values)
def test_any_json_is_a_sound_definition_or_a_definition_error(value: object) -> None:
    """Right shapes with wrong sense, wrong shapes, and anything else: never another error, and never a half truth."""
    try:
        definition = decoded(value)
    except DefinitionError:
        return
    findings = lint(definition)
    assert {*findings} <= {*lint(definition, ANNOUNCED)}
    assert all(finding.path.startswith("$") and finding.message and finding.rule for finding in findings)
    if found := errors(findings):
        with pytest.raises(UnsoundDefinition) as caught:
            require_sound(definition)
        assert list(caught.value.findings) == found
    else:
        require_sound(definition)
        assert decode_definition(canonical(definition)) == definition
        compile_definition(definition)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_politely(text: bytes) -> None:
    with pytest.raises(DefinitionError):
        decode_definition(text)
