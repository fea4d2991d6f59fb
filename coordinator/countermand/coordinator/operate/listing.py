"""Lists sagas for people: a page at a time, and why there is nothing on it."""

import re
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.state import SagaState, StepState
from countermand.coordinator.operate.filters import Filter
from countermand.coordinator.operate.matching import is_indexed, matches, query_for
from countermand.coordinator.ports import Place, SagaStore
from countermand.coordinator.store.indexes import stuck_code
from countermand.schemas.envelope import timestamp

# A page looks at no more sagas than this, even where only the sagas themselves know whether they match: about a second.
LOOKED_AT_MAX: Final = 10_000
UNDONE_STATUSES: Final = ("succeeded", "settled")  # A compensation that was skipped leaves the effect in place.
PART: Final = 500  # So many are taken at once where most of them will not match.

_CURSOR = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9][A-Za-z0-9._:\-]{0,127})\Z")


class Listed(msgspec.Struct, frozen=True):
    """One page. `next` is the cursor of the one that follows, null at the end; a page may be short, even empty.

    `looked_at` tells how many sagas it took to find these, `met` how many of them met what the indexes know.
    """

    sagas: tuple[dict[str, Any], ...]
    next: str | None
    looked_at: int
    met: int
    at_ms: int


class NothingFound(msgspec.Struct, frozen=True):
    """Why a listing is empty: how many sagas there are, and how many meet each condition of the indexes on its own.

    `met` tells how many met all of those together, and failed by what only a saga itself tells.
    """

    sagas: int
    alone: dict[str, int]
    met: int


async def page(
    store: SagaStore, filter_: Filter, *, newest_first: bool = True, limit: int, after: str | None = None
) -> Listed:
    """The next sagas that match, as `summary` tells of them.

    Raises:
        ValueError: `after` is not a cursor.
    """
    at_ms = await store.now_ms()
    query = replace(
        query_for(filter_, at_ms),
        order="newest" if newest_first else "oldest",
        after=None if after is None else _place(after),
        limit=limit if is_indexed(filter_) else max(limit, PART),
    )
    found: list[SagaState] = []
    looked_at, met = 0, 0
    while True:
        some = await store.sagas(query)
        looked_at, met = looked_at + some.looked_at, met + len(some.states)
        found += [state for state in some.states if matches(filter_, state, at_ms)]
        if some.next is None or len(found) >= limit or looked_at >= LOOKED_AT_MAX:
            break
        query = replace(query, after=some.next)
    place = some.next
    if len(found) > limit:
        found = found[:limit]
        place = Place(found[-1].started_ms, found[-1].saga_id)
    totals = await _steps_total(store, found)
    rows = tuple(summary(state, totals.get(state.definition_hash), at_ms) for state in found)
    return Listed(rows, None if place is None else _cursor(place), looked_at, met, at_ms)


async def why_nothing(store: SagaStore, filter_: Filter, listed: Listed) -> NothingFound:
    """What to tell somebody whose listing is empty."""
    census = await store.census()
    alone = await store.counts(query_for(filter_, listed.at_ms))
    return NothingFound(sum(census.phases.values()), alone, listed.met)


def summary(state: SagaState, steps_total: int | None, at_ms: int) -> dict[str, Any]:
    """One saga of a list, ready for JSON. Ages are in milliseconds."""
    stuck = state.stuck
    return {
        "saga_id": state.saga_id,
        "definition": state.definition,
        "phase": state.phase,
        "paused": state.paused is not None,
        "stuck": None if stuck is None else stuck.cause,
        "stuck_step": None if stuck is None else stuck.step,
        "stuck_error": None if stuck is None else stuck_code(state, stuck) or None,
        "stuck_since": None if stuck is None else timestamp(stuck.since_ms),
        "steps_done": sum(step.do.status in ("succeeded", "skipped") for step in state.steps.values()),
        "steps_standing": sum(_stands(step) for step in state.steps.values()),
        "steps_total": steps_total,
        "tags": list(state.tags),
        "version": state.version,
        "started": timestamp(state.started_ms),
        "updated": timestamp(state.updated_ms),
        "ended": None if state.ended_ms is None else timestamp(state.ended_ms),
        "age_ms": max(0, at_ms - state.started_ms),
    }


def _stands(step: StepState) -> bool:
    """Whether a step was done, and has not been undone."""
    undone = step.undo is not None and step.undo.status in UNDONE_STATUSES
    return step.do.status in ("succeeded", "skipped") and not undone


async def _steps_total(store: SagaStore, states: list[SagaState]) -> dict[str, int]:
    """How many steps a definition has, by its hash; nothing for one that the store has lost."""
    totals: dict[str, int] = {}
    for identity in {state.definition_hash for state in states}:
        definition = await store.definition(identity)
        if definition is not None:
            totals[identity] = sum(1 for _ in definition.steps())
    return totals


def _cursor(place: Place) -> str:
    return f"{place.started_ms}.{place.saga_id}"


def _place(cursor: str) -> Place:
    found = _CURSOR.match(cursor)
    if found is None:
        raise ValueError(f"{cursor[:64]!r} is not a cursor; expected what an earlier page gave as its next one")
    return Place(int(found[1]), found[2])
