"""An operator's request on the wire: it survives as it is, and what isn't one is refused by the field's name."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermand.schemas.codec import BODY_BYTES_MAX
from countermand.schemas.envelope import Envelope, Incoming, read_request, write_request
from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.identifiers import STEP_MAX, is_step_key, step_key
from countermand.schemas.messages import CommandMessage, OperateMessage
from countermand.schemas.operations import ACTOR_MAX, WHY_MAX, PauseSaga, RetryStep, SkipStep, name_of
from schemas import strategies

PAUSE = OperateMessage("r1", "order-1", PauseSaga(), "ann", "the bank is down", 7, "clients.1")
SOUND: dict[str, Any] = {"operation": {"operation": "pause"}, "actor": "ann", "reason": "because"}


def written(message: OperateMessage) -> Envelope:
    return write_request(message, source="/clients/cli")


def arrived(body: object, **headers: object) -> Incoming:
    """A request with this body; a header that is None is left out."""
    envelope = written(PAUSE)
    merged: dict[str, object] = {**envelope.headers, **{f"ce-{name}": value for name, value in headers.items()}}
    kept = {name: value for name, value in merged.items() if value is not None}
    return Incoming(kept, body if isinstance(body, bytes) else msgspec.json.encode(body), None, "clients.1")


@given(strategies.operates)
def test_operations_survive_the_wire_byte_for_byte(message: OperateMessage) -> None:
    """Payloads too: what a person wrote is what the coordinator takes."""
    envelope = written(message)
    read = read_request(Incoming(dict(envelope.headers), envelope.body, envelope.content_type, envelope.reply_to))
    assert read == message
    assert isinstance(read, OperateMessage)
    assert name_of(read.operation) == msgspec.json.decode(envelope.body)["operation"]["operation"]


@pytest.mark.parametrize("payload", [b"null", b"0", b'"x"', b"[1.0,2]", b'{"a": 1}'])
def test_a_payload_is_any_json_and_nothing_is_something_else(payload: bytes) -> None:
    """An input that is null was given; one that is left out was not."""
    for operation in (b"retry", b"skip"):
        field = b"input" if operation == b"retry" else b"result"
        body = b'{"actor":"a","reason":"b","operation":{"operation":"%s","%s":%s}}' % (operation, field, payload)
        read = read_request(arrived(body))
        assert isinstance(read, OperateMessage)
        found = read.operation.input if isinstance(read.operation, RetryStep) else None
        found = read.operation.result if isinstance(read.operation, SkipStep) else found
        assert found is not None
        assert bytes(found) == payload
    without = read_request(arrived({**SOUND, "operation": {"operation": "retry"}}))
    assert isinstance(without, OperateMessage)
    assert without.operation == RetryStep()


MALFORMED: list[tuple[object, str, str]] = [
    ({**SOUND, "actor": ""}, "body.actor", "length >= 1"),
    ({**SOUND, "actor": "a" * (ACTOR_MAX + 1)}, "body.actor", "length <= 128"),
    ({**SOUND, "actor": 7}, "body.actor", "Expected `str`"),
    ({**SOUND, "reason": ""}, "body.reason", "length >= 1"),
    ({**SOUND, "reason": "a" * (WHY_MAX + 1)}, "body.reason", "length <= 1000"),
    ({"operation": {"operation": "pause"}, "actor": "ann"}, "body", "`reason`"),
    ({"operation": {"operation": "pause"}, "reason": "b"}, "body", "`actor`"),
    ({"actor": "ann", "reason": "b"}, "body", "`operation`"),
    ({**SOUND, "expected_version": 7}, "body", "`expected_version`"),
    ({**SOUND, "operation": {}}, "body.operation", "`operation`"),
    ({**SOUND, "operation": "pause"}, "body.operation", "Expected `object`"),
    ({**SOUND, "operation": {"operation": "explode"}}, "body.operation.operation", "'explode'"),
    ({**SOUND, "operation": {"operation": "pause", "step": "a"}}, "body.operation", "`step`"),
    ({**SOUND, "operation": {"operation": "skip", "input": {}}}, "body.operation", "`input`"),
    ({**SOUND, "operation": {"operation": "retry", "step": ""}}, "body.operation.step", "length >= 1"),
    (
        {**SOUND, "operation": {"operation": "retry", "step": "a" * (STEP_MAX + 1)}},
        "body.operation.step",
        f"length <= {STEP_MAX}",
    ),
    ({**SOUND, "operation": {"operation": "resume", "clock": "back"}}, "body.operation.clock", "'back'"),
    ({**SOUND, "operation": {"operation": "extend", "by_ms": 0}}, "body.operation.by_ms", ">= 1"),
    ({**SOUND, "operation": {"operation": "extend", "deadline_ms": -1}}, "body.operation.deadline_ms", ">= 0"),
    ({**SOUND, "operation": {"operation": "extend", "deadline_ms": 2**53}}, "body.operation.deadline_ms", "<="),
    ({**SOUND, "operation": {"operation": "settle_compensation"}}, "body.operation", "`evidence`"),
    ({**SOUND, "operation": {"operation": "settle_compensation", "evidence": ""}}, "body.operation.evidence", ">= 1"),
    (b'{"actor":"a","reason":"b","operation":{"operation":"skip","result":{"a":1e999}}}', "body.operation.result", ""),
    (b'{"actor":"a","reason":"b","operation":{"operation":"skip","result":"\xff"}}', "body.operation.result", "utf-8"),
    (b'{"actor":"a","reason":"b","operation":{"operation":"retry","input":"\xff"}}', "body.operation.input", "utf-8"),
    (b"", "body", "not valid JSON"),
    (b"[]", "body", "Expected `object`"),
]


@pytest.mark.parametrize(("body", "field", "problem"), MALFORMED)
def test_a_malformed_request_is_refused_by_its_field(body: object, field: str, problem: str) -> None:
    """The sender is told where to look and what was expected."""
    with pytest.raises(MalformedMessage) as caught:
        read_request(arrived(body))
    assert caught.value.field.startswith(field)
    assert problem in caught.value.problem


@pytest.mark.parametrize("version", ["-1", "1e3", "seven", ["7"], "9" * 19])
def test_an_expected_version_that_is_none_is_refused_by_its_header(version: object) -> None:
    """A guard that can't be read must not be left out silently."""
    with pytest.raises(MalformedMessage) as caught:
        read_request(arrived(SOUND, sagaexpectedversion=version))
    assert caught.value.field == "ce-sagaexpectedversion"


