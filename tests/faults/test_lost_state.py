"""A store that has lost what it confirmed: replies that know more than it does put their sagas on hold.

The participants are played by hand, so that it is certain which reply is out when the store forgets.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from countermand.coordinator.core.journal import SagaStuck, StepAsked
from countermand.coordinator.core.state import SagaState
from countermand.coordinator.ports import SagaQuery
from countermand.participants.client import Client, RequestRefused
from countermand.schemas.messages import CommandMessage
from faults.orders import Placed, patient
from faults.stage import Stage
from support import eventually
from system.world import Wire


@pytest.fixture
async def wire(stage: Stage) -> AsyncIterator[Wire]:
    async with Wire(stage.broker.amqp_url, stage.topology.prefix) as wire:
        yield wire


@pytest.fixture
def raw(stage: Stage) -> Iterator[redis.Redis]:
    """A client that gives back bytes as they are: dumps are no text."""
    with redis.Redis(host=stage.redis.host, port=stage.redis.port) as client:
        yield client


def dumped(raw: redis.Redis, key: str | bytes) -> bytes:
    """What is kept under a key, as RESTORE takes it."""
    dump = raw.dump(key)
    assert dump is not None
    return dump


@pytest.fixture
async def client(stage: Stage, wire: Wire) -> AsyncIterator[Client]:
    """A client of a coordinator that knows the definition; the participants' queues are consumed by hand."""
    await stage.coordinator()
    async with stage.client() as client:
        await client.register(patient)
        yield client


async def started(client: Client, wire: Wire, saga_id: str) -> CommandMessage:
    """A saga whose first command is out."""
    placed = Placed(saga_id, patient)
    await client.start(placed.definition, placed.order, saga_id=saga_id)
    return await wire.command("reserve")


async def state_of(stage: Stage, saga_id: str) -> SagaState:
    (loaded,) = await stage.store.load([saga_id])
    assert loaded is not None
    return loaded.saga.state


async def stuck(stage: Stage, *saga_ids: str) -> None:
    """Returns when these sagas, and no others, are on hold because state was lost, and nothing will wake them up."""

    async def on_hold() -> bool:
        found = await stage.store.sagas(SagaQuery(stuck="state_lost"))
        assert sorted(state.saga_id for state in found.states) == sorted(saga_ids)
        due = {saga_id for saga_id, _ in await stage.due()}
        assert not due & set(saga_ids), due
        return True

    await eventually(on_hold, timeout_s=20)


async def asked_after_loss(stage: Stage, saga_id: str) -> list[Any]:
    """The commands that a saga asked for after it was found to have lost state."""
    entries = [record.entry for record in await stage.store.history(saga_id)]
    (place,) = [n for n, entry in enumerate(entries) if isinstance(entry, SagaStuck)]
    return [entry for entry in entries[place:] if isinstance(entry, StepAsked)]


async def test_one_saga_at_an_older_version(stage: Stage, client: Client, wire: Wire, raw: redis.Redis) -> None:
    """A reply to a command that the stored saga never sent puts it on hold, for every coordinator and for good."""
    key = stage.store.keys.saga("o-1")
    reserve = await started(client, wire, "o-1")
    older = dumped(raw, key)
    await wire.reply(reserve)
    pay, quote = await wire.command("pay"), await wire.command("quote")
    raw.restore(key, 0, older, replace=True)

    await wire.reply(pay)
    await stuck(stage, "o-1")
    held = await state_of(stage, "o-1")
    assert held.stuck is not None
    assert (held.phase, held.stuck.step) == ("running", "pay")

    coordinator = stage.roles["coordinator"]
    await coordinator.kill()
    await coordinator.start()
    # Neither what it waits for nor what it has forgotten makes it go on.
    await wire.reply(quote)
    await wire.reply(reserve)

    async def heard() -> bool:
        return (await state_of(stage, "o-1")).facts == 2

    await eventually(heard, timeout_s=20)
    await stuck(stage, "o-1")
    with pytest.raises(RequestRefused, match="state_lost"):
        await client.cancel("o-1", "to see whether it can be turned")
    assert await asked_after_loss(stage, "o-1") == []
    assert wire.waiting() == []
    assert await stage.depths() == {}


async def test_store_restored_from_an_older_backup(stage: Stage, client: Client, wire: Wire, raw: redis.Redis) -> None:
    """Every saga that a reply proves to have gone further is put on hold; the others go on."""
    reserves = {f"o-{n}": await started(client, wire, f"o-{n}") for n in range(9)}
    for saga_id in ("o-0", "o-1", "o-2"):
        await wire.reply(reserves[saga_id])
    pays = [await wire.command("pay") for _ in range(3)]
    quotes = [await wire.command("quote") for _ in range(3)]
    backup = {key: dumped(raw, key) for key in raw.scan_iter()}
    # From here on nothing is known to the backup: three sagas get to their last step, three others to their second.
    for command in (*pays, *quotes, *(reserves[f"o-{n}"] for n in (3, 4, 5))):
        await wire.reply(command)
    newer = [await wire.command("ship") for _ in range(3)] + [await wire.command("pay") for _ in range(3)]
    await eventually(lambda: _settled(stage), timeout_s=20)

    await stage.roles["coordinator"].kill()
    raw.flushall()
    for name, dump in backup.items():
        raw.restore(name, 0, dump)
    for command in newer:
        await wire.reply(command)
    await stage.roles["coordinator"].start()

    await stuck(stage, *(f"o-{n}" for n in range(6)))
    for n in (6, 7, 8):
        await wire.reply(reserves[f"o-{n}"])
    await finish(wire, {"o-6", "o-7", "o-8"})
    for n in (6, 7, 8):
        assert (await client.handle(f"o-{n}").outcome(timeout_s=20)).phase == "completed"
    assert [await asked_after_loss(stage, f"o-{n}") for n in range(6)] == [[]] * 6
    await stuck(stage, *(f"o-{n}" for n in range(6)))


async def finish(wire: Wire, saga_ids: set[str]) -> None:
    """Plays the rest of sagas whose first step is answered; commands of others are not for us."""
    for step in ("pay", "quote", "ship"):
        for _ in saga_ids:
            command = await wire.command(step)
            while command.saga_id not in saga_ids:
                command = await wire.command(step)
            await wire.reply(command)


async def _settled(stage: Stage) -> bool:
    """Whether nothing is under way between a commit and its publish: what is out now is out for certain."""
    states = [await state_of(stage, f"o-{n}") for n in range(9)]
    return [state.version for state in states] == [4, 4, 4, 2, 2, 2, 1, 1, 1] and not await stage.depths()


async def test_store_emptied(stage: Stage, client: Client, wire: Wire, raw: redis.Redis) -> None:
    """Replies to sagas that are gone altogether bring nothing back; once it is registered again, work goes on."""
    reserves = [await started(client, wire, f"o-{n}") for n in range(5)]
    raw.flushall()
    for reserve in reserves:
        await wire.reply(reserve)
    coordinator = stage.roles["coordinator"]
    await eventually(lambda: len(coordinator.events("saga_unknown")) == len(reserves), timeout_s=20)
    assert await stage.store.load([reserve.saga_id for reserve in reserves]) == [None] * len(reserves)
    assert await stage.due() == []

    await client.register(patient)
    await coordinator.kill()
    await coordinator.start()
    handle = await client.start(patient, Placed("p-1", patient).order, saga_id="p-1")
    await wire.reply(await wire.command("reserve"))
    await finish(wire, {"p-1"})
    assert (await handle.outcome(timeout_s=20)).phase == "completed"
