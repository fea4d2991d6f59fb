"""What a start asks for is recognised by its content, not by its bytes."""

import msgspec
import pytest
from msgspec.structs import replace

from countermand.coordinator.intake import content_digest
from countermand.schemas.messages import StartMessage

START = StartMessage("r1", "order-1", "order", msgspec.Raw(b'{"id":1,"lines":[{"sku":"a","n":2}]}'), 1, ("vip", "eu"))


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(replace(START, request_id="r2", reply_to="clients.2"), id="another request"),
        pytest.param(replace(START, input=msgspec.Raw(b'{"lines":[{"n":2,"sku":"a"}],"id":1}')), id="other key order"),
        pytest.param(
            replace(START, input=msgspec.Raw(b' {"id" : 1,\n"lines":[{"sku":"\\u0061","n":2}]}')), id="spaces"
        ),
        pytest.param(replace(START, tags=("eu", "vip")), id="other order of tags"),
        pytest.param(replace(START, traceparent="00-1-2-3"), id="another trace"),
    ],
)
def test_the_same_content_is_the_same(again: StartMessage) -> None:
    """I7: who asks, in which order the fields stand, and how they are spaced makes no difference."""
    assert content_digest(again) == content_digest(START)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(START, input=msgspec.Raw(b'{"id":2,"lines":[{"sku":"a","n":2}]}')), id="another value"),
        pytest.param(replace(START, input=msgspec.Raw(b'{"id":"1","lines":[{"sku":"a","n":2}]}')), id="another type"),
        pytest.param(replace(START, input=msgspec.Raw(b'{"id":1,"lines":[]}')), id="fewer lines"),
        pytest.param(replace(START, definition="orders"), id="another definition"),
        pytest.param(replace(START, version=2), id="another version"),
        pytest.param(replace(START, tags=("vip",)), id="fewer tags"),
        pytest.param(replace(START, tags=("vip,eu",)), id="tags run together"),
    ],
)
def test_other_content_is_other(other: StartMessage) -> None:
    """I7: anything that the saga would see makes a difference."""
    assert content_digest(other) != content_digest(START)


def test_the_order_of_a_list_is_content() -> None:
    """Only an object's fields have no order."""
    one, two = (replace(START, input=msgspec.Raw(text)) for text in (b"[1,2]", b"[2,1]"))
    assert content_digest(one) != content_digest(two)
