"""Every message survives the wire, and nothing that isn't one gets through."""

import contextlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermand.schemas.codec import BODY_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, JSON_DEPTH_MAX
from countermand.schemas.envelope import (
    Envelope,
    Incoming,
    message_type,
    read_answer,
    read_command,
    read_reply,
    read_request,
    saga_id_of,
    write_answer,
    write_command,
    write_reply,
    write_request,
)
from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.lifecycle import write_lifecycle
from countermand.schemas.messages import (
    Answer,
    CommandMessage,
    Failed,
    LifecycleMessage,
    Outcome,
    ReplyMessage,
    RequestMessage,
    Succeeded,
)
from schemas import strategies

COMMAND = CommandMessage(
    saga_id="order-1",
    definition="order@3",
    step="reserve_stock",
    participant="inventory",
    action="reserve_stock",
    direction="do",
    attempt=2,
    key="order-1/reserve_stock",
    command_id="c0ffee",
    saga_version=7,
    deadline_ms=1_700_000_000_000,
    body=b'{"order_id":"1"}',
)
REPLY = ReplyMessage(
    saga_id="order-1",
    step="reserve_stock",
    direction="do",
    attempt=2,
    key="order-1/reserve_stock",
    command_id="c0ffee",
    saga_version=7,
    participant="inventory",
    outcome=Succeeded(),
)
READERS: list[Callable[[Incoming], object]] = [read_command, read_reply, read_request, read_answer, message_type]


def arrived(envelope: Envelope) -> Incoming:
    return Incoming(dict(envelope.headers), envelope.body, envelope.content_type, envelope.reply_to)


def changed(envelope: Envelope, header: str, value: object) -> Incoming:
    headers: dict[str, object] = dict(envelope.headers)
    if value is None:
        del headers[header]
    else:
        headers[header] = value
    return Incoming(headers, envelope.body)


@given(strategies.commands)
def test_commands_survive_the_wire(message: CommandMessage) -> None:
    assert read_command(arrived(write_command(message))) == message


@given(strategies.replies)
def test_replies_survive_the_wire(message: ReplyMessage) -> None:
    assert read_reply(arrived(write_reply(message))) == message


@given(strategies.requests)
def test_requests_survive_the_wire(message: RequestMessage) -> None:
    assert read_request(arrived(write_request(message, source="/clients/shop"))) == message


@given(strategies.answers)
def test_answers_survive_the_wire(answer: Answer) -> None:
    read = read_answer(arrived(write_answer(answer)))
    # A null of JSON is read as None where a value may be missing; both mean the same.
    if isinstance(answer, Outcome) and isinstance(read, Outcome):
        assert bytes(read.result) == bytes(answer.result)
        assert (read.saga_id, read.phase, read.failure) == (answer.saga_id, answer.phase, answer.failure)
    else:
        assert read == answer


def test_an_envelope_is_a_cloud_event() -> None:
    """CloudEvents 1.0, binary mode: the required attributes are headers, and every value is flat text."""
    lifecycle = LifecycleMessage("id-1", "saga.completed", "order-1", "order@3", 7, 1_700_000_000_123, {"a": 1})
    for envelope in (write_command(COMMAND), write_reply(REPLY), write_lifecycle(lifecycle)):
        for attribute in ("specversion", "id", "source", "type"):
            assert envelope.headers[f"ce-{attribute}"]
        assert all(isinstance(value, str) for value in envelope.headers.values())
    assert write_lifecycle(lifecycle).headers["ce-time"] == "2023-11-14T22:13:20.123Z"


