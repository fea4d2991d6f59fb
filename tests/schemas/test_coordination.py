"""The ids of what stands between sagas: every coordinator, in any language, computes the same."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from countermand.schemas.coordinating import target_of
from countermand.schemas.coordination import (
    EventMessage,
    ParentEndedMessage,
    ReleaseMessage,
    SubscribeMessage,
    checked_key,
    child_id,
    gate_id,
    mailbox_id,
)
from countermand.schemas.errors import InvalidIdentifier
from countermand.schemas.identifiers import SAGA_ID_MAX, checked_saga_id

LOCKS = ["definition", "definition:a", "definition:a-b", "a", "order"]


@given(keys=some.lists(some.text(alphabet="ab:/", max_size=6), unique=True, max_size=6))
def test_two_locks_never_share_a_gate(keys: list[str]) -> None:
    """Whatever the keys hold, colons and slashes included."""
    ids = [gate_id(lock, key) for lock, key in itertools.product(LOCKS, keys)]
    assert len(set(ids)) == len(ids)


def test_the_ids_as_the_protocol_has_them() -> None:
    """They are computed by whoever publishes: they may never change."""
    assert gate_id("order", "1001") == "lock:order:1001"
    assert gate_id("definition:order-fulfilment", "") == "lock:definition/order-fulfilment:"
    assert mailbox_id("payment_received", "1001") == "event:payment_received:1001"


def test_every_message_finds_its_aggregate() -> None:
    """The one that its sender means."""
    assert target_of(ReleaseMessage("order", "1", "s", "order_lock", "id")) == gate_id("order", "1")
    assert target_of(SubscribeMessage("s", "paid", "payment_received", "1", 0)) == mailbox_id("payment_received", "1")
    assert target_of(EventMessage("e", "payment_received", "1")) == mailbox_id("payment_received", "1")
    assert target_of(ParentEndedMessage("child", "s", "ship")) == "child"


@pytest.mark.parametrize("key", ["1", "x" * 256, "Ünïcode ☃", "a:b/c"])
def test_a_key_is_text(key: str) -> None:
    assert checked_key("key", key) == key


@pytest.mark.parametrize("key", ["", "x" * 257, "a\nb", "\x00", "\x7f"])
def test_what_is_no_key(key: str) -> None:
    """The field is named."""
    with pytest.raises(InvalidIdentifier, match="key") as caught:
        checked_key("key", key)
    assert caught.value.field == "key"


@given(length=some.integers(1, SAGA_ID_MAX), place=some.sampled_from(["", "[0]", "[17][2]", "[99999][99999][99999]"]))
def test_a_child_s_id_is_a_saga_id(length: int, place: str) -> None:
    """However long its parent's is; the same whenever it is computed, and another one for each item."""
    parent = "s" * length
    found = child_id(parent, f"ship_order{place}")
    assert checked_saga_id(found) == child_id(parent, f"ship_order{place}")
    assert found != child_id(parent, "ship_order[1]")
