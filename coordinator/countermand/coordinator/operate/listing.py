"""Lists sagas for people: a page at a time, and why there is nothing on it."""

import re
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.state import SagaState
from countermand.coordinator.operate.filters import Filter
from countermand.coordinator.operate.matching import is_indexed, matches, query_for
from countermand.coordinator.operate.progress import Progress, progress_of
from countermand.coordinator.ports import Place, SagaStore
from countermand.coordinator.store.indexes import stuck_code
from countermand.schemas.envelope import timestamp

# A page looks at no more sagas than this, even where only the sagas themselves know whether they match: about a second.
LOOKED_AT_MAX: Final = 10_000
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
    come = await progress_of(store, found)
    rows = tuple(summary(state, progress, at_ms) for state, progress in zip(found, come, strict=True))
    return Listed(rows, None if place is None else _cursor(place), looked_at, met, at_ms)


async def why_nothing(store: SagaStore, filter_: Filter, listed: Listed) -> NothingFound:
    """What to tell somebody whose listing is empty."""
    census = await store.census()
    alone = await store.counts(query_for(filter_, listed.at_ms))
    return NothingFound(sum(census.phases.values()), alone, listed.met)


def summary(state: SagaState, progress: Progress, at_ms: int) -> dict[str, Any]:
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
        "steps_done": progress.done,
        "steps_standing": progress.standing,
        "steps_total": progress.total,
        "tags": list(state.tags),
        "version": state.version,
        "started": timestamp(state.started_ms),
        "updated": timestamp(state.updated_ms),
        "ended": None if state.ended_ms is None else timestamp(state.ended_ms),
        "age_ms": max(0, at_ms - state.started_ms),
    }


def _cursor(place: Place) -> str:
    return f"{place.started_ms}.{place.saga_id}"


def _place(cursor: str) -> Place:
    found = _CURSOR.match(cursor)
    if found is None:
        raise ValueError(f"{cursor[:64]!r} is not a cursor; expected what an earlier page gave as its next one")
    return Place(int(found[1]), found[2])
