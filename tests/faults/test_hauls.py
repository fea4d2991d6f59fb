"""Loops, scopes, children, locks, limits, events and probes, while everything they rest on is killed.

The judge looks at everything afterwards: outcomes, ledgers, the order of undoing, locks, journals, queues and logs.
"""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.haul_judge import judge
from faults.haul_load import EITHER, HaulStage, hauling, hauls
from support import RabbitServer, RedisServer


@pytest.fixture
async def haul_stage(
    own_rabbitmq: RabbitServer, own_redis: RedisServer, namespace: str, tmp_path: Path
) -> AsyncIterator[HaulStage]:
    """Nobody on it yet."""
    stage = HaulStage(own_rabbitmq, own_redis, namespace, tmp_path)
    try:
        yield stage
    finally:
        await stage.close()


async def test_everything_killed(haul_stage: HaulStage) -> None:
    """Both coordinators, every participant, the store and the broker die under sagas that use the whole language."""
    stage = haul_stage
    await stage.everybody()
    listed = hauls(7, items=20, accounts=3)
    listed[6] = dataclasses.replace(listed[6], ends=EITHER)
    async with hauling(stage, listed, cancelled={"h-6": 30}, patience_s=120) as load:
        await load.booked(40)
        await stage.restart("coordinator-a", "floor")
        await load.booked(120)
        await stage.restart("coordinator-b", "desk")
        await load.booked(200)
        await stage.redis.kill_async()
        await stage.redis.start_async()
        await load.booked(280)
        await stage.restart("coordinator-a", "coordinator-b", "notary")
        await load.booked(360)
        await stage.broker.kill_async()
        await stage.broker.start_async()
    await stage.back()
    await judge(stage, listed, load.told, load.amounts)
