"""`kill -9` of every part in the middle of the work: nothing that was accepted is lost, and nothing is done twice.

After each the judge looks at everything: outcomes, ledgers, journals, queues, indexes, logs and exit statuses.
"""

import asyncio
from typing import Final

from faults.judge import judge
from faults.load import loaded
from faults.orders import Placed, mixed, patient
from faults.stage import Stage
from support import TcpProxy, eventually

# For how long something stays away. It is the fault's own length; nothing is waited for.
AWAY_S: Final = 1.0


async def test_coordinator_killed_twice(stage: Stage) -> None:
    """A coordinator that dies twice in the middle of the work costs its sagas time and nothing else."""
    coordinator = await stage.coordinator()
    await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders) as load:
        for ended in (20, 45):
            await load.ended(ended)
            await coordinator.kill()
            await coordinator.start()
    await judge(stage, orders, load.told)


async def test_coordinator_killed_between_commit_and_publish(stage: Stage) -> None:
    """What a dead coordinator had committed and not sent is sent by its successor, whatever had caused it.

    The way to the broker is held up, so that nothing that is committed from now on gets out. Some of it was caused by
    deliveries, which come again; some by wake-ups, which have left a guard.
    """
    async with TcpProxy(stage.broker.host, stage.broker.port) as way:
        coordinator = await stage.coordinator(amqp_url=way.url_for(stage.broker.amqp_url))
        await stage.worker()
        orders = [Placed(f"o-{n}", patient, {"pay": "waits"}) for n in range(60)]
        async with loaded(stage, orders) as load:
            await load.retries_awaited(10)
            way.hold()
            await eventually(lambda: _guarded(stage, orders), timeout_s=20)
            await coordinator.kill()
            # What was held up is lost.
            way.cut()
            way.release()
            await coordinator.start()
        await judge(stage, orders, load.told)


async def _guarded(stage: Stage, orders: list[Placed]) -> bool:
    found = await stage.store.load([placed.saga_id for placed in orders])
    return any(each is not None and each.guard is not None for each in found)


async def test_participant_killed(stage: Stage) -> None:
    """A participant that dies between its effects and its replies has each effect once."""
    await stage.coordinator()
    await stage.worker("stock", "carrier")
    bank = await stage.worker("bank")
    orders = mixed(80)
    async with loaded(stage, orders) as load:
        for ended in (20, 45):
            await load.ended(ended)
            await bank.kill()
            await bank.start()
    await judge(stage, orders, load.told)


async def test_redis_killed(stage: Stage) -> None:
    """A store that dies and comes back with everything that it confirmed costs time only."""
    coordinator = await stage.coordinator()
    await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders) as load:
        await load.ended(30)
        await stage.redis.kill_async()
        await asyncio.sleep(AWAY_S)
        await stage.redis.start_async()
    assert coordinator.events("store_unavailable")
    await judge(stage, orders, load.told)


async def test_answers_of_redis_lost(stage: Stage) -> None:
    """A commit whose answer is lost is asked for again, and is recognised as having been made."""
    async with TcpProxy(stage.redis.host, stage.redis.port) as way:
        coordinator = await stage.coordinator(redis_url=f"redis://127.0.0.1:{way.address[1]}/0")
        await stage.worker()
        orders = mixed(80)
        async with loaded(stage, orders) as load:
            for ended in range(10, 60, 10):
                await load.ended(ended)
                way.drop_next_reply()
        assert way.replies_dropped > 1
        assert coordinator.events("store_unavailable")
        await judge(stage, orders, load.told)


async def test_rabbitmq_killed(stage: Stage) -> None:
    """A broker that dies and comes back with everything that it confirmed costs time only."""
    await stage.coordinator()
    await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders, settle=True) as load:
        await load.ended(30)
        await stage.broker.kill_async()
        await asyncio.sleep(AWAY_S)
        await stage.broker.start_async()
    await judge(stage, orders, load.told)


async def test_rabbitmq_and_redis_killed(stage: Stage) -> None:
    """Both servers die at once and come back one after the other."""
    await stage.coordinator()
    await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders, settle=True) as load:
        await load.ended(30)
        await asyncio.gather(stage.broker.kill_async(), stage.redis.kill_async())
        await stage.broker.start_async()
        await stage.redis.start_async()
    await judge(stage, orders, load.told)
