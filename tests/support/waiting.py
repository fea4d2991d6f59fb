"""Waiting for something to become true, never longer than a named moment."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_INTERVAL_S = 0.02  # Short enough not to slow a test down, long enough to leave the processor to the servers.


class NotInTime(AssertionError):
    """The condition did not become true in time; the text says which one and what was seen last."""


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T | None]],
    *,
    timeout_s: float = ...,
    interval_s: float = ...,
    message: str | None = ...,
) -> T: ...


@overload
async def eventually(
    predicate: Callable[[], T | None],
    *,
    timeout_s: float = ...,
    interval_s: float = ...,
    message: str | None = ...,
) -> T: ...


async def eventually(
    predicate: Callable[[], Any],
    *,
    timeout_s: float = 10.0,
    interval_s: float = POLL_INTERVAL_S,
    message: str | None = None,
) -> Any:
    """The predicate's first true answer, asked again and again for at most `timeout_s`.

    The predicate may be sync or async. An AssertionError or a connection error that it raises counts as "not yet",
    and the last one is named when the time is up; any other error is passed on at once.
    """
    deadline = time.monotonic() + timeout_s
    seen: object = "nothing"
    while True:
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), interval_s)):
                answer = predicate()
                value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
            seen = repr(value)
        except (AssertionError, OSError) as error:
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            raise NotInTime(_complaint(predicate, message, timeout_s, seen))
        await asyncio.sleep(interval_s)


def wait_until(
    predicate: Callable[[], T],
    *,
    timeout_s: float = 10.0,
    interval_s: float = POLL_INTERVAL_S,
    message: str | None = None,
) -> T:
    """`eventually` for code without an event loop."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    seen: object = "nothing"
    while True:
        try:
            value = predicate()
            if value:
                return value
            seen = repr(value)
        except (AssertionError, OSError) as error:
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            raise NotInTime(_complaint(predicate, message, timeout_s, seen))
        pause.wait(interval_s)


def _complaint(predicate: Callable[[], object], message: str | None, timeout_s: float, seen: object) -> str:
    what = message
    if what is None:
        try:
            what = inspect.getsource(predicate).strip()
        except (OSError, TypeError):
            what = repr(predicate)
    return f"not true within {timeout_s:g} s: {what}\nlast seen: {seen}"
