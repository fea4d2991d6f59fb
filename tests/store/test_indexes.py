"""The names of indexes: what a participant chose stays inside its place in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from countermand.coordinator.core.state import SagaState, StepState, Stuck, StuckCause, Track
from countermand.coordinator.store.indexes import CODE_MAX, GroupName, group_named, index_entries, stuck_code
from store.sagas import NOW_MS, started

STATE = started("s1").saga.state


def held(stuck: Stuck, *, error: str | None = None, undo_error: str | None = None) -> SagaState:
    undo = None if undo_error is None else Track("exhausted", 1, error=undo_error)
    steps = {"charge": StepState(Track("exhausted", 1, error=error), undo)}
    return replace(STATE, phase="running" if undo is None else "compensating", steps=steps, stuck=stuck)


@given(st.text(max_size=CODE_MAX))
def test_a_group_is_known_by_the_name_of_its_index(code: str) -> None:
    """Whatever the code is made of, separators and braces too."""
    group = GroupName("order@1", "forward_exhausted", "charge", code)
    assert group_named(group.index) == group
    assert group.index.isascii()


@pytest.mark.parametrize(
    ("cause", "detail", "error", "undo_error", "code"),
    [
        ("forward_exhausted", "timed_out: no reply", "timed_out", None, "timed_out"),
        ("compensation_exhausted", "bank_closed", "no_money", "bank_closed", "bank_closed"),
        ("forward_rejected", "no_way: we never do", None, None, "no_way"),
        ("forward_rejected", "no_way", None, None, "no_way"),
        ("forward_rejected", "what nobody can read", None, None, ""),
        ("state_lost", "a reply to attempt 2 names version 9, the store knows 3", "timed_out", None, ""),
        ("unresolvable", "steps.reserve.id: missing", "timed_out", None, ""),
        ("forward_exhausted", "", "x" * 500, None, "x" * CODE_MAX),
    ],
)
def test_the_code_on_which_a_saga_is_stuck(
    cause: StuckCause, detail: str, error: str | None, undo_error: str | None, code: str
) -> None:
    """The step's own error in the direction it goes; else what the detail begins with, if that can be a code."""
    stuck = Stuck(cause, NOW_MS, "charge", detail)
    assert stuck_code(held(stuck, error=error, undo_error=undo_error), stuck) == code


def test_an_ended_saga_is_counted_nowhere() -> None:
    """Retirement knows nothing of the catalogue."""
    stuck = Stuck("forward_exhausted", NOW_MS, "charge", "x")
    in_motion = held(stuck)
    assert {entry.name for entry in index_entries(in_motion) if entry.counted} == {
        "motion:order@1",
        "group:order@1|forward_exhausted|charge|x",
    }
    ended = replace(in_motion, phase="abandoned")
    assert [entry for entry in index_entries(ended) if entry.counted] == []
