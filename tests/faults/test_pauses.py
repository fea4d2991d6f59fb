"""Whoever is frozen and wakes up again finds a world that went on, and does no harm in it."""

import asyncio
from typing import Final

from faults.judge import judge
from faults.load import loaded
from faults.orders import mixed
from faults.stage import Stage
from support import eventually

# Longer than any publish waits for its confirm in these tests.
FROZEN_S: Final = 2.5
CONFIRM_MS: Final = 1_500


async def test_coordinator_paused_beyond_its_lease(stage: Stage) -> None:
    """What a frozen coordinator had taken is taken over; when it wakes up, its late commits and commands do nothing.

    The broker gives its deliveries to the other one as soon as its connections are closed, which the broker does by
    itself after two heartbeats; here it is told to. So every saga ends while the one that had begun it is still frozen.
    """
    frozen, other = await stage.coordinator("coordinator-1"), await stage.coordinator("coordinator-2")
    await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders) as load:
        await load.ended(20)
        frozen.pause()
        frozen_ms = await stage.store.now_ms()
        await stage.broker.ctl_async("close_all_connections", "the connections of somebody who is frozen")
    # Whatever it had claimed is free for others now, and has been fired by them.
    lease_ms = stage.settings().lease_ms
    await eventually(lambda: _passed(stage, frozen_ms + 2 * lease_ms), timeout_s=10)
    assert frozen.running
    frozen.resume()
    await eventually(lambda: len(frozen.events("connection_opened")) >= 4, timeout_s=20)
    await judge(stage, orders, load.told)
    counters = [role.events("coordinator_stopped")[-1] for role in (frozen, other)]
    assert all(each["commits"] > 0 for each in counters), counters


async def _passed(stage: Stage, moment_ms: int) -> bool:
    return await stage.store.now_ms() > moment_ms


async def test_rabbitmq_paused(stage: Stage) -> None:
    """A broker that says nothing for a while makes publishes unknown; sent again, they arrive twice and count once."""
    coordinator = await stage.coordinator(confirm_timeout_ms=CONFIRM_MS)
    await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders) as load:
        await load.ended(30)
        await stage.broker.pause_async()
        await asyncio.sleep(FROZEN_S)
        await stage.broker.resume_async()
    assert coordinator.events("publish_unconfirmed")
    await judge(stage, orders, load.told)
