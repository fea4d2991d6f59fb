"""Locks as people want to know them: who holds one, who waits, since when, and whether it will ever be given back.

Limits are locks too: that of a definition's sagas is named `definition:<its name>`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from countermand.coordinator.core.state import SagaState
from countermand.coordinator.gates.gate import Asker, Gate
from countermand.coordinator.gates.ports import AggregateStore
from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.coordinator.ports import SagaStore
from countermand.schemas.coordination import gate_id
from countermand.schemas.envelope import timestamp


class Place(msgspec.Struct, frozen=True):
    """A saga that holds a lock, or waits for it, since a moment; `standing` is how the saga is, in words.

    `problem` says why it will not release the lock by itself; empty if it will.
    """

    saga_id: str
    step: str
    definition: str
    since_ms: int
    standing: str
    problem: str = ""


class LockStory(msgspec.Struct, frozen=True):
    """One lock. `holders` and `waiters` are in the order of asking, the first of each; `waiting` counts them all."""

    lock: str
    key: str
    at_once: int
    holding: int
    waiting: int
    holders: tuple[Place, ...]
    waiters: tuple[Place, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{each.saga_id}: {each.problem}" for each in self.holders if each.problem)


async def lock_stories(gates: AggregateStore, sagas: SagaStore, *, limit: int) -> list[LockStory]:
    """The locks that somebody holds or waits for, those held for longest first, each with its first holder."""
    return await _told(await gates.locks(limit=limit), sagas, shown=1)


async def lock_story(gates: AggregateStore, sagas: SagaStore, lock: str, key: str, *, shown: int) -> LockStory | None:
    """One lock, with as many of its holders and of its waiters; null if nobody holds it or waits for it."""
    (stored,) = await gates.load([gate_id(lock, key)])
    if stored is None or not isinstance(stored.state, Gate) or stored.state.idle:
        return None
    (story,) = await _told([stored.state], sagas, shown=shown)
    return story


def lock_document(story: LockStory, at_ms: int) -> dict[str, Any]:
    """A lock, ready for JSON."""
    return {
        "lock": story.lock,
        "key": story.key,
        "at_once": story.at_once,
        "holding": story.holding,
        "waiting": story.waiting,
        "holders": [_place_document(each, at_ms) for each in story.holders],
        "waiters": [_place_document(each, at_ms) for each in story.waiters],
        "problems": list(story.problems),
    }


def _place_document(place: Place, at_ms: int) -> dict[str, Any]:
    return {
        "saga_id": place.saga_id,
        "step": place.step,
        "definition": place.definition,
        "since": timestamp(place.since_ms),
        "for_ms": max(0, at_ms - place.since_ms),
        "standing": place.standing,
        "problem": place.problem or None,
    }


async def _told(gates: Sequence[Gate], sagas: SagaStore, *, shown: int) -> list[LockStory]:
    askers = [each for gate in gates for each in (*gate.holders[:shown], *gate.waiters[:shown])]
    ids = sorted({each.saga_id for each in askers})
    loaded = await sagas.load(ids) if ids else []
    states = {saga_id: None if found is None else found.saga.state for saga_id, found in zip(ids, loaded, strict=True)}
    return [
        LockStory(
            lock=gate.lock,
            key=gate.key,
            at_once=gate.at_once,
            holding=len(gate.holders),
            waiting=len(gate.waiters),
            holders=tuple(_place(each, states[each.saga_id]) for each in gate.holders[:shown]),
            waiters=tuple(_place(each, states[each.saga_id]) for each in gate.waiters[:shown]),
        )
        for gate in gates
    ]


def _place(asker: Asker, state: SagaState | None) -> Place:
    standing, problem = _standing(state)
    since_ms = asker.asked_ms if asker.granted_ms is None else asker.granted_ms
    return Place(asker.saga_id, asker.step, asker.definition, since_ms, standing, problem)


def _standing(state: SagaState | None) -> tuple[str, str]:
    """How a saga is, and why that is in the way of whoever waits behind it."""
    if state is None:
        return "unknown", "the store knows no such saga, so nothing will release the lock"
    if state.ended:
        return state.phase, "the saga has ended; its release has not arrived"
    if state.stuck is not None:
        return f"{state.phase}, stuck", f"the saga is stuck: {CAUSES_IN_WORDS[state.stuck.cause]}"
    if state.paused is not None:
        return f"{state.phase}, paused", "the saga is paused"
    return state.phase, ""
