"""The examples of the protocol are what the code reads, what it writes, and what the schemas allow."""

import copy
import json
from typing import Any

import msgspec
import pytest

from countermand.schemas import envelope, operations
from countermand.schemas.codes import LIFECYCLE_FIELDS
from countermand.schemas.errors import MalformedMessage
from countermand.schemas.headers import KINDS
from countermand.schemas.messages import OperateMessage
from protocol.wire_format import (
    SIDES,
    conforms,
    golden,
    golden_names,
    incoming,
    readable_names,
    schema_names,
    schema_of,
    side_of,
)


@pytest.mark.parametrize("name", readable_names())
def test_what_is_read_is_written_again(name: str) -> None:
    """The reader understands the example whole: from what it read, the writer makes the same message."""
    message, side = golden(name), side_of(name)
    written = side.write(side.read(incoming(message)))
    assert written.headers == message["headers"]
    assert json.loads(written.body) == message["body"]
    assert written.correlation_id == message["properties"].get("correlation_id")
    assert written.reply_to == message["properties"].get("reply_to")


@pytest.mark.parametrize("name", readable_names())
def test_the_schema_allows_it(name: str) -> None:
    assert conforms(name, golden(name))


def test_there_is_an_example_and_a_schema_of_everything() -> None:
    """No kind, outcome, answer, operation or event is left out."""
    names = golden_names()
    assert {name.partition(".")[0] for name in names} == {kind.name for kind in KINDS} | {"dead"}
    assert set(SIDES) == {kind.name for kind in KINDS}
    for schema in schema_names():
        assert any(f"{name}.".startswith(f"{schema}.") for name in names), schema
    assert {f"lifecycle.{event}" for event in LIFECYCLE_FIELDS} < set(names)
    asked = [side_of(name).read(incoming(golden(name))) for name in names if name.startswith("operate.")]
    kinds = {type(each.operation) for each in asked if isinstance(each, OperateMessage)}
    assert kinds == set(operations.Operation.__args__)


# Kinds whose bodies are somebody else's JSON, or nobody's.
PASSED_ON = {"command", "event", "lifecycle", "parent_ended", "signal", "start", "subscribe", "watch"}


def broken(name: str) -> list[tuple[str, dict[str, Any]]]:
    """The message with one thing wrong, in every way that both the reader and the schema must see."""
    message = golden(name)
    variants: list[tuple[str, dict[str, Any]]] = []

    def but(what: str, **changes: Any) -> None:
        variant = copy.deepcopy(message)
        variant.update(changes)
        variants.append((what, variant))

    for each in side_of(name).kind.headers:
        if each.need == "required":
            but(f"no {each.name}", headers={k: v for k, v in message["headers"].items() if k != each.name})
    wrong: dict[str, Any] = {
        "ce-sagaprotocol": "2",
        "ce-type": "countermand.nonsense",
        "ce-sagaid": "../etc",
        "ce-sagastep": "Reserve Stock",
        "ce-sagaaction": "9",
        "ce-sagaparticipant": "-",
        "ce-sagadirection": "sideways",
        "ce-sagaattempt": "0",
        "ce-sagaversion": "-1",
        "ce-sagadeadline": "1.5",
        "ce-sagadefversion": "0",
        "ce-sagasignal": "",
        "ce-sagaexpectedversion": "1e3",
        "ce-sagakey": ["a"],
    }
    read = {each.name for each in side_of(name).kind.headers if each.need != "sent"}
    for header, value in wrong.items():
        if (
            header in message["headers"]
            and header in read
            and not (name.startswith("answer") and header == "ce-sagaid")
        ):
            but(f"{header}: {value!r}", headers={**message["headers"], header: value})
    but("content type", properties={**message["properties"], "content_type": "text/plain"})
    needed = schema_of(name)["properties"]["body"].get("required")
    # A definition is read later, a command by its handler, and what an event says by whoever listens.
    if needed and not name.startswith(("define", "lifecycle", "command")):
        but("body is a list", body=[])
        but("body is empty", body={})
    return variants


def refused(name: str, message: dict[str, Any]) -> bool:
    try:
        side_of(name).read(incoming(message))
    except MalformedMessage:
        return True
    return False


@pytest.mark.parametrize("name", readable_names())
def test_reader_and_schema_refuse_the_same(name: str) -> None:
    """What the schemas forbid the code doesn't read, and the other way round, one fault at a time."""
    variants = broken(name)
    assert len(variants) > 2
    for what, variant in variants:
        assert not conforms(name, variant), f"the schema allows {what}"
        assert refused(name, variant), f"the reader takes {what}"


@pytest.mark.parametrize("name", readable_names())
def test_what_is_unknown_is_ignored(name: str) -> None:
    """Rule M6: a later release may add headers and fields, and this one still reads its messages."""
    message, side = golden(name), side_of(name)
    expected = side.read(incoming(message))
    more = {**message, "headers": {**message["headers"], "ce-sagafuture": "1", "other": "2"}}
    assert conforms(name, more)
    assert side.read(incoming(more)) == expected
    strict = name.startswith(("operate", "define"))
    passed_on = name == "reply.succeeded" or name.partition(".")[0] in PASSED_ON
    if not strict and not passed_on:
        grown = {**message, "body": {**message["body"], "future": 1}}
        assert conforms(name, grown)
        assert side.read(incoming(grown)) == expected


def test_the_strict_body_is_refused() -> None:
    """Rule M6, the exception: an operation half understood would do harm."""
    message = golden("operate.pause")
    grown = {**message, "body": {**message["body"], "future": 1}}
    assert not conforms("operate.pause", grown)
    with pytest.raises(MalformedMessage):
        envelope.read_request(incoming(grown))


def test_integers_may_come_as_integers() -> None:
    """Rule M2: other languages send numbers as such."""
    message = golden("command.do")
    numbers = {
        **message,
        "headers": {**message["headers"], "ce-sagaattempt": 1, "ce-sagadeadline": 2, "ce-sagaversion": 3},
    }
    assert conforms("command.do", numbers)
    assert envelope.read_command(incoming(numbers)).deadline_ms == 2


def test_an_undo_carries_the_command_of_its_action() -> None:
    """Rule C4."""
    done, undone = golden("command.do"), golden("command.undo")
    assert undone["body"]["command"] == done["body"]
    assert undone["body"]["result"] == golden("reply.succeeded")["body"]
    assert msgspec.json.encode(undone["body"])
