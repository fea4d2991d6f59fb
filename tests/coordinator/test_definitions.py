"""What a coordinator knows of definitions, and what it does when the store has forgotten them."""

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.runtime import open_store
from countermand.coordinator.sweeper import Sweeper
from countermand.coordinator.telemetry import Counters
from countermand.schemas.messages import Defined, DefineMessage
from support import RedisServer
from system.world import settings, trade


async def test_a_definition_that_the_store_has_lost_is_saved_again(own_redis: RedisServer, namespace: str) -> None:
    """After a store was emptied, sagas started from a known definition can be finished by any coordinator."""
    counters = Counters()
    store = open_store(settings("amqp://127.0.0.1/", own_redis.url, namespace))
    definitions = Definitions(store)
    answer, _ = await definitions.register(DefineMessage("r-1", trade().document))
    assert isinstance(answer, Defined)
    own_redis.command("FLUSHALL")
    clock = StoreClock(counters, tolerance_ms=1, hold_ms=1)
    sweeper = Sweeper(store, definitions, clock, counters, interval_ms=1)
    await sweeper.sweep_once()
    assert await store.definition(answer.hash) == trade().definition
    assert await store.definition_hash("trade", 1) == answer.hash
    await sweeper.sweep_once()
    assert counters["definitions_restored"] == 1
    await store.close()
