"""Proves that every saga in motion has a wake-up (invariant I3), and clears away what has outlived its retention."""

import asyncio

import structlog

from countermand.coordinator.ports import SagaStore
from countermand.coordinator.telemetry import Counters
from countermand.schemas.errors import StoreUnavailable

log = structlog.get_logger(__name__)

PART = 500  # So many sagas are looked at in one round trip.


class Sweeper:
    """Walks the sagas in motion, a part at a time."""

    def __init__(self, store: SagaStore, counters: Counters, *, interval_ms: int) -> None:
        self._store = store
        self._counters = counters
        self._interval_ms = interval_ms

    async def run(self) -> None:
        """Sweeps until this task is cancelled."""
        while True:
            try:
                await self.sweep_once()
            except StoreUnavailable as error:
                log.warning("store_unavailable", error=str(error))
            await asyncio.sleep(self._interval_ms / 1000)

    async def sweep_once(self) -> int:
        """Looks at one part; how many sagas in it had lost their wake-up. Each gets one, and is reported as a bug."""
        repaired = 0
        for saga_id in await self._store.sleepers(limit=PART):
            (loaded,) = await self._store.load([saga_id])
            if loaded is None:
                continue
            state = loaded.saga.state
            if await self._store.put_due(saga_id, state.version, await self._store.now_ms()):
                repaired += 1
                self._counters.count("wake_ups_repaired")
                log.error("wake_up_missing", saga_id=saga_id, phase=state.phase, version=state.version)
        self._counters.count("sagas_retired", await self._store.retire(limit=PART))
        self._counters.count("sweeps")
        return repaired
