"""Any saga, any other version: whoever goes over comes to an end, and undoes exactly what was done, as it was done."""

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.altered import altered
from core.definitions import plans
from core.moving import Moving
from core.streams import LONGER
from countermand.coordinator.core import Plan, wake_at
from countermand.coordinator.core.journal import SagaMigrated
from countermand.coordinator.core.turning import pivot_stands
from countermand.schemas.definition import Definition, Node, SequenceNode, StepNode, children_of, nodes_of
from countermand.schemas.messages import Accepted, Failed, Rejected, Succeeded
from countermand.schemas.operations import CompensateSaga, MigrateSaga

WELL = Succeeded(msgspec.Raw(b'{"value":7}'))
HEALTH = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


def on_hold(plan: Plan, moods: list[int]) -> Moving | None:
    """A saga that has come somewhere, has been paused there, and has nothing out; null if it ended or turned back."""
    saga = Moving(plan=plan)
    for mood in moods:
        if saga.state.ended:
            return None
        if saga.pending:
            command = saga.pending[mood % len(saga.pending)]
            fails = Failed("broken", rolled_back=mood % 2 == 0)
            saga.answers(command.step, WELL if mood < 80 else fails if mood < 95 else Rejected("no"))
        elif (due := wake_at(saga.state)) is not None:
            saga.waits(due - saga.now_ms)
    if saga.state.phase != "running":
        return None
    saga.pauses()
    while saga.pending:
        saga.answers(saga.pending[0].step, WELL)
    return saga if saga.state.phase == "running" else None


def goes_over(saga: Moving, definition: Definition) -> bool:
    """Whether it could."""
    answer = saga.operates(MigrateSaga(definition.version), Plan(definition))
    return isinstance(answer, Accepted)


def effects(saga: Moving) -> dict[str, tuple[str, bytes]]:
    """What was done and isn't undone, with the participant that did it and what it was asked with."""
    first = {each.step: each for each in reversed(saga.sent) if each.direction == "do"}
    found = {}
    for ref, known in saga.state.steps.items():
        step = saga.plan.step(ref)
        undoable = step is not None and (step.can_be_undone or step.kind == "pivot")
        if undoable and known.do.status != "rejected" and known.undo is None:
            found[ref] = (first[ref].participant, first[ref].body)
    return found


def sequenced(node: Node) -> list[tuple[str, str]]:
    """Each pair of steps of which the second runs after the first."""
    found = [pair for _, child in children_of(node) for pair in sequenced(child)]
    if isinstance(node, SequenceNode):
        steps = [[each.name for each in nodes_of(child) if isinstance(each, StepNode)] for child in node.nodes]
        found += [(a, b) for at, before in enumerate(steps) for after in steps[at + 1 :] for a in before for b in after]
    return found


@given(plan=plans(), moods=st.lists(st.integers(0, 99), max_size=20))
@settings(max_examples=120 * LONGER, deadline=None, suppress_health_check=HEALTH)
def test_the_same_definition_under_another_version_changes_nothing(plan: Plan, moods: list[int]) -> None:
    """Whatever is known stays, nothing is kept twice, and what is sent from then on is the same to the byte."""
    saga = on_hold(plan, moods)
    if saga is None:
        event("not on hold")
        return
    moved = saga.copy()
    assert goes_over(moved, replace(plan.definition, version=2))
    (entry,) = [each.entry for each in moved.records if isinstance(each.entry, SagaMigrated)]
    assert (entry.routes, entry.inputs_kept, entry.forgotten, entry.exempt) == ({}, (), (), ())
    for each in (saga, moved):
        each.resumes()
        each.goes_well()
    alike = [
        [(each.step, each.direction, each.attempt, each.key, each.participant, each.body) for each in one.sent]
        for one in (saga, moved)
    ]
    assert alike[0] == alike[1]
    assert saga.state.phase == moved.state.phase


@pytest.mark.parametrize("way", ["on", "back"])
@given(plan=plans(), moods=st.lists(st.integers(0, 94), max_size=20), data=st.data())
@settings(max_examples=150 * LONGER, deadline=None, suppress_health_check=HEALTH)
def test_whoever_goes_over_comes_to_an_end(way: str, plan: Plan, moods: list[int], data: st.DataObject) -> None:
    """Onwards nothing is done twice; backwards exactly what was done is undone: there, with that input, in order."""
    saga = on_hold(plan, moods)
    if saga is None:
        event("not on hold")
        return
    done, before = effects(saga), len(saga.sent)
    over = {ref for ref, known in saga.state.steps.items() if known.do.status == "succeeded"}
    if not goes_over(saga, altered(data.draw, plan.definition)):
        event("refused")
        return
    if way == "back":
        if pivot_stands(saga.plan, saga.state) != "ahead":
            event("past the pivot")
            return
        assert isinstance(saga.operates(CompensateSaga()), Accepted)
    else:
        saga.resumes()
    event("gone over")
    saga.goes_well()
    later = saga.sent[before:]
    assert saga.state.ended or saga.state.stuck is not None, "nothing is out, and nothing is due"
    assert not {each.step for each in later if each.direction == "do"} & over
    undone = {each.step: each for each in later if each.direction == "undo"}
    if way == "back":
        assert saga.state.phase == "compensated"
        assert set(undone) == set(done)
    for ref in undone.keys() & done.keys():
        body = msgspec.json.decode(undone[ref].body)["command"]
        assert (undone[ref].participant, body) == (done[ref][0], msgspec.json.decode(done[ref][1]))
    order = list(undone)
    for first, then in sequenced(plan.definition.root):
        if {first, then} <= undone.keys() & done.keys():
            assert order.index(then) < order.index(first)
