"""The table of phases and events has no holes."""

from typing import get_args

import pytest

from core.story import Story, saga, step
from core.world import World
from countermand.coordinator.core import decide
from countermand.coordinator.core.events import CancelRequested, SagaEvent, WokenUp
from countermand.coordinator.core.evolve import evolve
from countermand.coordinator.core.journal import SagaReleased, StepAsked, StepSucceeded
from countermand.coordinator.core.phases import PHASES, Move, Moves
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.messages import Phase


def test_every_event_has_a_move_in_every_phase() -> None:
    """Totality: every phase, and the absence of a saga, knows every type of event and no other."""
    assert set(PHASES) == {None, *get_args(Phase)}
    for phase, moves in PHASES.items():
        assert set(moves) == set(get_args(SagaEvent)), phase
        assert set(moves.values()) <= set(get_args(Move)), phase


def test_every_move_is_made_somewhere() -> None:
    """A move that no phase makes would be dead code in `decide`."""
    assert {move for moves in PHASES.values() for move in moves.values()} == set(get_args(Move))


@pytest.mark.parametrize("phase", ["completed", "compensated", "compensated_with_exceptions", "abandoned"])
def test_an_ended_phase_moves_nothing(phase: Phase) -> None:
    """P2: after the end there are answers and facts only, but for the saga that started it."""
    moves: Moves = PHASES[phase]
    assert set(moves.values()) == {"answer", "late", "nothing", "refuse", "tell", "parent", "part"}


def test_an_unknown_saga_is_not_made_by_anything_but_a_start() -> None:
    """Whatever comes for it changes nothing; who asked is refused."""
    plan = World(saga(step("reserve"))).plan
    assert decide(plan, None, WokenUp("e", 1)).saga is None
    (addressed,) = decide(plan, None, CancelRequested("e", 1, "r", "", "clients.1")).answers
    assert (addressed.queue, addressed.answer.__struct_config__.tag) == ("clients.1", "refused")


def test_a_damaged_journal_is_not_interpreted() -> None:
    """Entries that can't follow each other are a bug of ours or a damaged store, and are said to be."""
    state = Story(step("reserve")).state
    for entry in (StepSucceeded("nowhere", "do", 1), StepSucceeded("reserve", "undo", 1)):
        with pytest.raises(InvariantViolated):
            evolve(state, entry, 1)
    with pytest.raises(InvariantViolated):
        evolve(state, StepAsked("nowhere", "undo", 1, 2), 1)
    with pytest.raises(InvariantViolated):
        evolve(None, SagaReleased(), 1)
