"""What a coordinator knows of definitions, and what it does when the store has forgotten them."""

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.definitions import FINDINGS_MAX, SILENCE_MS, Definitions, current_contracts
from countermand.coordinator.runtime import open_store
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.coordinator.sweeper import Sweeper
from countermand.coordinator.telemetry import Counters
from countermand.schemas.definition import Definition, SequenceNode, StepNode, canonical, definition_hash
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage, Defined, DefineMessage, Refused
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


ORDER = Definition(1, "order", 1, SequenceNode((StepNode("take", "stock", "take", input={"order": 5}),)))
SCHEMA = {"command": {"type": "object", "properties": {"order": {"type": "string"}}}, "result": {}}


async def registered(store: MemorySagaStore) -> Defined:
    answer, _ = await Definitions(store).register(DefineMessage("r-1", canonical(ORDER)))
    assert isinstance(answer, Defined)
    return answer


async def test_what_participants_announce_is_compared_and_keeps_nothing_out() -> None:
    """A definition may come before its participant: it is taken, and the answer says what differs."""
    store = MemorySagaStore(retention_ms=1, now_ms=lambda: 0)
    [told] = (await registered(store)).findings
    assert told.startswith("$.root.nodes[0].participant: nobody called 'stock' has announced itself yet")
    assert told.endswith("[participant-unknown]")
    await store.announce(AnnounceMessage("stock", "one", (AnnouncedAction("take", True, SCHEMA),)))
    [told] = (await registered(store)).findings
    assert told == (
        "$.root.nodes[0].input.order: a whole number, and the contract says text (stock.take) [type-mismatch]"
    )
    assert await store.definition_hash("order", 1) == definition_hash(ORDER)


async def test_the_contract_is_that_of_the_processes_heard_of_last() -> None:
    """An older release that has fallen silent counts no more, however little is heard of its successor."""
    now_ms = [0]
    store = MemorySagaStore(retention_ms=1, now_ms=lambda: now_ms[0])
    await store.announce(AnnounceMessage("stock", "old", (AnnouncedAction("give", True),)))
    now_ms[0] = SILENCE_MS
    await store.announce(AnnounceMessage("stock", "new", (AnnouncedAction("take", True),)))
    assert current_contracts(await store.participants()).actions("stock") == ["take", "give"]
    now_ms[0] = SILENCE_MS + 1
    await store.announce(AnnounceMessage("stock", "new", (AnnouncedAction("take", True),)))
    assert current_contracts(await store.participants()).actions("stock") == ["take"]


async def test_an_answer_holds_a_limited_number_of_findings() -> None:
    """A definition of which everything is wrong is answered like any other."""
    steps = tuple(StepNode(f"s{n}", "stock", "take", timeout_ms=0) for n in range(FINDINGS_MAX + 5))
    definition = Definition(1, "order", 1, SequenceNode(steps))
    answer, _ = await Definitions(MemorySagaStore(retention_ms=1, now_ms=lambda: 0)).register(
        DefineMessage("r-1", canonical(definition))
    )
    assert isinstance(answer, Refused)
    assert len(answer.findings) == FINDINGS_MAX + 1
    assert answer.findings[-1] == "$: 5 more findings"
