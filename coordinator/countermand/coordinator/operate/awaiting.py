"""Waits for what becomes of a saga, for somebody who can do nothing but wait."""

import asyncio
from typing import Final

import msgspec

from countermand.coordinator.core.turning import outcome_of
from countermand.coordinator.operate.looking import Look, look, over
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.ports import SagaStore
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.messages import Outcome
from countermand.wire import end

POLL_S: Final = 0.5  # As quick as a person is, and two small reads a second for the store.


class Awaited(msgspec.Struct, frozen=True):
    """`outcome` is null for a saga that has not ended; then it is `stuck`, or the time was up.

    `seen` is the last look at it, null if there was none; `blind` says why there was none.
    """

    outcome: Outcome | None
    stuck: bool = False
    seen: Look | None = None
    blind: StoreUnavailable | None = None


async def await_end(requests: Requests, store: SagaStore, saga_id: str, *, until_s: float | None) -> Awaited:
    """Waits for the end of a saga that was started with these requests, at most until this moment of the loop's clock.

    The outcome comes from a coordinator. That a saga is stuck, nobody says: it has to be looked at. Where the store
    can't be reached from here, the outcome is waited for all the same.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.ensure_future(requests.outcome(saga_id, timeout_s=None))
    seen: Look | None = None
    try:
        while True:
            left_s = POLL_S if until_s is None else max(0.0, min(POLL_S, until_s - loop.time()))
            await asyncio.wait({told}, timeout=left_s)
            if told.done():
                return Awaited(told.result())
            blind: StoreUnavailable | None = None
            try:
                seen = await look(store, saga_id) or seen
            except StoreUnavailable as error:
                blind = error
            if seen is not None and over(seen):
                # What a coordinator told may have been lost with a connection.
                ended = seen.story.ended
                return Awaited(outcome_of(seen.saga) if ended else None, stuck=not ended, seen=seen)
            if until_s is not None and loop.time() >= until_s:
                return Awaited(None, seen=seen, blind=blind)
    finally:
        await end([told])
