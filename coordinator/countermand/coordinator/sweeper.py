"""Proves that every saga in motion has a wake-up (invariant I3) and that no definition in use has been lost.

And it clears away what has outlived its retention.
"""

import asyncio

import structlog

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.ports import SagaStore
from countermand.coordinator.telemetry import Counters
from countermand.schemas.errors import SagaUnreadable, StoreUnavailable

log = structlog.get_logger(__name__)

# Long enough to see who was there before the weekend's deployment.
UNSEEN_MS_MAX = 7 * 24 * 60 * 60 * 1000
PART = 500  # So many sagas are looked at in one round trip.


class Sweeper:
    """Walks the sagas in motion, a part at a time."""

    def __init__(
        self,
        store: SagaStore,
        definitions: Definitions,
        clock: StoreClock,
        counters: Counters,
        *,
        interval_ms: int,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._clock = clock
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
            try:
                (loaded,) = await self._store.load([saga_id])
            except SagaUnreadable as error:
                log.error("saga_unreadable", saga_id=saga_id, problem=str(error))
                continue
            if loaded is None:
                continue
            state = loaded.saga.state
            if await self._store.put_due(saga_id, state.version, await self._store.now_ms()):
                repaired += 1
                self._counters.count("wake_ups_repaired")
                log.error("wake_up_missing", saga_id=saga_id, phase=state.phase, version=state.version)
        retired = await self._store.retire(
            limit=PART, expected_ms=self._clock.expected_ms(), tolerance_ms=self._clock.tolerance_ms
        )
        self._counters.count("sagas_retired", retired)
        dropped = await self._store.forget_participants(unseen_ms=UNSEEN_MS_MAX, limit=PART)
        self._counters.count("announcements_dropped", dropped)
        self._counters.count("definitions_restored", await self._definitions.restore_missing())
        self._counters.count("sweeps")
        return repaired
