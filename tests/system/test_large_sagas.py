"""Sagas of very many steps, on real servers: a loop of a thousand items, and a sequence of five hundred steps."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from countermand.coordinator.runtime import Coordinator
from countermand.participants.client import Client
from countermand.participants.context import Context
from countermand.participants.errors import Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.participant import Participant
from countermand.participants.saga import Saga, collected, for_each, saga, step
from countermand.schemas.contract import Command
from countermand.schemas.topology import Topology
from support import RabbitServer

ITEMS = 1_000
STEPS = 500


class Count(Command[int], participant="counter"):
    """Counts one; `refuse` says no."""

    number: int
    refuse: bool = False


class Numbers(msgspec.Struct, frozen=True):
    numbers: list[int]
    refused: int | None = None


@saga("many-items", version=1, deadline="5m")
def many_items(numbers: Numbers) -> list[int]:
    with for_each(numbers.numbers, name="numbers", concurrency=20) as each:
        counted = step(Count(number=each.item), name="counted")
    return collected(counted)


@saga("many-items-refused", version=1, deadline="5m")
def many_items_refused(numbers: Numbers) -> None:
    with for_each(numbers.numbers, name="numbers", concurrency=20) as each:
        step(Count(number=each.item), name="counted")
    step(Count(number=0, refuse=True), name="refused")


def many_steps(*, refused: bool) -> Saga[Numbers, int]:
    """Each step takes what the one before it gave, and the last one may say no."""

    @saga("many-steps", version=2 if refused else 1, deadline="5m")
    def definition(numbers: Numbers) -> int:
        number = step(Count(number=numbers.numbers[0]), name="s0")
        for index in range(1, STEPS):
            number = step(Count(number=number), name=f"s{index}")
        if refused:
            step(Count(number=0, refuse=True), name="refused")
        return number

    return definition


class Ledger(msgspec.Struct):
    """What the participant has done and undone, by key."""

    done: Counter[str]
    undone: list[str]


@pytest.fixture
async def counted(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Ledger]:
    """A participant that gives every number plus one, and remembers."""
    ledger = Ledger(Counter(), [])
    participant = Participant("counter", inbox=MemoryInbox())

    @participant.handles(Count)
    async def count(command: Count, context: Context) -> int:
        if command.refuse:
            raise Rejected("refused", "told to")
        ledger.done[context.key] += 1
        return command.number + 1

    @participant.compensates(Count)
    async def uncount(command: Count, result: int | None, context: Context) -> None:
        assert result == command.number + 1
        ledger.undone.append(context.key)

    async with participant.running(rabbitmq.amqp_url, topology=Topology(namespace), drain_s=1.0):
        yield ledger


def keys(saga_id: str, names: Sequence[str]) -> list[str]:
    return [f"{saga_id}/{name}" for name in names]


async def test_a_thousand_items(coordinator: Coordinator, client: Client, counted: Ledger) -> None:
    """Every item is done once, and the results come in the list's order; the state stays small all the while."""
    await client.register(many_items)
    handle = await client.start(many_items, Numbers(list(range(ITEMS))), saga_id="m-1")
    outcome = await handle.outcome(timeout_s=120)
    assert (outcome.phase, outcome.result) == ("completed", [number + 1 for number in range(ITEMS)])
    assert counted.done == Counter(keys("m-1", [f"counted[{index}]" for index in range(ITEMS)]))
    (part,) = await coordinator.store.load_parts([("m-1", None)])
    assert part is not None
    assert len(msgspec.msgpack.encode(part.saga.state)) < 20_000


async def test_a_thousand_items_undone(coordinator: Coordinator, client: Client, counted: Ledger) -> None:
    """A no after them all undoes each of them, with what it gave."""
    await client.register(many_items_refused)
    handle = await client.start(many_items_refused, Numbers(list(range(ITEMS))), saga_id="m-1")
    assert (await handle.outcome(timeout_s=120)).phase == "compensated"
    assert sorted(counted.undone) == sorted(keys("m-1", [f"counted[{index}]" for index in range(ITEMS)]))


async def test_five_hundred_steps(coordinator: Coordinator, client: Client, counted: Ledger) -> None:
    """Each is done once, on what the one before it gave."""
    definition = many_steps(refused=False)
    await client.register(definition)
    handle = await client.start(definition, Numbers([0]), saga_id="m-1")
    outcome = await handle.outcome(timeout_s=120)
    assert (outcome.phase, outcome.result) == ("completed", STEPS)
    assert counted.done == Counter(keys("m-1", [f"s{index}" for index in range(STEPS)]))


async def test_five_hundred_steps_undone(coordinator: Coordinator, client: Client, counted: Ledger) -> None:
    """The last one's no undoes all of them, in exactly the reverse order."""
    definition = many_steps(refused=True)
    await client.register(definition)
    handle = await client.start(definition, Numbers([0]), saga_id="m-1")
    assert (await handle.outcome(timeout_s=120)).phase == "compensated"
    assert counted.undone == keys("m-1", [f"s{index}" for index in reversed(range(STEPS))])
