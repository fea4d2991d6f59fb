"""Lists and counts sagas in the memory of this process, for tests: what `listing` does on a server, put plainly."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, cast

from countermand.coordinator.core.state import SagaState, StuckCause
from countermand.coordinator.ports import Census, Place, SagaPage, SagaQuery, StuckGroup
from countermand.coordinator.store.indexes import (
    CAUSES,
    GROUP,
    MOTION,
    PAUSED,
    PHASES,
    UNDO,
    Conditions,
    conditions,
    group_named,
)

SAMPLES: Final = 3

Label = tuple[str, int]


class MemoryListing:
    """Reads the indexes of a memory store: scores by saga, by the index's name. `state_of` loads a saga."""

    def __init__(self, indexes: Mapping[str, Mapping[str, int]], state_of: Callable[[str], SagaState]) -> None:
        self._indexes = indexes
        self._state_of = state_of

    def sagas(self, query: SagaQuery, labels: Iterable[Label]) -> SagaPage:
        asked = tuple(_asked(query, labels).values()) or (tuple(f"phase:{phase}" for phase in PHASES),)
        members = [
            {member: score for name in condition for member, score in self._index(name).items()} for condition in asked
        ]
        places = sorted(
            (score, member) for member, score in members[0].items() if all(member in each for each in members)
        )
        found = [Place(score, member) for score, member in places if _within(query, score, member)]
        if query.order == "newest":
            found.reverse()
        page = found[: query.limit]
        after = page[-1] if len(page) < len(found) else None
        return SagaPage(tuple(self._state_of(place.saga_id) for place in page), after, len(page))

    def counts(self, query: SagaQuery, labels: Iterable[Label]) -> dict[str, int]:
        return {text: self._size(condition) for text, condition in _asked(query, labels).items()}

    def stuck_groups(self) -> list[StuckGroup]:
        return [_group(name, index) for name, index in self._indexes.items() if name.startswith(GROUP) and index]

    def census(self) -> Census:
        return Census(
            phases={phase: self._size([f"phase:{phase}"]) for phase in PHASES},
            paused=self._size([PAUSED]),
            stuck={cause: self._size([f"stuck:{cause}"]) for cause in CAUSES},
            in_motion=self._sizes(MOTION),
            undo_routes=self._sizes(UNDO),
        )

    def _sizes(self, prefix: str) -> dict[str, int]:
        found = ((name, index) for name, index in self._indexes.items() if name.startswith(prefix) and index)
        return {name.removeprefix(prefix): len(index) for name, index in found}

    def _index(self, name: str) -> Mapping[str, int]:
        return self._indexes.get(name, {})

    def _size(self, names: Iterable[str]) -> int:
        return sum(len(self._index(name)) for name in names)


def _asked(query: SagaQuery, labels: Iterable[Label]) -> Conditions:
    return conditions(query, (f"{name}@{version}" for name, version in labels if name == query.definition))


def _within(query: SagaQuery, score: int, member: str) -> bool:
    if query.started_from_ms is not None and score < query.started_from_ms:
        return False
    if query.started_before_ms is not None and score >= query.started_before_ms:
        return False
    if query.after is None:
        return True
    place, after = (score, member), (query.after.started_ms, query.after.saga_id)
    return place < after if query.order == "newest" else place > after


def _group(name: str, index: Mapping[str, int]) -> StuckGroup:
    named = group_named(name)
    oldest = sorted((score, member) for member, score in index.items())
    return StuckGroup(
        definition=named.definition,
        cause=cast("StuckCause", named.cause),
        step=named.step,
        code=named.code,
        count=len(index),
        first_ms=oldest[0][0],
        last_ms=oldest[-1][0],
        samples=tuple(member for _, member in oldest[:SAMPLES]),
    )
