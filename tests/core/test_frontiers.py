"""The walk over the tree: what it finds follows from what is known alone, however much of it is looked at."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.definitions import plans
from core.halves import decide_from_half, half_of
from core.story import saga, step
from core.streams import Happening, examples, happen, streams
from core.world import RESULT, World, reply_to
from countermand.coordinator.core import Decision, Plan, decide
from countermand.coordinator.core.events import ReplyReceived, SagaEvent
from countermand.coordinator.core.frontier import Frontier, backward_frontier, forward_frontier
from countermand.coordinator.core.state import NotLoaded, Saga


class Observer(World):
    """A world that lets everything be decided in other ways too, which must make no difference."""

    def take(self, event: SagaEvent) -> Decision:
        before = self.saga
        decision = super().take(event)
        if before is not None:
            self.is_decided_the_same_from_a_half(before, event, decision)
        if self.saga is not None and not self.state.ended:
            self.is_found_without_frames(self.saga)
        return decision

    def is_decided_the_same_from_a_half(self, before: Saga, event: SagaEvent, decision: Decision) -> None:
        half, _ = decide_from_half(self.plan, before, event)
        assert half.records == decision.records
        assert half.answers == decision.answers
        assert half.parts == decision.parts
        assert half.wake_at_ms == decision.wake_at_ms
        assert half.saga is not None
        assert decision.saga is not None
        if half.records:
            assert half.saga.state == decision.saga.state

    def is_found_without_frames(self, saga: Saga) -> None:
        whole = saga.whole()
        bare = replace(whole, state=replace(whole.state, frames={}))
        walk = forward_frontier if self.state.phase == "running" else backward_frontier
        assert found(walk(self.plan, bare)) == found(walk(self.plan, saga))


def found(frontier: Frontier) -> object:
    due = {(each.ref, each.direction) for each in frontier.due}
    assert len(due) == len(frontier.due), "a step is found twice"
    openings = {each.ref for each in frontier.openings}
    assert len(openings) == len(frontier.openings), "a node is found twice"
    return due, openings, frontier.finished


def observed(plan: Plan, stream: list[Happening]) -> Observer:
    """A stream through a saga that puts away whatever is over, as early as it can."""
    world = Observer(Plan(plan.definition, over_max=0))
    world.start(reply_to="clients.1")
    for what in stream:
        happen(world, what)
    return world


@examples(200)
@given(plan=plans(), stream=streams)
def test_frames_and_what_is_put_away_change_nothing_that_is_found(plan: Plan, stream: list[Happening]) -> None:
    """With frames and half of the saga put away, a walk finds what one finds that looks at everything; and whatever is
    loaded of a saga, the same is decided, the same parts are written, and the same people are told."""
    observed(plan, stream).heal_with_an_operator()


@examples(100)
@given(plan=plans(), stream=streams, over_max=st.integers(1, 4))
def test_what_is_put_away_changes_nothing_that_is_decided(plan: Plan, stream: list[Happening], over_max: int) -> None:
    """A saga that puts away what is over goes the way of one that keeps everything in its state: entry by entry, if not
    in the same order within one decision."""
    small, large = World(Plan(plan.definition, over_max=over_max)), World(Plan(plan.definition, over_max=10_000))
    for world in (small, large):
        world.start(reply_to="clients.1")
    for event in [event for what in stream for event in drawn(small, what)]:
        decision = large.take(event)
        told = small.decisions[small.events.index(event)].records
        assert sorted(map(repr, decision.records)) == sorted(map(repr, told))
    assert small.saga is not None
    assert large.saga is not None
    mine, theirs = small.saga.whole(), large.saga.whole()
    assert replace(mine.state, frames={}) == replace(theirs.state, frames={})
    assert mine.results == theirs.results


def drawn(world: World, what: Happening) -> list[SagaEvent]:
    """The events that a happening came to."""
    known = len(world.events)
    happen(world, what)
    return world.events[known:]


def test_what_is_not_loaded_is_asked_for_and_not_taken_for_missing() -> None:
    """A step whose input reads a result isn't asked for with a hole in it: what is missing is named, all at once."""
    third = msgspec.structs.replace(step("third"), input={"of": [{"$": "steps.first.value"}, {"$": "input.order"}]})
    world = World(Plan(saga(step("first"), step("second"), third), over_max=0))
    world.start()
    world.reply(world.pending[0], RESULT)
    (command,) = world.pending
    event = ReplyReceived("e", world.now_ms, reply_to(command, RESULT))
    assert world.saga is not None
    with pytest.raises(NotLoaded) as missing:
        decide(world.plan, half_of(world.saga), event)
    assert missing.value.parts == {"e:third", "i", "r:first"}
    decision, loads = decide_from_half(world.plan, world.saga, event)
    assert decision.records == world.take(event).records
    assert loads <= 2
