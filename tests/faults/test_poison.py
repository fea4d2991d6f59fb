"""Messages that are meant to harm: each is refused and kept, and nobody else notices."""

from typing import Any, Final

from countermand.schemas.identifiers import inbox_key
from faults.bombs import (
    Malformed,
    bodies,
    commands,
    dead_letters,
    replies,
    send,
    send_uncopyable,
    send_undecodable,
    watch,
)
from faults.judge import judge
from faults.load import loaded
from faults.orders import Placed, mixed, patient
from faults.stage import Stage
from support import eventually

REASON: Final = "countermand-dead-reason"


async def test_undecodable_headers(stage: Stage) -> None:
    """A message that kills every connection that it is delivered on is moved away by the broker, and all sagas end.

    It comes to a coordinator and to a participant at once. Healthy messages that are delivered beside it must not
    reach the delivery limit with it: then there were more than these two dead letters.
    """
    coordinator, worker = await stage.coordinator(), await stage.worker()
    orders = mixed(70)
    async with loaded(stage, orders) as load:
        await load.ended(10)
        await send_undecodable(stage, stage.topology.inbox_exchange, inbox_key("o-1"))
        await send_undecodable(stage, stage.topology.commands_exchange, "bank")
    await eventually(lambda: _buried(stage, 2), timeout_s=60, interval_s=0.2)
    for role in (coordinator, worker):
        assert len(role.events("consuming_cautiously")) > 1
    await judge(stage, orders, load.told, dead=2)


async def test_malformed_messages(stage: Stage) -> None:
    """Whatever is wrong with a message, it goes to the dead-letter queue, and the saga that it names is unharmed."""
    coordinator = await stage.coordinator()
    orders = [Placed(f"o-{n}", patient) for n in range(10)]
    inbox = [*replies("o-0"), *bodies("o-0")]
    to_bank = commands("o-0")
    async with loaded(stage, orders) as load:
        await eventually(lambda: len(load.accepted) == len(orders), timeout_s=20)
        before = await stage.store.history("o-0")
        await send(stage, stage.topology.inbox_exchange, inbox_key("o-0"), *inbox)
        await eventually(lambda: _buried(stage, len(inbox)), timeout_s=20)
        assert await stage.store.history("o-0") == before
        await send(stage, stage.topology.commands_exchange, "bank", *to_bank)
        worker = await stage.worker()
        await eventually(lambda: _buried(stage, len(inbox) + len(to_bank)), timeout_s=20)
    found = await dead_letters(stage)
    assert sorted(_reasons(found)) == sorted(_expected(inbox) + _expected(to_bank))
    named = [event["field"] for event in coordinator.events("message_malformed")]
    assert sorted(named) == sorted(message.field or _limit(message) for message in inbox)
    refused = [event["field"] for event in worker.events("command_dead_lettered")]
    assert sorted(refused) == sorted(message.field or _limit(message) for message in to_bank)
    await judge(stage, orders, load.told, dead=len(inbox) + len(to_bank))


async def test_what_cannot_be_sent(stage: Stage) -> None:
    """A message that makes us say what no broker can carry keeps nobody waiting but its sender."""
    coordinator = await stage.coordinator()
    await stage.worker()
    orders = [Placed(f"o-{n}", patient) for n in range(20)]
    shards = sorted({inbox_key(placed.saga_id) for placed in orders})
    queue = stage.topology.client_queue("wild")
    async with stage.channel() as channel:
        await channel.queue_declare(queue, exclusive=True)
        async with loaded(stage, orders) as load:
            for shard in shards:
                # It is malformed, and can't be copied for the dead-letter queue either: the broker moves it as it is.
                await send_uncopyable(stage, stage.topology.inbox_exchange, shard, replies("o-0")[0].headers)
                # It is in order, and the answer would have to repeat an id that is too long for an answer.
                await send(stage, stage.topology.inbox_exchange, shard, watch("nobody", queue))
            await send_uncopyable(stage, stage.topology.commands_exchange, "bank", commands("o-0")[0].headers)
    await eventually(lambda: len(coordinator.events("message_refused")) == 2 * len(shards))
    await judge(stage, orders, load.told, dead=len(shards) + 1)


def _reasons(letters: dict[str, dict[str, Any]]) -> list[str]:
    """Our own reason's field where there is one, else the broker's."""
    return [
        headers[REASON].partition(":")[0] if REASON in headers else headers["x-death"][0]["reason"]
        for headers in letters.values()
    ]


def _expected(messages: list[Malformed]) -> list[str]:
    return ["rejected" if each.field is None else each.field for each in messages]


def _limit(message: Malformed) -> str:
    return "headers" if message.name == "too-many-headers" else "body"


async def _buried(stage: Stage, count: int) -> bool:
    return (await stage.depths(stage.topology.dead_queue)).get(stage.topology.dead_queue, 0) == count
