"""Which sagas a filter means right now: a frozen list for actions in bulk, and the stuck ones in groups."""

from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.state import SagaState
from countermand.coordinator.operate.filters import Filter, FilterError
from countermand.coordinator.operate.matching import matches, query_for
from countermand.coordinator.ports import Listing, StuckGroup

PART: Final = 500  # Sagas of one page of the walk.

# What the stuck sagas of a group have in common; nothing else can be asked of a group without looking at each saga.
GROUPED_BY: Final = ("definition", "stuck", "step", "error")


class Selected(NamedTuple):
    """A saga, and the version in which it was selected."""

    saga_id: str
    version: int


class Selection(msgspec.Struct, frozen=True):
    """The sagas that matched, oldest first. `more` says that the limit cut them.

    What began to match after `cutoff_ms` is not among them.
    """

    sagas: tuple[Selected, ...]
    more: bool
    cutoff_ms: int


async def select(store: Listing, filter_: Filter, *, limit: int, at_ms: int) -> Selection:
    """The sagas that match at a moment of the store's clock, at most `limit`.

    Raises:
        StoreUnavailable: nothing has been selected.
    """
    query = query_for(filter_, at_ms)
    before_ms = at_ms + 1 if query.started_before_ms is None else query.started_before_ms
    query = replace(query, order="oldest", started_before_ms=before_ms, limit=PART)
    found: list[Selected] = []
    while True:
        page = await store.sagas(query)
        found += [
            Selected(state.saga_id, state.version)
            for state in page.states
            if matches(filter_, state, at_ms) and not _too_late(filter_, state, at_ms)
        ]
        if page.next is None or len(found) > limit:
            return Selection(tuple(found[:limit]), len(found) > limit, at_ms)
        query = replace(query, after=page.next)


def _too_late(filter_: Filter, state: SagaState, at_ms: int) -> bool:
    """Whether a saga has come to match only after the moment, as far as it tells when it changed."""
    moments: list[int | None] = []
    if filter_.stuck is not None or "" in (filter_.step, filter_.error):
        moments.append(None if state.stuck is None else state.stuck.since_ms)
    if filter_.paused:
        moments.append(None if state.paused is None else state.paused.since_ms)
    if filter_.phase is not None:
        moments.append(state.ended_ms)
    return any(moment is not None and moment > at_ms for moment in moments)


async def stuck_groups(store: Listing, filter_: Filter | None = None) -> list[StuckGroup]:
    """The groups of stuck sagas: the largest first, of equal ones the one that is stuck for longest.

    Raises:
        FilterError: the filter asks for more than a group knows.
    """
    asked = filter_ or Filter()
    beyond = replace(asked, **dict.fromkeys(GROUPED_BY))
    if not beyond.is_empty:
        raise FilterError(
            "filter",
            "a condition on single sagas",
            f"{', '.join(GROUPED_BY[:-1])} or {GROUPED_BY[-1]} only: stuck sagas are grouped by these, "
            "and `countermand list` takes the rest",
        )
    groups = [group for group in await store.stuck_groups() if _in_group(asked, group)]
    return sorted(groups, key=lambda group: (-group.count, group.first_ms, group.definition, group.step, group.code))


def filter_of(group: StuckGroup) -> Filter:
    """The filter that means exactly the sagas of a group."""
    return Filter(definition=group.definition, stuck=group.cause, step=group.step, error=group.code)


def _in_group(filter_: Filter, group: StuckGroup) -> bool:
    name = group.definition.partition("@")[0]
    return (
        filter_.definition in (None, group.definition, name)
        and filter_.stuck in (None, "any", group.cause)
        and filter_.step in (None, group.step)
        and filter_.error in (None, group.code)
    )
