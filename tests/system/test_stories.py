"""Sagas from beginning to end on a real RabbitMQ and a real Redis, told step by step."""

import msgspec
import pytest

from countermand.coordinator.core.journal import AttemptFailed, ReplyIgnored, SagaStuck
from countermand.coordinator.runtime import Coordinator, running
from countermand.participants.client import Client
from countermand.schemas.envelope import write_reply
from countermand.schemas.messages import Failed, Rejected, Succeeded
from support import RabbitServer, RedisServer, eventually

from .world import Order, Receipt, Shop, Wire, reply_to, sale, settings, trade


async def entries(coordinator: Coordinator, saga_id: str) -> list[object]:
    return [record.entry for record in await coordinator.store.history(saga_id)]


async def ignored(coordinator: Coordinator, saga_id: str) -> list[str]:
    return [each.why for each in await entries(coordinator, saga_id) if isinstance(each, ReplyIgnored)]


async def test_happy(coordinator: Coordinator, client: Client, shop: Shop) -> None:
    """Every step is done once, and the client gets the typed result."""
    definition = trade()
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    outcome = await handle.outcome(timeout_s=20)
    assert (outcome.phase, outcome.result) == ("completed", Receipt("o-1", "p-1"))
    assert shop.effects == {(f"o-1/{name}", "do"): 1 for name in ("reserve", "pay", "quote", "ship")}


async def test_rejected(coordinator: Coordinator, client: Client, shop: Shop) -> None:
    """A business no undoes what was done before it, and says which step refused and why."""
    definition = trade()
    await client.register(definition)
    handle = await client.start(definition, Order("o-1", {"ship": "rejects"}), saga_id="o-1")
    outcome = await handle.outcome(timeout_s=20)
    assert outcome.phase == "compensated"
    assert outcome.failure is not None
    assert (outcome.failure.step, outcome.failure.code) == ("ship", "unwilling")
    assert [shop.net("o-1", name) for name in ("reserve", "pay", "ship")] == [0, 0, 0]
    assert shop.effects["o-1/reserve", "undo"] == 1


async def test_failed_then_well(coordinator: Coordinator, client: Client, shop: Shop) -> None:
    """A failure that passes costs another attempt, and nothing else."""
    definition = trade()
    await client.register(definition)
    handle = await client.start(definition, Order("o-1", {"pay": "fails once"}), saga_id="o-1")
    assert (await handle.outcome(timeout_s=20)).phase == "completed"
    assert shop.most() == 1


