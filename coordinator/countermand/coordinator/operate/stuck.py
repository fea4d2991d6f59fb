"""What sagas are stuck on, and how to free them: groups for people."""

from typing import Any

import msgspec

from countermand.coordinator.operate.filters import Filter, to_text
from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.coordinator.operate.selecting import filter_of, stuck_groups
from countermand.coordinator.ports import SagaStore, StuckGroup
from countermand.schemas.envelope import timestamp


class Overview(msgspec.Struct, frozen=True):
    """The groups that match, how many sagas are stuck in all, and how many are in motion (the stuck ones too)."""

    groups: tuple[StuckGroup, ...]
    stuck: int
    in_motion: int
    at_ms: int


async def overview(store: SagaStore, filter_: Filter) -> Overview:
    """The groups of stuck sagas, largest first.

    Raises:
        FilterError: the filter asks for more than a group knows.
    """
    groups = await stuck_groups(store, filter_)
    census = await store.census()
    in_motion = census.phases["running"] + census.phases["compensating"]
    return Overview(tuple(groups), sum(census.stuck.values()), in_motion, await store.now_ms())


def as_json(group: StuckGroup, at_ms: int) -> dict[str, Any]:
    """One group, ready for JSON. `where` is the filter that means its sagas."""
    return {
        "definition": group.definition,
        "cause": group.cause,
        "step": group.step or None,
        "error": group.code or None,
        "meaning": CAUSES_IN_WORDS[group.cause],
        "count": group.count,
        "first_stuck": timestamp(group.first_ms),
        "last_stuck": timestamp(group.last_ms),
        "oldest_ms": max(0, at_ms - group.first_ms),
        "samples": list(group.samples),
        "where": to_text(filter_of(group)),
    }
