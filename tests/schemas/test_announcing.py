"""Announcements and lifecycle events survive the wire, and nothing that isn't one gets through."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from countermand.schemas.announcing import (
    ANNOUNCED_ACTIONS_MAX,
    ANNOUNCEMENT_BYTES_MAX,
    LIBRARY_MAX,
    read_announce,
    write_announce,
)
from countermand.schemas.codec import encode
from countermand.schemas.envelope import Envelope, Incoming, write_request
from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.lifecycle import read_lifecycle, write_lifecycle
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage, LifecycleMessage, WatchMessage

RESERVE = AnnouncedAction("reserve", compensation=True, schema={"command": {"type": "object"}})
TOLD = AnnounceMessage("stock", "host-7-ab12", (RESERVE,), library="countermand 1.0", started_ms=1_700_000_000_000)
EVENT = LifecycleMessage("s-1/3/0", "step.succeeded", "s-1", "order@3", 3, 1_700_000_000_123, {"step": "pay"})


def arrived(envelope: Envelope, **changes: Any) -> Incoming:
    return msgspec.structs.replace(Incoming(envelope.headers, envelope.body, envelope.content_type), **changes)


def changed(**fields: Any) -> Incoming:
    """The announcement with other fields in its body."""
    return arrived(write_announce(TOLD), body=encode({**msgspec.to_builtins(TOLD), **fields}))


def test_both_come_back_as_they_went() -> None:
    """What is read is what was written."""
    assert read_announce(arrived(write_announce(TOLD))) == TOLD
    assert read_lifecycle(arrived(write_lifecycle(EVENT))) == EVENT


def test_an_announcement_of_a_later_release_is_read() -> None:
    """Fields that nobody here knows are left aside."""
    assert read_announce(changed(hobbies=["chess"])) == TOLD


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"participant": "Not A Name"}, "body.participant"),
        ({"instance": "../../etc"}, "body.instance"),
        ({"instance": "a b"}, "body.instance"),
        ({"actions": [{"action": "DROP TABLE"}]}, "body.actions"),
        ({"actions": [{}]}, "body"),
        ({"actions": "all"}, "body.actions"),
        ({"started_ms": "yesterday"}, "body.started_ms"),
        ({"library": "x" * (LIBRARY_MAX + 1)}, "body.library"),
        ({"actions": [{"action": "a"}] * (ANNOUNCED_ACTIONS_MAX + 1)}, "body.actions"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], named: str) -> None:
    """Nothing that could break a key, a screen or a limit gets in."""
    with pytest.raises(MalformedMessage) as caught:
        read_announce(changed(**fields))
    assert caught.value.field.startswith(named)


def test_a_huge_announcement_is_over_a_limit() -> None:
    """So it is moved away whole, and never copied."""
    schema = {"command": {"description": "x" * ANNOUNCEMENT_BYTES_MAX}}
    with pytest.raises(LimitExceeded):
        read_announce(changed(actions=[{"action": "reserve", "schema": schema}]))


@pytest.mark.parametrize("read", [read_announce, read_lifecycle])
def test_another_message_is_refused(read: Callable[[Incoming], object]) -> None:
    """By its type."""
    other = write_request(WatchMessage("r-1", "s-1", "clients.1"), source="/test")
    with pytest.raises(MalformedMessage, match="ce-type"):
        read(arrived(other))


@pytest.mark.parametrize(
    ("header", "value"),
    [("ce-time", "noon"), ("ce-time", "2023-11-14T99:00:00Z"), ("ce-sagaid", "no id"), ("ce-sagaversion", "-1")],
)
def test_a_wrong_header_of_an_event_is_named(header: str, value: str) -> None:
    """Whoever sent it can find it."""
    envelope = write_lifecycle(EVENT)
    with pytest.raises(MalformedMessage):
        read_lifecycle(arrived(envelope, headers={**envelope.headers, header: value}))
