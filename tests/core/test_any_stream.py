"""The core under any stream of events: nothing raises, and every decision stands before the judge."""

from collections import Counter
from typing import Final

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.definitions import plans
from core.operators import any_operations, suitable
from core.streams import Happening, examples, happen, judged, streams
from core.world import OUTCOMES, SAGA_ID, SECRET, World, reply_to
from countermand.coordinator.core import Plan, decide
from countermand.coordinator.core.events import (
    CancelRequested,
    CommandUnroutable,
    OperationRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
    WokenUp,
)
from countermand.coordinator.core.possible import possible_operations
from countermand.coordinator.core.state import Saga
from countermand.schemas.messages import Accepted, Phase, ReplyMessage
from countermand.schemas.operations import ResumeSaga, RetryStep

# No saga of these tests has more to be done, and each rejection takes two events.
PATIENCE: Final = 600


def every_event(world: World) -> list[SagaEvent]:
    """One event of each type and more, honest and forged, for whatever state the world's saga is in."""
    at_ms = world.now_ms + 1
    null = msgspec.Raw(b"null")
    events: list[SagaEvent] = [
        StartRequested("e", at_ms, SAGA_ID, null, SECRET, "content"),
        StartRequested("e", at_ms, SAGA_ID, null, SECRET, "other", "r", "clients.1"),
        WokenUp("e", 0),
        WokenUp("e", at_ms + 10**9),
        SignalReceived("e", at_ms, "r", "hello", null),
        CancelRequested("e", at_ms, "r", ""),
        WatchRequested("e", at_ms, "r", "clients.1"),
        CommandUnroutable("e", at_ms, "nowhere", "do", 1),
        CommandUnroutable("e", at_ms, "s1", "undo", 1),
        ReplyReceived("e", at_ms, ReplyMessage(SAGA_ID, "nowhere", "undo", 1, "k", "c", 0, "p", OUTCOMES["result"])),
    ]
    for operation in any_operations(world):
        events.append(OperationRequested("e", at_ms, "r", operation, "ann", "because", "content", 1, "clients.1"))
        events.append(OperationRequested("e", at_ms, "r", operation, "ann", "because", "content"))
    for command in world.sent.values():
        events.append(CommandUnroutable("e", at_ms, command.step, command.direction, command.attempt))
        for outcome in OUTCOMES.values():
            reply = reply_to(command, outcome)
            events.append(ReplyReceived("e", at_ms, reply))
            events.append(ReplyReceived("e", at_ms, replace(reply, saga_version=command.saga_version + 1_000)))
    return events


@examples(500)
@given(plan=plans(), stream=streams)
def test_every_decision_stands_before_the_judge(plan: Plan, stream: list[Happening]) -> None:
    """I3, I5, I6, P2, P3, P7, P9, P25, P26, P34, D7 hold after every event of any stream."""
    judged(plan, stream)


@examples(300)
@given(plan=plans(), stream=streams)
def test_a_saga_ends_once_faults_stop(plan: Plan, stream: list[Happening]) -> None:
    """I4: from wherever a stream has left it, a saga whose commands are now answered well ends in a few events.

    What only a person can mend may stay: a business no after the pivot, or a command that can't be made.
    """
    world = judged(plan, stream)
    world.heal()
    if not world.state.ended:
        assert world.state.stuck is not None
        assert world.state.stuck.cause in ("forward_rejected", "unresolvable")


@examples(300)
@given(plan=plans(), stream=streams)
def test_a_saga_ends_once_faults_stop_and_an_operator_retries(plan: Plan, stream: list[Happening]) -> None:
    """I4 without exception: whatever a saga waits for a person for, a retry (with an input where none can be made) and
    good answers bring it to its end."""
    world = judged(plan, stream)
    world.heal_with_an_operator()
    assert world.state.ended, world.state


@examples(60)
@given(plan=plans(), stream=streams)
def test_what_is_offered_is_accepted_and_nothing_else(plan: Plan, stream: list[Happening]) -> None:
    """An operator's list of what is possible is the truth, in every state."""
    world = judged(plan, stream)
    assert world.saga is not None
    offered = possible_operations(plan, world.state, world.now_ms)
    for each in offered:
        accepted = world.copy().operate(suitable(each, world), actor="bob", expected_version=world.state.version)
        assert isinstance(accepted.answers[-1].answer, Accepted), (each, accepted.answers)
    for operation in any_operations(world):
        # The judge compares each answer with what is offered.
        world.copy().operate(operation, expected_version=world.state.version)


