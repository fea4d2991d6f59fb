"""A Redis without memory: nothing is half done, nothing is lost, and more memory is all that it takes to go on."""

from typing import Any, Final

from faults.judge import judge
from faults.load import loaded
from faults.orders import mixed
from faults.stage import Role, Stage
from support import eventually

# Room for a few more sagas, so that the store runs full in the middle of them.
ROOM_BYTES: Final = 20_000
REFUSALS: Final = 5


async def test_redis_out_of_memory(stage: Stage) -> None:
    """While the store refuses to write, no start is accepted and no saga moves; afterwards all of them end."""
    coordinator = await stage.coordinator()
    await stage.worker()
    orders = mixed(80)
    async with loaded(stage, orders) as load:
        await load.ended(20)
        used = await stage.store.client.info("memory")
        await stage.redis.command_async("CONFIG", "SET", "maxmemory", used["used_memory"] + ROOM_BYTES)
        # The wake-ups ask several times a second; each refusal is one event.
        await eventually(lambda: len(_refused(coordinator)) >= REFUSALS, timeout_s=30)
        assert len(load.told) < len(orders)
        await stage.redis.command_async("CONFIG", "SET", "maxmemory", 0)
    await judge(stage, orders, load.told)


def _refused(role: Role) -> list[dict[str, Any]]:
    return [event for event in role.events("store_unavailable") if "OutOfMemory" in event["error"]]
