"""Lists and counts sagas in Redis by their indexes.

A listing walks one condition's index, the smallest, in every partition at once, and asks the others by `ZMSCORE`
whether they know what it found. Because a saga has the same place in all of them, it does not matter which one is
walked, nor that the next page may walk another.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis

from countermand.coordinator.core.state import SagaState, StuckCause
from countermand.coordinator.ports import Census, Place, SagaPage, SagaQuery, StuckGroup
from countermand.coordinator.store.connection import Call, run_all, store_errors
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
    satisfied,
)
from countermand.coordinator.store.keys import Keys
from countermand.coordinator.store.scripts import PAGE

# One page looks at no more sagas than this: some milliseconds of the server's time, whatever was asked for.
LOOKED_AT_MAX: Final = 2_000
# So many are looked at in one round trip where other indexes have a say: most of them will be left out.
PART: Final = 500
SAMPLES: Final = 3  # Enough to see what the sagas of a group have in common.

_state_decoder = msgspec.msgpack.Decoder(SagaState)


class _Walk(msgspec.Struct, frozen=True):
    """The indexes to walk, by partition, and the conditions that they say nothing about."""

    indexes: dict[int, tuple[str, ...]]
    others: tuple[tuple[str, ...], ...]
    all: tuple[tuple[str, ...], ...]


class RedisListing:
    """The listing of a store on Redis 7 or newer, or Valkey."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    # --- sagas

    async def sagas(self, query: SagaQuery) -> SagaPage:
        walk = await self._walk(await self._conditions(query))
        found: list[tuple[Place, SagaState]] = []
        looked_at, place = 0, query.after
        part_max = PART if walk.others else min(PART, query.limit)
        while walk.indexes:
            part, whole = await self._part(walk, query, place, part_max)
            looked_at += len(part)
            passing = await self._passing(part, walk.others)
            matching, rest = await self._matching(passing, walk.all, query.limit - len(found))
            found += matching
            if whole and not rest:
                return _page(found, None, looked_at)
            if len(found) == query.limit:
                return _page(found, found[-1][0], looked_at)
            place = part[-1]
            if looked_at >= LOOKED_AT_MAX:
                return _page(found, place, looked_at)
        return _page([], None, 0)

    async def counts(self, query: SagaQuery) -> dict[str, int]:
        asked = await self._conditions(query)
        sizes = await self._sizes({name for condition in asked.values() for name in condition})
        return {text: sum(sum(sizes[name]) for name in condition) for text, condition in asked.items()}

    async def _conditions(self, query: SagaQuery) -> Conditions:
        if query.definition is None or "@" in query.definition:
            return conditions(query)
        async with store_errors():
            labels = await self._client.hkeys(self._keys.definitions("names"))
        named = (cast("bytes", label).decode() for label in labels)
        return conditions(query, (label for label in named if label.partition("@")[0] == query.definition))

    async def _walk(self, asked: Conditions) -> _Walk:
        """The condition that fewest sagas meet is walked, the others are asked."""
        every = tuple(asked.values()) or (tuple(f"phase:{phase}" for phase in PHASES),)
        sizes = await self._sizes({name for condition in every for name in condition})
        smallest = min(every, key=lambda condition: sum(sum(sizes[name]) for name in condition))
        indexes = {
            partition: names
            for partition in range(self._keys.partitions)
            if (names := tuple(name for name in smallest if sizes[name][partition]))
        }
        return _Walk(indexes, tuple(condition for condition in every if condition is not smallest), every)

    async def _part(
        self, walk: _Walk, query: SagaQuery, after: Place | None, part_max: int
    ) -> tuple[list[Place], bool]:
        """What comes next of all partitions, in order, and whether that is all there is."""
        share = part_max // len(walk.indexes) + 8  # Some more than the fair share: partitions are never quite equal.
        calls = [
            Call(
                PAGE,
                tuple(self._keys.index(partition, name) for name in names),
                (
                    query.order,
                    "-inf" if query.started_from_ms is None else query.started_from_ms,
                    "+inf" if query.started_before_ms is None else query.started_before_ms,
                    "" if after is None else after.started_ms,
                    "" if after is None else after.saga_id,
                    share,
                ),
            )
            for partition, names in walk.indexes.items()
        ]
        answers, _ = await run_all(self._client, calls)
        parts = [
            [Place(int(score), member.decode()) for member, score in zip(answer[::2], answer[1::2], strict=True)]
            for answer in answers
        ]
        newest = query.order == "newest"
        merged = sorted((place for part in parts for place in part), key=_in_order, reverse=newest)
        # What a partition has not told yet may come before what another one told: as far as the first that was cut.
        cut = [part[-1] for part in parts if len(part) == share]
        if not cut:
            return merged, True
        horizon = max(cut, key=_in_order) if newest else min(cut, key=_in_order)
        return merged[: merged.index(horizon) + 1], False

    async def _passing(self, part: Sequence[Place], others: Sequence[tuple[str, ...]]) -> list[Place]:
        """Those that stand in an index of each of the conditions."""
        if not part or not others:
            return list(part)
        by_partition: dict[int, list[str]] = defaultdict(list)
        for place in part:
            by_partition[self._keys.partition(place.saga_id)].append(place.saga_id)
        asked = [
            (number, members, self._keys.index(partition, name))
            for partition, members in by_partition.items()
            for number, condition in enumerate(others)
            for name in condition
        ]
        async with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for _, members, key in asked:
                pipe.zmscore(key, members)
            answers: list[list[float | None]] = await pipe.execute()
        met: list[set[str]] = [set() for _ in others]
        for (number, members, _), scores in zip(asked, answers, strict=True):
            met[number] |= {member for member, score in zip(members, scores, strict=True) if score is not None}
        return [place for place in part if all(place.saga_id in each for each in met)]

    async def _matching(
        self, passing: Sequence[Place], asked: Sequence[tuple[str, ...]], limit: int
    ) -> tuple[list[tuple[Place, SagaState]], bool]:
        """The first so many of them that still match now that they are loaded, and whether any are left."""
        found: list[tuple[Place, SagaState]] = []
        begin = 0
        while begin < len(passing) and len(found) < limit:
            some = passing[begin : begin + limit - len(found)]
            begin += len(some)
            async with store_errors():
                pipe = self._client.pipeline(transaction=False)
                for place in some:
                    pipe.hget(self._keys.saga(place.saga_id), "s")
                stored: list[bytes | None] = await pipe.execute()
            states = zip(some, map(_readable, stored), strict=True)
            found += [(place, state) for place, state in states if state is not None and satisfied(state, asked)]
        return found, begin < len(passing)

    # --- counting

    async def _sizes(self, names: Iterable[str]) -> dict[str, list[int]]:
        """The sizes of indexes, each by partition."""
        every = tuple(names)
        async with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for name in every:
                for partition in range(self._keys.partitions):
                    pipe.zcard(self._keys.index(partition, name))
            answers: list[int] = await pipe.execute()
        partitions = self._keys.partitions
        return {name: answers[at * partitions : (at + 1) * partitions] for at, name in enumerate(every)}

    async def _counted(self, prefix: str) -> list[tuple[int, str]]:
        """The counted indexes that have members: (partition, name)."""
        async with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in range(self._keys.partitions):
                pipe.smembers(self._keys.catalogue(partition))
            answers: list[set[bytes]] = await pipe.execute()
        named = ((partition, each.decode()) for partition, known in enumerate(answers) for each in known)
        return sorted((partition, name) for partition, name in named if name.startswith(prefix))

    async def stuck_groups(self) -> list[StuckGroup]:
        counted = await self._counted(GROUP)
        async with store_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition, name in counted:
                key = self._keys.index(partition, name)
                pipe.zcard(key)
                pipe.zrange(key, 0, SAMPLES - 1, withscores=True)
                pipe.zrange(key, -1, -1, withscores=True)
            answers: list[Any] = await pipe.execute()
        groups: dict[str, list[tuple[int, list[tuple[bytes, float]], list[tuple[bytes, float]]]]] = defaultdict(list)
        for at, (_, name) in enumerate(counted):
            size, first, last = answers[3 * at : 3 * at + 3]
            # Between the two looks, a group's last saga may have been freed; a coordinator of a former release frees
            # it without a word to the catalogue.
            if first and last:
                groups[name].append((size, first, last))
        return [_group(name, parts) for name, parts in groups.items()]

    async def census(self) -> Census:
        counted = [*await self._counted(MOTION), *await self._counted(UNDO)]
        phases, causes = {f"phase:{phase}": phase for phase in PHASES}, {f"stuck:{cause}": cause for cause in CAUSES}
        sizes = await self._sizes((*phases, *causes, PAUSED, *sorted({name for _, name in counted})))
        totals = {name: sum(each) for name, each in sizes.items()}
        return Census(
            phases={phase: totals[name] for name, phase in phases.items()},
            paused=totals[PAUSED],
            stuck={cause: totals[name] for name, cause in causes.items()},
            in_motion=_named(totals, MOTION),
            undo_routes=_named(totals, UNDO),
        )