def test_an_expected_version_may_be_left_out() -> None:
    read = read_request(arrived(SOUND, sagaexpectedversion=None))
    assert isinstance(read, OperateMessage)
    assert read.expected_version is None


def test_a_request_over_the_limit_is_refused_unread() -> None:
    """An operator's payload is a message like any other."""
    with pytest.raises(LimitExceeded, match=str(BODY_BYTES_MAX)):
        read_request(arrived({**SOUND, "reason": "x" * BODY_BYTES_MAX}))


@given(strategies.saga_ids, strategies.names, st.integers(0, 10**9 - 1))
def test_a_step_s_keys_are_told_from_others(saga_id: str, step: str, since: int) -> None:
    """The first key and every later one belong to the step; another step's, saga's or a misspelt one doesn't."""
    key = step_key(saga_id, step, since)
    assert is_step_key(key, saga_id, step)
    assert not is_step_key(key, saga_id, f"{step}x")
    assert not is_step_key(key, f"{saga_id}x", step)
    for wrong in ("~", "~0", "~01", "~1x", "~-1", "~1~1", "~1\n", "x"):
        assert not is_step_key(step_key(saga_id, step) + wrong, saga_id, step)
    assert not is_step_key("~1", saga_id, step)


@given(strategies.commands, st.integers(0, 9))
def test_a_command_s_key_name_is_its_key_without_the_saga(command: CommandMessage, since: int) -> None:
    """It is what a participant keeps its record under."""
    keyed = msgspec.structs.replace(command, key=step_key(command.saga_id, command.step, since))
    assert keyed.key_name == (f"{command.step}~{since}" if since else command.step)
