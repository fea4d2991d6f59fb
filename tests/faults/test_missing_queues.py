"""A publish to nowhere is loud: what somebody has deleted on the broker is noticed, declared again, and sent again."""

from aiormq.exceptions import ChannelNotFoundEntity

from faults.judge import judge
from faults.load import loaded
from faults.orders import Placed, insistent, patient
from faults.stage import Stage
from support import eventually


async def test_queue_of_an_absent_participant_deleted(stage: Stage) -> None:
    """Commands for a participant that is down, and whose queue is gone, wait for it in a new queue."""
    coordinator = await stage.coordinator()
    await stage.worker("stock", "carrier")
    orders = [Placed(f"o-{n}", patient) for n in range(40)]
    bank = stage.topology.participant_queue("bank")
    async with loaded(stage, orders, before=lambda: _delete(stage, bank)) as load:
        await eventually(lambda: _waiting(stage, bank, len(orders)), timeout_s=30)
        missing = coordinator.events("participant_queue_missing")
        assert {event["participant"] for event in missing} == {"bank"}
        assert {event["level"] for event in missing} == {"error"}
        await stage.worker("bank")
    # None of them cost an attempt.
    assert coordinator.events("command_unroutable") == []
    await judge(stage, orders, load.told)


async def test_binding_removed(stage: Stage) -> None:
    """The same where the queue is there and nothing leads to it any more."""
    coordinator = await stage.coordinator()
    await stage.worker()
    orders = [Placed(f"o-{n}", patient) for n in range(40)]

    async def unbind() -> None:
        async with stage.channel() as channel:
            bank = stage.topology.participant_queue("bank")
            await channel.queue_unbind(bank, stage.topology.commands_exchange, "bank")

    async with loaded(stage, orders, before=unbind) as load:
        pass
    assert coordinator.events("participant_queue_missing")
    await judge(stage, orders, load.told)


async def test_commands_lost_with_their_queue(stage: Stage) -> None:
    """Commands that were in the queue when it was deleted are asked again when their time is up."""
    coordinator = await stage.coordinator()
    await stage.worker("stock", "carrier")
    orders = [Placed(f"o-{n}", insistent) for n in range(20)]
    bank = stage.topology.participant_queue("bank")
    async with loaded(stage, orders) as load:
        await eventually(lambda: _waiting(stage, bank, len(orders)), timeout_s=30)
        await _delete(stage, bank)
        await eventually(lambda: _waiting(stage, bank, len(orders)), timeout_s=30)
        await stage.worker("bank")
    assert coordinator.events("participant_queue_missing")
    await judge(stage, orders, load.told)


async def test_exchange_of_the_commands_deleted(stage: Stage) -> None:
    """Without their exchange commands go nowhere and cost the channel; the next channel declares it again."""
    coordinator = await stage.coordinator()
    await stage.worker()
    orders = [Placed(f"o-{n}", patient) for n in range(60)]
    async with loaded(stage, orders, in_flight=20) as load:
        await load.ended(10)
        async with stage.channel() as channel:
            await channel.exchange_delete(stage.topology.commands_exchange)
    assert coordinator.events("publish_unconfirmed")
    await judge(stage, orders, load.told)


async def test_exchange_of_the_replies_deleted(stage: Stage) -> None:
    """A reply that goes nowhere is sent again by its participant, which has not let go of the command."""
    # A client that asks meanwhile would declare the exchange again before a participant has to.
    stage.watch_interval_s = 60.0
    await stage.coordinator()
    worker = await stage.worker()
    orders = [Placed(f"o-{n}", patient, {"ship": "waits"}) for n in range(60)]
    async with loaded(stage, orders, in_flight=len(orders)) as load:
        await eventually(lambda: len(load.accepted) == len(orders), timeout_s=30)
        await load.retries_awaited(10)
        async with stage.channel() as channel:
            await channel.exchange_delete(stage.topology.inbox_exchange)
    assert worker.events("replies_not_confirmed")
    await judge(stage, orders, load.told)


async def test_inbox_of_the_coordinators_deleted(stage: Stage) -> None:
    """Replies that were in the coordinator inbox when it was deleted are asked for again when their time is up."""
    coordinator = await stage.coordinator()
    await stage.worker()
    orders = [Placed(f"o-{n}", insistent) for n in range(60)]
    async with loaded(stage, orders, in_flight=20) as load:
        await load.ended(10)
        async with stage.channel() as channel:
            for queue in stage.inbox_queues:
                await channel.queue_delete(queue)
    assert coordinator.events("consumer_cancelled")
    await judge(stage, orders, load.told)


async def _delete(stage: Stage, queue: str) -> None:
    async with stage.channel() as channel:
        await channel.queue_delete(queue)


async def _waiting(stage: Stage, queue: str, count: int) -> bool:
    """Whether at least so many messages wait in the queue; not before it is there."""
    try:
        return (await stage.depths(queue)).get(queue, 0) >= count
    except ChannelNotFoundEntity:
        return False
