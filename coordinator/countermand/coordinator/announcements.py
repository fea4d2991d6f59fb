"""What participants announce, on its way into the store: beside the sagas, and never before them.

An announcement is acknowledged as soon as it is read: a lost one costs freshness only, and comes again within a minute.
The newest of each process waits here, and a loop of its own writes what waits, many in one round trip.
"""

import asyncio
from typing import Final

import structlog

from countermand.coordinator.ports import Registry
from countermand.coordinator.telemetry import Counters
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.messages import AnnounceMessage

log = structlog.get_logger(__name__)

INTERVAL_S: Final = 1.0  # They come once a minute: nobody misses this second.
# Thirty thousand processes that announce themselves once a minute; at 32 KiB at most each, 16 MiB of them.
WAITING_MAX: Final = 500
# In one call at 32 KiB each it is less than a megabyte: the store is back with the sagas after some milliseconds.
WRITTEN_AT_ONCE: Final = 25


class Announcements:
    """The newest announcement of each process, until it is written."""

    def __init__(self, registry: Registry, counters: Counters) -> None:
        self._registry = registry
        self._counters = counters
        self._waiting: dict[str, dict[str, AnnounceMessage]] = {}
        self._count = 0
        self._arrived = asyncio.Event()

    def put(self, message: AnnounceMessage) -> None:
        """Takes the place of what the process said before. Where there is no room, the loudest participant makes it."""
        self._counters.count("announcements")
        self._take(message.participant, message.instance)
        self._waiting.setdefault(message.participant, {})[message.instance] = message
        self._count += 1
        if self._count > WAITING_MAX:
            loudest, waiting = max(self._waiting.items(), key=lambda each: len(each[1]))
            self._take(loudest, next(iter(waiting)))
            self._counters.count("announcements_crowded_out")
        self._arrived.set()

    async def run(self) -> None:
        """Writes until this task is cancelled; what waits then is lost."""
        while True:
            await self._arrived.wait()
            await self.write()
            await asyncio.sleep(INTERVAL_S)

    async def write(self) -> None:
        """Writes what waits now. What the store doesn't take is dropped: nobody waits for it, and it comes again."""
        self._arrived.clear()
        every = [message for waiting in self._waiting.values() for message in waiting.values()]
        self._waiting, self._count = {}, 0
        for start in range(0, len(every), WRITTEN_AT_ONCE):
            try:
                await self._registry.announce(*every[start : start + WRITTEN_AT_ONCE])
            except StoreUnavailable as error:
                self._counters.count("announcements_not_kept", len(every) - start)
                log.warning("announcements_not_kept", count=len(every) - start, error=str(error))
                return

    def _take(self, participant: str, instance: str) -> None:
        waiting = self._waiting.get(participant, {})
        if waiting.pop(instance, None) is not None:
            self._count -= 1
            if not waiting:
                del self._waiting[participant]
