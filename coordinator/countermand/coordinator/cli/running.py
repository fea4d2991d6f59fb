"""Running what a command does, so that Ctrl-C always ends it."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], *, ended_by: tuple[signal.Signals, ...] = ()) -> T:
    """`asyncio.run`, for work that may lose a cancellation: it is cancelled until it has ended.

    Signals of `ended_by` cancel it as Ctrl-C does.

    `asyncio.wait_for` of Python 3.11, which the Redis driver sends commands under, loses one that comes in the moment
    in which what it waits for is done; then Ctrl-C would do nothing.

    Raises:
        KeyboardInterrupt: on Ctrl-C, once the work has ended.
        asyncio.CancelledError: on another signal that ends it, likewise.
    """
    return asyncio.run(_ended_for_certain(work, ended_by))


async def _ended_for_certain(work: Coroutine[Any, Any, T], ended_by: tuple[signal.Signals, ...]) -> T:
    from countermand.wire import end

    if (this := asyncio.current_task()) is not None:
        for number in ended_by:
            asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    task = asyncio.ensure_future(work)
    try:
        # Not `await task`: that would hand the one cancellation on, and wait.
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await end([task])
        raise
    return task.result()
