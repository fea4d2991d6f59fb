"""Heartbeats of one connection, both ways (AMQP 0-9-1, section 4.2.7)."""

import asyncio
from collections.abc import Callable

SILENT_INTERVALS_MAX = 2  # The protocol's own number.


class Heart:
    """Looks twice per interval whether something was said lately, and beats if not; tells when the peer is silent."""

    def __init__(self, interval_s: float, *, beat: Callable[[], None], lost: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._beat = beat
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._said_at = self._heard_at
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def heard(self) -> None:
        self._heard_at = self._loop.time()

    def said(self) -> None:
        self._said_at = self._loop.time()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        if self._interval_s > 0:
            self._timer = self._loop.call_later(self._interval_s / 2, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._heard_at > self._interval_s * SILENT_INTERVALS_MAX:
            self._lost()
            return
        if now - self._said_at > self._interval_s / 4:
            self._beat()
        self._wait()