async def test_timed_out(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """A step that is never answered is tried again, then counts as unknown and is compensated like done."""
    definition = trade(timeout="150ms", attempts=2)
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    await wire.go_on("reserve", "quote")
    first = await wire.command("pay", attempt=1)
    second = await wire.command("pay", attempt=2)
    assert first.key == second.key
    assert first.command_id != second.command_id
    await wire.go_on("pay", "reserve", direction="undo")
    outcome = await handle.outcome(timeout_s=20)
    assert outcome.phase == "compensated"
    assert outcome.failure is not None
    assert (outcome.failure.step, outcome.failure.code) == ("pay", "timed_out")


async def test_deadline_passed(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """When the saga's deadline passes before its pivot, everything is undone, also what is still out."""
    definition = trade(deadline="400ms")
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    await wire.go_on("reserve")
    await wire.command("pay")
    await wire.go_on("pay", "reserve", direction="undo")
    outcome = await handle.outcome(timeout_s=20)
    assert outcome.phase == "compensated"
    assert outcome.failure is not None
    assert outcome.failure.code == "deadline"


async def test_deadline_waits_for_the_pivot(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """Past the point of no return the deadline can't turn the saga: it goes on to its end."""
    definition = sale(deadline="400ms")
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    await wire.go_on("reserve", "pay")
    capture = await wire.command("capture")

    async def deferred() -> bool:
        (loaded,) = await coordinator.store.load(["o-1"])
        return loaded is not None and loaded.saga.state.turn is not None

    await eventually(deferred)
    await wire.reply(capture)
    await wire.go_on("ship")
    assert (await handle.outcome(timeout_s=20)).phase == "completed"


async def test_duplicate_and_reordered_replies(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """Replies that come three times and in the wrong order change nothing."""
    definition = trade()
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    reserve = await wire.command("reserve")
    await wire.reply(reserve, times=3)
    pay, quote = await wire.command("pay"), await wire.command("quote")
    await wire.reply(quote)
    await wire.reply(reserve, Failed("late"), times=2)
    await wire.reply(pay, times=3)
    ship = await wire.command("ship")
    await wire.reply(pay)
    await wire.reply(ship, times=2)
    assert (await handle.outcome(timeout_s=20)).phase == "completed"
    await eventually(lambda: _count(coordinator, "o-1", 8))
    assert set(await ignored(coordinator, "o-1")) == {"duplicate", "late"}
    assert wire.waiting() == []


async def _count(coordinator: Coordinator, saga_id: str, number: int) -> bool:
    return len(await ignored(coordinator, saga_id)) == number


async def test_late_reply(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """A success that comes while its own compensation is out is a fact, and moves nothing."""
    definition = trade(timeout="150ms", attempts=1)
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    reserve = await wire.command("reserve")
    undo = await wire.command("reserve", "undo")
    assert msgspec.json.decode(undo.body)["result"] is None
    await wire.reply(reserve)
    await eventually(lambda: _count(coordinator, "o-1", 1))
    await wire.reply(undo)
    assert (await handle.outcome(timeout_s=20)).phase == "compensated"
    assert await ignored(coordinator, "o-1") == ["late"]


async def test_late_success_reaches_its_compensation(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """A result that comes before its compensation is asked for is passed on to it."""
    definition = trade(timeout="300ms", attempts=1)
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    await wire.go_on("reserve", "pay", "quote")
    ship = await wire.command("ship")
    undo_ship = await wire.command("ship", "undo")
    await wire.reply(ship, Failed("too late"))
    await wire.reply(undo_ship)
    undo_pay = await wire.command("pay", "undo")
    assert msgspec.json.decode(undo_pay.body)["result"] == {"payment": "p-1"}
    await wire.reply(undo_pay)
    await wire.go_on("reserve", direction="undo")
    assert (await handle.outcome(timeout_s=20)).phase == "compensated"


async def test_compensation_before_its_action(coordinator: Coordinator, client: Client, shop: Shop) -> None:
    """A compensation that overtakes its action succeeds, and the action is refused when it comes at last."""
    definition = trade(timeout="200ms", attempts=1)
    await client.register(definition)
    handle = await client.start(definition, Order("o-1", {"pay": "hangs once"}), saga_id="o-1")
    # The handler hangs inside the barrier until the saga has given it up; the undo has to wait for it to end.
    await eventually(lambda: _failed(coordinator, "o-1", "pay"))
    shop.open.set()
    assert (await handle.outcome(timeout_s=20)).phase == "compensated"
    await eventually(lambda: shop.net("o-1", "pay") == 0 and shop.net("o-1", "reserve") == 0)
    assert shop.most() == 1


async def _failed(coordinator: Coordinator, saga_id: str, step: str) -> bool:
    found = await entries(coordinator, saga_id)
    return any(isinstance(each, AttemptFailed) and each.step == step for each in found)


async def test_late_action_is_refused(
    coordinator: Coordinator, client: Client, rabbitmq: RabbitServer, namespace: str, wire: Wire
) -> None:
    """An action that arrives after its compensation is refused by the barrier, and has no effect."""
    definition = trade(timeout="150ms", attempts=1)
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    action = await wire.command("reserve")
    undo = await wire.command("reserve", "undo")
    shop = Shop(rabbitmq.amqp_url, namespace)
    stock = shop.participant("stock")
    null_undo = await stock.handle(undo)
    late = await stock.handle(msgspec.structs.replace(action, deadline_ms=10**15))
    assert isinstance(null_undo.outcome, Succeeded)
    assert isinstance(late.outcome, Rejected)
    assert shop.effects == {}
    await wire.send("o-1", write_reply(late), write_reply(null_undo))
    assert (await handle.outcome(timeout_s=20)).phase == "compensated"


async def test_forged_reply(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """A reply that does not know the command's secret, or comes from somebody else, completes nothing."""
    definition = trade()
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    reserve = await wire.command("reserve")
    good = reply_to(reserve, Succeeded(msgspec.Raw(b'{"reservation":"r-1"}')))
    forged = [
        msgspec.structs.replace(good, command_id="0" * 32),
        msgspec.structs.replace(good, participant="bank"),
        msgspec.structs.replace(good, step="pay"),
        msgspec.structs.replace(good, step="no_such_step"),
        msgspec.structs.replace(good, command_id="0" * 32, saga_version=1_000),
    ]
    await wire.send("o-1", *(write_reply(each) for each in forged))
    await eventually(lambda: _count(coordinator, "o-1", len(forged)))
    assert await ignored(coordinator, "o-1") == ["forged"] * len(forged)
    await wire.reply(reserve)
    await wire.go_on("pay", "quote", "ship")
    assert (await handle.outcome(timeout_s=20)).phase == "completed"


async def test_state_lost(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """A reply to a command that the store has forgotten puts the saga on hold instead of going on blindly."""
    definition = trade()
    await client.register(definition)
    await client.start(definition, Order("o-1"), saga_id="o-1")
    reserve = await wire.command("reserve")
    reply = msgspec.structs.replace(reply_to(reserve, Succeeded()), saga_version=reserve.saga_version + 1)
    await wire.send("o-1", write_reply(reply))

    async def stuck() -> bool:
        (loaded,) = await coordinator.store.load(["o-1"])
        return loaded is not None and loaded.saga.state.stuck is not None

    await eventually(stuck)
    found = await entries(coordinator, "o-1")
    assert isinstance(found[-1], SagaStuck)
    assert found[-1].cause == "state_lost"


async def test_compensation_exhausted(coordinator: Coordinator, client: Client, wire: Wire) -> None:
    """A compensation that fails for good makes the saga stuck with a cause; a late success frees it."""
    definition = trade(undo_attempts=2)
    await client.register(definition)
    handle = await client.start(definition, Order("o-1"), saga_id="o-1")
    await wire.go_on("reserve", "quote")
    await wire.reply(await wire.command("pay"), Rejected("broke"))
    first = await wire.command("reserve", "undo", attempt=1)
    await wire.reply(first, Failed("down"))
    await wire.reply(await wire.command("reserve", "undo", attempt=2), Failed("down"))

    async def stuck() -> str | None:
        (loaded,) = await coordinator.store.load(["o-1"])
        return loaded.saga.state.stuck.cause if loaded and loaded.saga.state.stuck else None

    assert await eventually(stuck) == "compensation_exhausted"
    await wire.reply(first)
    assert (await handle.outcome(timeout_s=20)).phase == "compensated"


async def test_two_coordinators(
    coordinator: Coordinator,
    client: Client,
    shop: Shop,
    rabbitmq: RabbitServer,
    redis_server: RedisServer,
    namespace: str,
) -> None:
    """Two coordinators share the same sagas, each event taken by either, without a lock and without a double effect."""
    definition = trade()
    await client.register(definition)
    async with running(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as other:
        handles = [await client.start(definition, Order(f"o-{n}"), saga_id=f"o-{n}") for n in range(40)]
        outcomes = [await handle.outcome(timeout_s=30) for handle in handles]
        assert {outcome.phase for outcome in outcomes} == {"completed"}
        assert shop.most() == 1
        assert coordinator.counters["commits"] > 0
        assert other.counters["commits"] > 0


async def test_start_is_idempotent(coordinator: Coordinator, client: Client, shop: Shop) -> None:
    """The same id with the same content is answered, not repeated; with other content it is refused."""
    from countermand.participants.client import StartRefused

    definition = trade()
    await client.register(definition)
    first = await client.start(definition, Order("o-1"), saga_id="o-1")
    await first.outcome(timeout_s=20)
    again = await client.start(definition, Order("o-1"), saga_id="o-1")
    assert (await again.outcome(timeout_s=20)).phase == "completed"
    with pytest.raises(StartRefused, match="other"):
        await client.start(definition, Order("o-2"), saga_id="o-1")
    assert shop.most() == 1
