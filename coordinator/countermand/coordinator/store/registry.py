"""What participants have announced, in Redis.

One entry for each process of a participant. It is news, not truth: nothing is decided by it, so it is not written as
durably as a saga is.
"""

from typing import cast

import msgspec
import structlog
from redis.asyncio import Redis

from countermand.coordinator.ports import Announced
from countermand.coordinator.store.connection import Call, run_all, store_errors
from countermand.coordinator.store.keys import Keys
from countermand.coordinator.store.memory_registry import ANNOUNCED_MAX, ANNOUNCED_OF_ONE_MAX, entry_name, entry_order
from countermand.coordinator.store.scripts import ANNOUNCE, FORGET_ANNOUNCED
from countermand.schemas.messages import AnnounceMessage

log = structlog.get_logger(__name__)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnnounceMessage)


class RedisRegistry:
    """Announcements in one hash, and their moments in a sorted set beside it."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = (keys.participants("announced"), keys.participants("seen"))

    async def announce(self, *messages: AnnounceMessage) -> None:
        entries: list[str | bytes] = []
        for message in messages:
            entries += (entry_name(message), b"" if message.stopping else _encoder.encode(message))
        await run_all(self._client, [Call(ANNOUNCE, self._keys, (ANNOUNCED_MAX, ANNOUNCED_OF_ONE_MAX, *entries))])

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
            Announced(message, moments[name])
            for name, document in cast("dict[bytes, bytes]", documents).items()
            if name in moments and (message := _readable(name, document)) is not None
        ]
        return sorted(found, key=entry_order)

    async def forget_participants(self, *, unseen_ms: int, limit: int) -> int:
        ((dropped,), _) = await run_all(self._client, [Call(FORGET_ANNOUNCED, self._keys, (unseen_ms, limit))])
        return int(dropped)


def _readable(name: bytes, document: bytes) -> AnnounceMessage | None:
    try:
        return _decoder.decode(document)
    except msgspec.DecodeError as error:
        # Of another release, or damaged: one that nobody can read hides none of the others.
        log.warning("announcement_unreadable", name=name.decode(errors="replace"), error=str(error))
        return None
