"""Settling says as little as possible and never a word too much."""

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from countermand.wire.settlement import Answer, Unsettled, settle_frame


def decoded(frames: bytes) -> list[Basic.Ack | Basic.Nack]:
    methods = []
    while frames:
        size, channel, method = pamqp.frame.unmarshal(frames)
        assert channel == 7
        assert isinstance(method, Basic.Ack | Basic.Nack)
        methods.append(method)
        frames = frames[size:]
    return methods


@pytest.mark.parametrize("multiple", [True, False])
@pytest.mark.parametrize("answer", ["acknowledge", "dead_letter", "release"])
def test_frames_are_those_of_the_protocol(answer: Answer, multiple: bool) -> None:
    """The packed bytes are what an independent encoder makes of the same method."""
    expected = (
        Basic.Ack(delivery_tag=300, multiple=multiple)
        if answer == "acknowledge"
        else Basic.Nack(delivery_tag=300, multiple=multiple, requeue=answer == "release")
    )
    assert settle_frame(300, answer, 7, multiple=multiple) == pamqp.frame.marshal(expected, 7)


@given(
    seen=st.sets(st.integers(1, 40)).map(sorted),
    batches=st.lists(st.sets(st.integers(1, 40)), max_size=8),
)
def test_exactly_what_was_asked_is_settled(seen: list[int], batches: list[set[int]]) -> None:
    """A broker that follows the frames settles the asked deliveries and no other, gaps or not.

    The broker knows all tags up to the newest one; those that were never seen stay unsettled for ever.
    """
    unsettled = Unsettled()
    for tag in seen:
        unsettled.add(tag)
    broker = set(range(1, max(seen, default=0) + 1))
    for batch in batches:
        before = set(broker)
        for method in decoded(unsettled.frames(batch, "acknowledge", 7)):
            tag = method.delivery_tag
            assert tag is not None
            assert tag in broker, "the broker closes the channel on an unknown tag"
            broker -= {t for t in broker if t <= tag} if method.multiple else {tag}
        unsettled.settle(batch)
        assert before - broker == batch & before & set(seen)
    assert len(unsettled) == len(broker & set(seen))


def test_a_whole_batch_is_one_frame() -> None:
    """The usual case, everything that came is done with, costs one frame."""
    unsettled = Unsettled()
    for tag in range(1, 201):
        unsettled.add(tag)

    assert len(decoded(unsettled.frames(range(1, 201), "acknowledge", 7))) == 1
