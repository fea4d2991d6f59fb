"""The core under any stream of events: nothing raises, and every decision stands before the judge."""

import random
from typing import Literal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.definitions import EVENTS, plans
from core.operators import ACTS, any_operations, ask, suitable
from core.world import OUTCOMES, SAGA_ID, SECRET, Kind, World, reply_to
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
from countermand.schemas.messages import Accepted, CommandMessage, Phase, ReplyMessage
from countermand.schemas.operations import ResumeSaga, RetryStep

Move = Literal[
    "answer",
    "answer_any",
    "forge_id",
    "forge_participant",
    "forge_step",
    "forge_attempt",
    "unroutable",
    "wake",
    "wake_any",
    "cancel",
    "signal",
    "watch",
    "start_again",
    "start_other",
    "time_passes",
    "operate",
    "event",
    "event_any",
    "parent",
    "parent_gone",
]

# Good answers are frequent, so that streams get far; everything else is there, often enough.
MOVE_WEIGHTS: dict[Move, int] = {
    "answer": 10,
    "answer_any": 6,
    "wake": 4,
    "wake_any": 1,
    "forge_id": 1,
    "forge_participant": 1,
    "forge_step": 1,
    "forge_attempt": 1,
    "unroutable": 1,
    "cancel": 1,
    "signal": 1,
    "watch": 1,
    "start_again": 1,
    "start_other": 1,
    "time_passes": 1,
    "operate": 8,
    "event": 3,
    "event_any": 1,
    "parent": 1,
    "parent_gone": 1,
}
KIND_WEIGHTS: dict[Kind, int] = {
    "result": 6,
    "failed": 3,
    "odd_result": 1,
    "rejected": 1,
    "rolled_back": 1,
    "hopeless": 1,
}
MOVES = [move for move, weight in MOVE_WEIGHTS.items() for _ in range(weight)]
KINDS = [kind for kind, weight in KIND_WEIGHTS.items() for _ in range(weight)]


class Happening(msgspec.Struct, frozen=True):
    """One move, with the chance that it needs: `pick` chooses among the commands, `act` among what an operator can do,
    `pause_ms` passes first, or is taken back by a clock that was wrong."""

    move: Move
    kind: Kind
    pick: int
    pause_ms: int
    act: int


PAUSES_MS = [0, 0, 1, 40, 700, 6_000, -300]
PICKS = 12
LONG = 60


