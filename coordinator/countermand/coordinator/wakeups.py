"""What must happen even if no message ever arrives: claims the sagas that are due and takes them down the one path."""

import asyncio

import structlog

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.core.events import WokenUp
from countermand.coordinator.intake import Item
from countermand.coordinator.ports import ClockJumped, SagaStore
from countermand.coordinator.process import OnePath
from countermand.coordinator.telemetry import Counters
from countermand.schemas.errors import StoreUnavailable

log = structlog.get_logger(__name__)


class WakeUps:
    """Fires what is due. Every coordinator runs this; the lease decides who gets a saga, and its end is the retry."""

    def __init__(
        self,
        store: SagaStore,
        path: OnePath,
        clock: StoreClock,
        counters: Counters,
        *,
        batch_max: int,
        lease_ms: int,
        poll_ms: int,
    ) -> None:
        self._store = store
        self._path = path
        self._clock = clock
        self._counters = counters
        self._batch_max = batch_max
        self._lease_ms = lease_ms
        self._poll_ms = poll_ms

    async def run(self) -> None:
        """Polls until this task is cancelled."""
        while True:
            try:
                fired = await self.fire_once()
            except StoreUnavailable as error:
                self._counters.count("store_unavailable")
                log.warning("store_unavailable", error=str(error))
                fired = 0
            if not fired:
                await asyncio.sleep(self._poll_ms / 1000)

    async def fire_once(self) -> int:
        """Fires what is due now; how many sagas that were."""
        asked_ms = self._clock.steady_ms()
        claim = await self._store.claim_due(
            limit=self._batch_max,
            lease_ms=self._lease_ms,
            expected_ms=self._clock.expected_ms(),
            tolerance_ms=self._clock.tolerance_ms,
        )
        took_ms = self._clock.steady_ms() - asked_ms
        self._counters.count("due_polls")
        if isinstance(claim, ClockJumped):
            # A look that took long proves nothing about the store's clock.
            if took_ms <= self._clock.tolerance_ms:
                self._clock.jumped(claim.now_ms)
            return 0
        self._clock.set(claim.now_ms, took_ms=took_ms)
        if claim.saga_ids:
            self._counters.count("wake_ups", len(claim.saga_ids))
            aside = await self._path.run([wake_up(saga_id, claim.now_ms) for saga_id in claim.saga_ids])
            if aside:
                log.error("wake_ups_left_to_their_leases", sagas=[item.saga_id for item in aside])
        return len(claim.saga_ids)


def wake_up(saga_id: str, at_ms: int) -> Item:
    """The event that wakes a saga up; `at_ms` is the moment at which it was found due."""
    event_id = f"wake-up/{at_ms}"
    return Item(saga_id, lambda now_ms: WokenUp(event_id, now_ms), event_id)
