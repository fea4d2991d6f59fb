"""What participants have announced: in Redis, and in memory for tests.

One entry for each process of a participant. It is news, not truth: nothing is decided by it, so it is not written as
durably as a saga is.
"""

from collections.abc import Callable
from typing import Final, cast

import msgspec
from redis.asyncio import Redis

from countermand.coordinator.ports import Announced
from countermand.coordinator.store.connection import Call, run_all, store_errors
from countermand.coordinator.store.keys import Keys
from countermand.coordinator.store.scripts import ANNOUNCE, FORGET_ANNOUNCED
from countermand.schemas.messages import AnnounceMessage

# The processes of a large system, and those that died within a week. At 32 KiB at most each, 64 MiB at most.
ANNOUNCED_MAX: Final = 2_000

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnnounceMessage)


class RedisRegistry:
    """Announcements in one hash, and their moments in a sorted set beside it."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = (keys.participants("announced"), keys.participants("seen"))

    async def announce(self, message: AnnounceMessage) -> None:
        call = Call(ANNOUNCE, self._keys, (_name(message), _encoder.encode(message), ANNOUNCED_MAX))
        await run_all(self._client, [call])

    async def participants(self) -> list[Announced]:
        documents_key, seen_key = self._keys
        async with store_errors():
            # One transaction, so that no entry is in one of them only.
            pipe = self._client.pipeline(transaction=True)
            pipe.hgetall(documents_key)
            pipe.zrange(seen_key, 0, -1, withscores=True)
            documents, seen = await pipe.execute()
        moments = {name: int(score) for name, score in cast("list[tuple[bytes, float]]", seen)}
        found = [
            Announced(_decoder.decode(document), moments[name])
            for name, document in cast("dict[bytes, bytes]", documents).items()
            if name in moments
        ]
        return sorted(found, key=_order)

    async def forget_participants(self, *, unseen_ms: int, limit: int) -> int:
        ((dropped,), _) = await run_all(self._client, [Call(FORGET_ANNOUNCED, self._keys, (unseen_ms, limit))])
        return int(dropped)


class MemoryRegistry:
    """The same, in the memory of this process."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._entries: dict[str, Announced] = {}

    async def announce(self, message: AnnounceMessage) -> None:
        self._entries[_name(message)] = Announced(message, self._now_ms())
        for name in self._oldest()[: max(0, len(self._entries) - ANNOUNCED_MAX)]:
            del self._entries[name]

    async def participants(self) -> list[Announced]:
        return sorted(self._entries.values(), key=_order)

    async def forget_participants(self, *, unseen_ms: int, limit: int) -> int:
        before_ms = self._now_ms() - unseen_ms
        past = [name for name in self._oldest() if self._entries[name].seen_ms < before_ms][:limit]
        for name in past:
            del self._entries[name]
        return len(past)

    def _oldest(self) -> list[str]:
        return sorted(self._entries, key=lambda name: (self._entries[name].seen_ms, name))


def _name(message: AnnounceMessage) -> str:
    return f"{message.participant}/{message.instance}"


def _order(each: Announced) -> tuple[str, str]:
    return each.announcement.participant, each.announcement.instance