def _named(totals: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): total for name, total in totals.items() if name.startswith(prefix) and total}


def _in_order(place: Place) -> tuple[int, str]:
    # Ids are ASCII: Python's order of characters is Redis' order of bytes.
    return place.started_ms, place.saga_id


def _page(found: Sequence[tuple[Place, SagaState]], after: Place | None, looked_at: int) -> SagaPage:
    return SagaPage(tuple(state for _, state in found), after, looked_at)


def _readable(stored: bytes | None) -> SagaState | None:
    if stored is None:
        return None
    try:
        return _state_decoder.decode(stored)
    except msgspec.DecodeError:
        # One damaged saga must not hide the others from a list; loading it by its id says what is wrong.
        return None


def _group(name: str, parts: Sequence[tuple[int, list[tuple[bytes, float]], list[tuple[bytes, float]]]]) -> StuckGroup:
    named = group_named(name)
    oldest = heapq.nsmallest(SAMPLES, ((int(score), member) for _, first, _ in parts for member, score in first))
    return StuckGroup(
        definition=named.definition,
        cause=cast("StuckCause", named.cause),
        step=named.step,
        code=named.code,
        count=sum(size for size, _, _ in parts),
        first_ms=oldest[0][0],
        last_ms=max(int(last[0][1]) for _, _, last in parts),
        samples=tuple(member.decode() for _, member in oldest),
    )
