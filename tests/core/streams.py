"""Streams of happenings: whatever can come to a saga, honest and forged, early, late and never."""

import os
import random
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from core.definitions import EVENTS
from core.operators import ACTS, ask
from core.world import OUTCOMES, Kind, World
from countermand.coordinator.core import Plan
from countermand.schemas.messages import CommandMessage

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
        case "event" if world.open_waits:
            refs = list(world.open_waits)
            ref = refs[what.pick % len(refs)]
            wait = world.open_waits[ref]
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


# A long stream through a large definition takes a while to draw; that is what it is for.
STREAMS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
# How many times as many examples as `make test` has time for.
LONGER = int(os.environ.get("CORE_EXAMPLES", "1"))


def examples(count: int) -> Callable[[Any], Any]:
    """The settings of a test that draws streams: so many of them, or a multiple in the long form."""
    return settings(STREAMS, max_examples=count * LONGER)


def judged(plan: Plan, stream: list[Happening]) -> World:
    world = World(plan)
    world.start(reply_to="clients.1")
    for what in stream:
        happen(world, what)
    return world
