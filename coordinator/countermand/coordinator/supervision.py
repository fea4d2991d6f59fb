"""Loops that don't die: whatever ends one by accident is logged and counted, and the loop begins again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from countermand.coordinator.telemetry import Counters

log = structlog.get_logger(__name__)

RESTART_PAUSE_S: Final = 0.5


async def supervise(name: str, loop: Callable[[], Awaitable[None]], counters: Counters) -> None:
    """Runs `loop` until it returns or this task is cancelled. A fault in it costs a pause, and is never silent."""
    while True:
        try:
            await loop()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # A lost connection can surface as a cancellation that nobody asked for.
            if task is None or task.cancelling():
                raise
            log.error("loop_cancelled_by_nobody", loop=name)
        except Exception:  # A bug of ours, of any kind: better begun again and counted than quietly dead.
            log.exception("loop_failed", loop=name)
        else:
            return
        counters.count(f"loop_restarts.{name}")
        await asyncio.sleep(RESTART_PAUSE_S)