def long_stream(seed: int) -> list[Happening]:
    """A stream that goes far, drawn at once: quick to make, but only the seed can be made smaller."""
    chance = random.Random(seed)
    return [
        Happening(
            chance.choice(MOVES),
            chance.choice(KINDS),
            chance.randrange(PICKS),
            chance.choice(PAUSES_MS),
            chance.randrange(ACTS),
        )
        for _ in range(chance.randrange(LONG // 3, LONG))
    ]


happenings = st.builds(
    Happening,
    move=st.sampled_from(MOVES),
    kind=st.sampled_from(KINDS),
    pick=st.integers(0, PICKS - 1),
    pause_ms=st.sampled_from(PAUSES_MS),
    act=st.integers(0, ACTS - 1),
)
# Short ones find the smallest story of a fault; long ones reach the states that take a while.
short_streams = st.lists(happenings, min_size=1, max_size=20)
streams = st.integers(0, 2**32).map(long_stream) | short_streams


def happen(world: World, what: Happening) -> None:
    """Makes one happening true; one that needs a command passes where none was ever sent."""
    world.now_ms += what.pause_ms
    outcome = OUTCOMES[what.kind]
    sent = list(world.sent.values())
    command: CommandMessage | None = sent[-1 - what.pick % len(sent)] if sent else None
    match what.move:
        case "answer" if world.pending:
            world.reply(world.pending[what.pick % len(world.pending)], outcome)
        case "answer_any" if command is not None:
            world.reply(command, outcome)
        case "forge_id" if command is not None:
            world.forge(command, outcome, command_id="f" * 32)
        case "forge_participant" if command is not None:
            world.forge(command, outcome, participant="somebody")
        case "forge_step" if command is not None:
            world.forge(command, outcome, step="nowhere")
        case "forge_attempt" if command is not None:
            world.forge(command, outcome, attempt=command.attempt + 1)
        case "unroutable" if command is not None:
            world.unroutable(command)
        case "wake":
            world.wake()
        case "wake_any":
            world.wake(after_ms=what.pick * 97)
        case "cancel":
            world.cancel()
        case "signal":
            world.signal(f"r{what.pick % 3}")
        case "watch":
            world.watch(f"clients.{what.pick % 3}")
        case "start_again":
            world.start(reply_to=f"clients.{what.pick % 3}")
        case "start_other":
            world.start(content="other", reply_to="clients.other")
        case "event" if world.waits:
            refs = list(world.waits)
            ref = refs[what.pick % len(refs)]
            wait = world.waits[ref]
            world.event(wait.event, f"e{what.act}", wait=None if wait.key is None else ref)
        case "event_any":
            world.event(EVENTS[what.pick % 2], f"e{what.act % 3}", wait=None if what.pick % 3 else "wait1")
        case "parent":
            world.asked_by_parent("do" if what.pick % 3 else "undo", 1 + what.act % 2)
        case "parent_gone":
            world.parent_ended()
        case "operate":
            ask(world, what.pick, what.act)
        case _:
            pass


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


# A long stream through a large definition takes a while to draw; that is what it is for.
STREAMS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def judged(plan: Plan, stream: list[Happening]) -> World:
    world = World(plan)
    world.start(reply_to="clients.1")
    for what in stream:
        happen(world, what)
    return world


@settings(STREAMS, max_examples=500)
@given(plan=plans(), stream=streams)
def test_every_decision_stands_before_the_judge(plan: Plan, stream: list[Happening]) -> None:
    """I3, I5, I6, P2, P3, P7, P9, P25, P26, P34, D7 hold after every event of any stream."""
    judged(plan, stream)


@settings(STREAMS, max_examples=300)
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


@settings(STREAMS, max_examples=300)
@given(plan=plans(), stream=streams)
def test_a_saga_ends_once_faults_stop_and_an_operator_retries(plan: Plan, stream: list[Happening]) -> None:
    """I4 without exception: whatever a saga waits for a person for, a retry (with an input where none can be made) and
    good answers bring it to its end."""
    world = judged(plan, stream)
    world.heal_with_an_operator()
    assert world.state.ended, world.state


@settings(STREAMS, max_examples=60)
@given(plan=plans(), stream=streams)
def test_what_is_offered_is_accepted_and_nothing_else(plan: Plan, stream: list[Happening]) -> None:
    """An operator's list of what is possible is the truth, in every state."""
    world = judged(plan, stream)
    assert world.saga is not None
    offered = possible_operations(plan, world.state, world.now_ms)
    for each in offered:
        accepted = world.copy().operate(suitable(each, world), expected_version=world.state.version)
        assert isinstance(accepted.answers[-1].answer, Accepted), (each, accepted.answers)
    for operation in any_operations(world):
        # The judge compares each answer with what is offered.
        world.copy().operate(operation, expected_version=world.state.version)


@settings(STREAMS, max_examples=60)
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


@settings(STREAMS, max_examples=200)
@given(plan=plans(), stream=streams, lost=st.integers(1, 5), after=streams)
def test_a_saga_whose_state_was_lost_does_nothing_until_a_person_has_looked(
    plan: Plan, stream: list[Happening], lost: int, after: list[Happening]
) -> None:
    """P12: a reply that names a forgotten version halts the saga, and no event of any kind sets it in motion again."""
    world = judged(plan, stream)
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


@settings(STREAMS, max_examples=200)
@given(plan=plans(), stream=streams, lost=st.integers(1, 5), after=streams)
def test_a_saga_whose_state_was_lost_ends_once_an_operator_retries(
    plan: Plan, stream: list[Happening], lost: int, after: list[Happening]
) -> None:
    """P12, I4: from then on anything may happen, replies of lost versions among it; a loss is looked at once."""
    world = judged(plan, stream)
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


@settings(STREAMS, max_examples=60)
@given(plan=plans(), rejections=st.integers(1, 3))
def test_every_rejection_after_the_pivot_closes_one_key_and_a_retry_opens_the_next(plan: Plan, rejections: int) -> None:
    """I2: whatever is rejected so often has had as many keys and one more when it is done."""
    world = World(plan)
    world.start()
    left = {name: rejections for name, step in plan.steps.items() if step.kind == "retriable"}
    while not world.state.ended:
        if world.pending and left.get(world.pending[0].step, 0) and world.state.phase == "running":
            left[world.pending[0].step] -= 1
            world.reply(world.pending[0], OUTCOMES["rejected"])
        elif world.pending:
            world.reply(world.pending[0], OUTCOMES["result"])
        else:
            world.operate(RetryStep())
    assert world.state.phase == "completed"
    for name in left:
        assert len({each.key for each in world.sent.values() if each.step == name}) == rejections + 1