@pytest.mark.parametrize(
    "header", sorted(set(write_command(COMMAND).headers) - {"ce-id", "ce-source", "ce-specversion"})
)
def test_a_command_without_a_header_is_refused_by_its_name(header: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_command(changed(write_command(COMMAND), header, None))
    assert (caught.value.field, caught.value.problem) == (header, "missing")


@pytest.mark.parametrize("header", sorted(set(write_reply(REPLY).headers) - {"ce-id", "ce-source", "ce-specversion"}))
def test_a_reply_without_a_header_is_refused_by_its_name(header: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_reply(changed(write_reply(REPLY), header, None))
    assert caught.value.field == header


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce-sagaprotocol", "2"),
        ("ce-type", "countermand.reply.maybe"),
        ("ce-sagadirection", "sideways"),
        ("ce-sagaattempt", "0"),
        ("ce-sagaattempt", "-1"),
        ("ce-sagaattempt", "1e3"),
        ("ce-sagaattempt", "٣"),
        ("ce-sagaversion", "9" * 19),
        ("ce-sagastep", "Reserve Stock"),
        ("ce-sagastep", "reserve_stock[01]"),
        ("ce-sagaparticipant", "9"),
        ("ce-sagakey", ["a"]),
        ("ce-sagakey", b"\xff"),
        ("ce-sagacommandid", ""),
        ("ce-sagacommandid", {"a": 1}),
    ],
)
def test_a_reply_with_a_wrong_header_is_refused_by_its_name(header: str, value: object) -> None:
    with pytest.raises(MalformedMessage) as caught:
        read_reply(changed(write_reply(REPLY), header, value))
    assert caught.value.field == header


def test_a_saga_id_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="saga_id"):
        read_command(changed(write_command(COMMAND), "ce-sagaid", "../../etc"))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"code": 1}', b"[]", b'{"code":"a","retry_after_ms":-1}'])
def test_a_failed_reply_with_a_wrong_body_names_the_body(body: bytes) -> None:
    envelope = write_reply(msgspec.structs.replace(REPLY, outcome=Failed("broken")))
    with pytest.raises(MalformedMessage) as caught:
        read_reply(Incoming(envelope.headers, body))
    assert caught.value.field.startswith("body")


def test_numbers_may_come_as_numbers() -> None:
    """AMQP has integers of its own, and other languages send them."""
    assert read_reply(changed(write_reply(REPLY), "ce-sagaattempt", 2)) == REPLY
    with pytest.raises(MalformedMessage):
        read_reply(changed(write_reply(REPLY), "ce-sagaattempt", True))


@given(strategies.headers, st.binary(max_size=64) | strategies.bodies, st.none() | strategies.texts)
def test_nothing_but_malformed_message_is_ever_raised(
    headers: dict[str, object], body: bytes, content_type: str | None
) -> None:
    """I8: any headers and any bytes are either a message or a MalformedMessage that names a field."""
    incoming = Incoming(headers, body, content_type)
    saga_id_of(incoming)
    for read in READERS:
        with contextlib.suppress(MalformedMessage):
            read(incoming)


@given(
    st.sampled_from([write_command(COMMAND), write_reply(REPLY)]),
    strategies.header_names,
    strategies.header_values,
    st.binary(max_size=64) | strategies.bodies,
)
def test_almost_right_messages_are_read_or_refused(envelope: Envelope, header: str, value: object, body: bytes) -> None:
    """The same, one step from a sound message: that is where the deep checks are."""
    incoming = Incoming({**envelope.headers, header: value}, body)
    for read in READERS:
        with contextlib.suppress(MalformedMessage):
            read(incoming)


def test_limits_are_found_before_parsing() -> None:
    """Body size, depth, number and size of headers: each is refused by its name, with the limit."""
    good = write_command(COMMAND)
    cases: list[tuple[dict[str, object], bytes, str]] = [
        (dict(good.headers), b'"' + b"x" * BODY_BYTES_MAX + b'"', "body"),
        (dict(good.headers), b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1), "body"),
        ({**good.headers, **{f"x{n}": "1" for n in range(HEADERS_MAX)}}, b"{}", "headers"),
        ({**good.headers, "x": "y" * HEADERS_BYTES_MAX}, b"{}", "headers"),
    ]
    for headers, body, field in cases:
        with pytest.raises(LimitExceeded, match=r"\d+") as caught:
            read_command(Incoming(headers, body))
        assert caught.value.field == field


def test_depth_counts_brackets_outside_of_text_only() -> None:
    body = msgspec.json.encode({"text": "[{" * 1_000, "quote": '"[[[[\\' * 50})
    assert read_command(Incoming(write_command(COMMAND).headers, body)).body == body


def test_another_content_type_is_refused() -> None:
    good = write_command(COMMAND)
    assert read_command(Incoming(good.headers, good.body, "application/json; charset=utf-8")) == COMMAND
    with pytest.raises(MalformedMessage, match="content_type"):
        read_command(Incoming(good.headers, good.body, "application/x-python-serialize"))
