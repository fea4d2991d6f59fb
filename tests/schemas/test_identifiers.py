"""Names and keys: pure functions that every language must compute alike, so their values are pinned here."""

import uuid

import pytest
from hypothesis import given

from countermand.schemas.errors import InvalidIdentifier
from countermand.schemas.identifiers import (
    DIRECTIONS,
    INBOX_SHARDS,
    NAME_MAX,
    SAGA_ID_MAX,
    STEP_MAX,
    checked_name,
    checked_saga_id,
    checked_slug,
    checked_step,
    command_id,
    inbox_key,
    is_step_key,
    new_saga_id,
    new_secret,
    partition_of,
    step_key,
    step_name,
    step_place,
)
from schemas.strategies import names, places, saga_ids, slugs, texts


def test_values_that_other_languages_must_compute_too() -> None:
    assert step_key("order-1", "reserve_stock") == "order-1/reserve_stock"
    assert partition_of("order-1", 16) == 15
    assert inbox_key("order-1") == "3"
    assert command_id("00" * 16, "reserve_stock", "do", 1) == "e010ebed3abd50f0c12e83a0476a7ca3"


def test_a_command_id_differs_by_everything_it_is_made_of() -> None:
    ids = {
        command_id(secret, step, direction, attempt)
        for secret in ("a", "b")
        for step in ("x", "y")
        for direction in DIRECTIONS
        for attempt in (1, 2)
    }
    assert len(ids) == 24


@given(saga_ids, names, slugs)
def test_good_names_pass(saga_id: str, name: str, slug: str) -> None:
    assert (checked_saga_id(saga_id), checked_name("f", name), checked_slug("f", slug)) == (saga_id, name, slug)
    assert 0 <= int(inbox_key(saga_id)) < INBOX_SHARDS


@pytest.mark.parametrize("value", ["", "-a", ".", "a b", "a/b", "a\n", "ä", "a" * (SAGA_ID_MAX + 1)])
def test_bad_saga_ids_are_refused(value: str) -> None:
    with pytest.raises(InvalidIdentifier, match="saga_id"):
        checked_saga_id(value)


@pytest.mark.parametrize("value", ["", "A", "1a", "_a", "a-b", "a b", "a\n", "é", "a" * (NAME_MAX + 1)])
def test_bad_names_are_refused_with_their_field(value: str) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        checked_name("step", value)
    assert caught.value.field == "step"


@given(saga_ids, names, places)
def test_a_step_is_a_name_and_the_places_of_its_items(saga_id: str, name: str, place: str) -> None:
    """Both can be told apart again, and are a part of the key."""
    step = checked_step(name + place)
    assert len(step) <= STEP_MAX
    assert (step_name(step), step_place(step)) == (name, place)
    assert is_step_key(step_key(saga_id, step), saga_id, step)
    assert not is_step_key(step_key(saga_id, step), saga_id, f"{step}[0]")


@pytest.mark.parametrize(
    "step",
    ["", "A", "ask[]", "ask[-1]", "ask[01]", "ask[100000]", "ask[1", "ask1]", "ask[1]x", "ask[1][2][3][4]", "ask[x]"],
)
def test_bad_steps_are_refused(step: str) -> None:
    with pytest.raises(InvalidIdentifier, match="step"):
        checked_step(step)


@given(texts)
def test_any_text_is_a_name_or_refused(text: str) -> None:
    for check in (checked_saga_id, lambda value: checked_name("f", value), lambda value: checked_slug("f", value)):
        try:
            assert check(text) == text
        except InvalidIdentifier:
            assert text != "a"


def test_new_ids_are_unique_sortable_and_valid() -> None:
    ids = [new_saga_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(checked_saga_id(id_) and uuid.UUID(id_).version == 7 for id_ in ids)
    assert ids[0][:8] <= ids[-1][:8]
    assert len({new_secret() for _ in range(100)}) == 100
