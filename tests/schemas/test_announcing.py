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
from countermand.schemas.envelope import Envelope, Incoming, read_request, write_request
from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.lifecycle import read_lifecycle, write_lifecycle
from countermand.schemas.messages import (
    AnnouncedAction,
    AnnounceMessage,
    LifecycleMessage,
    OperateMessage,
    WatchMessage,
)
from countermand.schemas.moments import MOMENT_MAX_MS
from countermand.schemas.operations import ExtendDeadline

NOON_MS = 1_700_000_000_000
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


@pytest.mark.parametrize("moment", [-1, MOMENT_MAX_MS + 1, 2**53 - 1, 2**62])
def test_a_moment_that_no_calendar_has(moment: int) -> None:
    """It is refused on arrival, whoever sends it: nobody who looks at it later could tell it."""
    with pytest.raises(MalformedMessage, match=r"started_ms"):
        read_announce(changed(started_ms=moment))
    request = OperateMessage("r", "s-1", ExtendDeadline(NOON_MS), "ana", "because", None, "q")
    body = write_request(request, source="/test").body.replace(str(NOON_MS).encode(), str(moment).encode())
    with pytest.raises(MalformedMessage, match=r"deadline_ms"):
        read_request(arrived(write_request(request, source="/test"), body=body))


def test_the_last_moment_is_one() -> None:
    """The last of the year 9999 is taken and told, and nothing later is an event's time."""
    assert read_announce(changed(started_ms=MOMENT_MAX_MS)).started_ms == MOMENT_MAX_MS
    late = msgspec.structs.replace(EVENT, at_ms=MOMENT_MAX_MS)
    assert read_lifecycle(arrived(write_lifecycle(late))) == late
    early = {**write_lifecycle(EVENT).headers, "ce-time": "0001-01-01T00:00:00Z"}
    with pytest.raises(MalformedMessage, match="ce-time"):
        read_lifecycle(arrived(write_lifecycle(EVENT), headers=early))
