"""What a client promises when it tells of an event by its business key."""

from datetime import timedelta

import pytest

from authoring.orders import OrderPaid
from client.scripted import ScriptedCoordinator
from countermand.participants.client import Client
from countermand.schemas.coordination import EVENT_KEPT_MS, EventMessage
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.messages import EventAccepted

pytestmark = pytest.mark.servers

PAID = OrderPaid(amount=7.5)


async def test_an_event_goes_out_with_its_key(coordinator: ScriptedCoordinator, client: Client) -> None:
    """Its name is the contract's; a number is the same key as its text; the answer says how many sagas heard of it."""
    answer = await client.publish_event(PAID, key=1001, keep=timedelta(hours=1), event_id="e-1")
    assert answer == EventAccepted("e-1", "order_paid", "1001", sagas=2)
    (sent,) = coordinator.seen(EventMessage)
    assert (sent.request_id, sent.event, sent.key, sent.keep_ms) == ("e-1", "order_paid", "1001", 3_600_000)
    assert bytes(sent.payload) == b'{"amount":7.5}'


async def test_an_event_that_is_in_doubt_is_sent_again(coordinator: ScriptedCoordinator, client: Client) -> None:
    """Under the same id, so that it counts once."""
    coordinator.unanswered = 1
    answer = await client.publish_event(PAID, key="1001")
    first, second = coordinator.seen(EventMessage)
    assert (first.request_id, first.keep_ms) == (second.request_id, EVENT_KEPT_MS)
    assert answer.duplicate


async def test_what_no_coordinator_could_take_is_not_sent(coordinator: ScriptedCoordinator, client: Client) -> None:
    """The field at fault is named."""
    for key in ("", "x" * 257, "a\nb"):
        with pytest.raises(InvalidIdentifier, match="key"):
            await client.publish_event(PAID, key=key)
    for keep in ("31d", "1 day"):
        with pytest.raises(DefinitionError, match="keep"):
            await client.publish_event(PAID, key="1001", keep=keep)
    assert coordinator.requests == []
