"""Ctrl-C ends a command, whatever its work makes of being cancelled."""

import asyncio
import signal

import pytest

from countermand.coordinator.cli.running import run


def test_ctrl_c_ends_work_that_loses_a_cancellation() -> None:
    """It is cancelled again until it has ended."""
    lost: list[bool] = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(True)

    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert lost == [True]


def test_whoever_ends_it_politely_ends_it_too() -> None:
    """A signal that is named cancels the work as Ctrl-C does, also where Ctrl-C is ignored."""

    async def work() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        run(work(), ended_by=(signal.SIGTERM,))


def test_what_work_gives_and_raises_is_passed_on() -> None:
    """As with `asyncio.run`."""

    async def work(value: int) -> int:
        if value < 0:
            raise ValueError("negative")
        return value

    assert run(work(7)) == 7
    with pytest.raises(ValueError, match="negative"):
        run(work(-1))
