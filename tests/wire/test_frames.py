"""What is encoded is what an independent decoder reads."""

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from countermand.wire import Message
from countermand.wire.frames import Unencodable, encode

short_text = st.text(max_size=60)


@given(
    message=st.builds(
        Message,
        exchange=st.from_regex(r"[a-zA-Z0-9._:-]{0,60}", fullmatch=True),
        routing_key=short_text,
        body=st.binary(max_size=600),
        headers=st.dictionaries(
            st.text(min_size=1, max_size=30), short_text | st.integers(-(2**63), 2**63 - 1), max_size=6
        ),
        content_type=short_text,
        type=short_text,
        correlation_id=st.none() | short_text,
        reply_to=st.none() | short_text,
        mandatory=st.booleans(),
        persistent=st.booleans(),
        app_id=short_text,
    ),
    frame_max=st.integers(2048, 4096),
)
def test_a_decoder_reads_what_was_encoded(message: Message, frame_max: int) -> None:
    """Every property, header and byte survives, in frames no larger than allowed."""
    data = encode(message, "id-1", channel_number=3, frame_max=frame_max)
    frames = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        assert (channel, size <= frame_max) == (3, True)
        frames.append(frame)
        data = data[size:]
    publish, header, *bodies = frames
    assert isinstance(publish, Basic.Publish)
    assert isinstance(header, ContentHeader)
    properties = header.properties
    assert (publish.exchange, publish.routing_key) == (message.exchange, message.routing_key)
    assert (publish.mandatory, properties.message_id) == (message.mandatory, "id-1")
    assert (properties.headers or {}) == message.headers
    assert properties.delivery_mode == (2 if message.persistent else 1)
    assert (properties.content_type or "") == message.content_type
    assert (properties.message_type or "", properties.app_id or "") == (message.type, message.app_id)
    assert (properties.correlation_id or None) == (message.correlation_id or None)
    assert (properties.reply_to or None) == (message.reply_to or None)
    assert header.body_size == len(message.body)
    assert b"".join(body.value for body in bodies if isinstance(body, ContentBody)) == message.body


@pytest.mark.parametrize(
    "wrong",
    [
        {"routing_key": "k" * 256},
        {"correlation_id": "c" * 256},
        {"headers": {"h": 2**64}},
        {"headers": {"h": "a" * 140_000}},
        {"headers": {"h": object()}},
        {"headers": {"h": True}},
        {"headers": {"h": "\ud800"}},
        {"exchange": "e" * 256},
        {"exchange": "no spaces allowed?"},
        {"headers": {"h" * 129: "too long a name"}},
    ],
)
def test_what_the_protocol_cannot_carry_is_refused(wrong: dict[str, object]) -> None:
    """Before a byte of it is on the wire."""
    good: dict[str, object] = {"exchange": "e", "routing_key": "k", "body": b"", "headers": {}}
    with pytest.raises(Unencodable):
        encode(Message(**{**good, **wrong}), "id", channel_number=1, frame_max=131_072)  # type: ignore[arg-type]