@examples(60)
@given(plan=plans(), stream=streams)
def test_every_event_has_an_answer_in_every_state(plan: Plan, stream: list[Happening]) -> None:
    """Totality: whatever a stream leads to, any event can be decided in it, and decided the same again."""
    world = judged(plan, stream)
    states: list[Saga | None] = [None, world.saga]
    ended: list[Phase] = ["completed", "compensated", "compensated_with_exceptions", "abandoned"]
    assert world.saga is not None
    states += [replace(world.saga, state=replace(world.saga.state, phase=phase)) for phase in ended]
    for saga in states:
        for event in every_event(world):
            if saga is not None or not isinstance(event, StartRequested):
                assert decide(plan, saga, event) == decide(plan, saga, event)


@examples(200)
@given(plan=plans(), stream=streams, lost=st.integers(1, 5), after=streams)
def test_a_saga_whose_state_was_lost_does_nothing_until_a_person_has_looked(
    plan: Plan, stream: list[Happening], lost: int, after: list[Happening]
) -> None:
    """P12: a reply that names a forgotten version halts the saga, and no event of any kind sets it in motion again."""
    world = judged(plan, stream)
    assume(world.sent)
    newest = list(world.sent.values())[-1]
    world.lose(min(lost, world.state.version - 1) if world.state.version > 1 else 0)
    if world.state.ended or newest.saga_version <= world.state.version:
        return
    world.reply(newest, OUTCOMES["result"])
    assert world.state.halted
    steps, phase = world.state.steps, world.state.phase
    for what in after:
        if what.move != "operate":
            happen(world, what)
        assert world.state.halted
        assert (world.state.steps, world.state.phase) == (steps, phase)
        assert world.pending == []


@examples(200)
@given(plan=plans(), stream=streams, lost=st.integers(1, 5), after=streams)
def test_a_saga_whose_state_was_lost_ends_once_an_operator_retries(
    plan: Plan, stream: list[Happening], lost: int, after: list[Happening]
) -> None:
    """P12, I4: from then on anything may happen, replies of lost versions among it; a loss is looked at once."""
    world = judged(plan, stream)
    assume(world.sent)
    newest = max(world.sent.values(), key=lambda each: each.saga_version)
    if world.state.version == 1:
        return
    world.lose(min(lost, world.state.version - 1))
    if world.state.ended or newest.saga_version <= world.state.version:
        return
    world.reply(newest, OUTCOMES["result"])
    forgotten = [each for each in world.sent.values() if each.saga_version > world.state.version]
    if world.state.paused is not None:
        world.operate(ResumeSaga())
    world.operate(RetryStep())
    for command in forgotten:
        # None of them is newer than what the operator knew of.
        world.reply(command, OUTCOMES["result"])
        assert not world.state.halted
    for what in after:
        happen(world, what)
    world.heal_with_an_operator()
    assert world.state.ended


@examples(60)
@given(plan=plans(), rejections=st.integers(1, 3))
def test_every_rejection_after_the_pivot_closes_one_key_and_a_retry_opens_the_next(plan: Plan, rejections: int) -> None:
    """I2: whatever is rejected so often has had as many keys and one more when it is done."""
    world = World(plan)
    world.start()
    rejected: Counter[str] = Counter()
    for _ in range(PATIENCE):
        command = world.pending[0] if world.pending else None
        step = None if command is None else plan.step(command.step)
        retriable = step is not None and step.kind == "retriable" and world.state.phase == "running"
        if command is not None and retriable and rejected[command.step] < rejections:
            rejected[command.step] += 1
            world.reply(command, OUTCOMES["rejected"])
        elif world.state.stuck is not None and command is None:
            world.operate(RetryStep())
        elif not world.state.ended:
            assert world.goes_well()
    assert world.state.ended
    if world.state.phase == "completed":
        for ref in rejected:
            assert len({each.key for each in world.sent.values() if each.step == ref}) == rejections + 1
