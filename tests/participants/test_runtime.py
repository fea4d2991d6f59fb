"""A participant on a real RabbitMQ."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from structlog.testing import capture_logs

from countermand.participants import Context, Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.schemas.envelope import write_command
from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.messages import Rejected, Succeeded
from participants.desk import READY_S, Desk
from participants.orders import Reserve, Reserved, command
from support import RabbitServer, eventually

pytestmark = pytest.mark.servers


class Stock:
    """A participant whose handlers wait where they are told to."""

    def __init__(self, inbox: MemoryInbox | None = None, *, concurrency: int = 32) -> None:
        self.inbox = inbox or MemoryInbox()
        self.participant = Participant("inventory", inbox=self.inbox, concurrency=concurrency)
        self.began: list[str] = []
        self.ended: list[str] = []
        # Sagas whose handler waits until its event is set.
        self.held: dict[str, asyncio.Event] = {}
        self.participant.handles(Reserve)(self.reserve)
        self.participant.compensates(Reserve)(self.release)

    async def reserve(self, command: Reserve, context: Context) -> Reserved:
        self.began.append(context.saga_id)
        if context.saga_id in self.held:
            await self.held[context.saga_id].wait()
        self.ended.append(context.saga_id)
        return Reserved(f"r-{context.saga_id}")

    async def release(self, command: Reserve, reserved: Reserved | None, context: Context) -> None:
        self.ended.append(f"undo {context.saga_id}")

    def hold(self, saga_id: str) -> asyncio.Event:
        return self.held.setdefault(saga_id, asyncio.Event())


@pytest.fixture
async def desk(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Desk]:
    async with Desk(rabbitmq.amqp_url, namespace) as desk:
        yield desk


@pytest.fixture
async def own_desk(own_rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Desk]:
    """On a broker that the test may hurt."""
    async with Desk(own_rabbitmq.amqp_url, namespace) as desk:
        yield desk


async def test_a_command_is_answered_and_settled(desk: Desk) -> None:
    """The reply comes to the saga's shard of the coordinator inbox, and nothing is left in the command queue."""
    stock = Stock()
    async with stock.participant.running(desk.amqp_url, topology=desk.topology):
        await desk.send(command())
        reply = await desk.reply_to(command())
    assert reply.outcome == Succeeded(msgspec.Raw(b'{"reservation_id":"r-saga-1","pieces":1}'))
    assert (reply.command_id, reply.saga_version, reply.replayed) == (command().command_id, 3, False)
    assert await desk.waiting(desk.queue) == 0


async def test_the_items_of_a_for_each_are_steps_and_can_be_probed(desk: Desk) -> None:
    """Each has a key of its own; what is asked about one says nothing of the other."""
    stock = Stock()
    done, never = command(step="reserve_stock[0]"), command(step="reserve_stock[1]", direction="probe")
    async with stock.participant.running(desk.amqp_url, topology=desk.topology):
        await desk.send(done, never)
        await desk.reply_to(done)
        probe = command(step="reserve_stock[0]", direction="probe")
        await desk.send(probe)
        found, not_done = await desk.reply_to(probe), await desk.reply_to(never)
    assert isinstance(found.outcome, Succeeded)
    assert (found.step, found.direction, found.replayed) == ("reserve_stock[0]", "probe", True)
    assert isinstance(not_done.outcome, Rejected)
    assert (not_done.step, not_done.key, not_done.outcome.code) == (never.step, never.key, "not_done")


async def test_hundreds_of_commands(desk: Desk) -> None:
    """Each is answered once, many at a time."""
    stock = Stock()
    commands = [command(f"saga-{number}") for number in range(500)]
    async with stock.participant.running(desk.amqp_url, topology=desk.topology) as runtime:
        await desk.send(*commands)
        await eventually(lambda: len(desk.replies) == 500, timeout_s=30)
        await eventually(lambda: runtime.commands_answered == 500)
    assert {reply.command_id for reply in desk.replies} == {asked.command_id for asked in commands}
    assert len(stock.ended) == 500
    assert await desk.waiting(desk.queue) == 0


async def test_a_slow_handler_keeps_nobody_waiting(desk: Desk) -> None:
    """Replies of quick handlers leave while a slow one is still running."""
    stock = Stock()
    slow = stock.hold("slow")
    async with stock.participant.running(desk.amqp_url, topology=desk.topology):
        await desk.send(command("slow"), *(command(f"quick-{number}") for number in range(50)))
        await eventually(lambda: len(desk.replies) == 50)
        assert "slow" not in stock.ended
        slow.set()
        await desk.reply_to(command("slow"))


async def test_no_more_handlers_than_agreed(desk: Desk) -> None:
    """The concurrency is a bound; what is beyond it waits."""
    stock = Stock(concurrency=3)
    sagas = [f"saga-{number}" for number in range(10)]
    gates = [stock.hold(saga_id) for saga_id in sagas]
    async with stock.participant.running(desk.amqp_url, topology=desk.topology) as runtime:
        await desk.send(*(command(saga_id) for saga_id in sagas))
        await eventually(lambda: runtime.handlers_running == 3)
        for gate in gates:
            assert len(stock.began) - len(stock.ended) <= 3
            gate.set()
        await eventually(lambda: len(desk.replies) == 10)


async def test_the_same_attempt_again_while_it_runs(desk: Desk) -> None:
    """A command that is delivered twice runs once, and both deliveries are settled."""
    stock = Stock()
    gate = stock.hold("saga-1")
    async with stock.participant.running(desk.amqp_url, topology=desk.topology):
        await desk.send(command(), command(), command("marker"))
        # The marker came last: both deliveries before it have been taken.
        await desk.reply_to(command("marker"))
        gate.set()
        reply = await desk.reply_to(command())
    assert isinstance(reply.outcome, Succeeded)
    assert stock.began.count("saga-1") == 1
    assert await desk.waiting(desk.queue) == 0


async def test_what_nobody_can_read_is_put_aside(desk: Desk) -> None:
    """Malformed and misdirected messages go to the dead-letter queue; the log names the field, never the content."""
    stock = Stock()
    good = write_command(command("good"))
    bad = [
        msgspec.structs.replace(good, headers={**good.headers, "ce-sagaattempt": "secret"}),
        msgspec.structs.replace(good, headers={**good.headers, "ce-sagakey": "other-saga/reserve_stock"}),
        write_command(command(participant="payments")),
        msgspec.structs.replace(good, body=b"secret" * 100_000),
    ]
    with capture_logs() as logs:
        async with stock.participant.running(desk.amqp_url, topology=desk.topology) as runtime:
            await desk.send_envelopes(*bad, good)
            await desk.reply_to(command("good"))
            await eventually(lambda: runtime.commands_dead_lettered == 4)
    seen = [(entry["field"], entry["saga_id"]) for entry in logs if entry["event"] == "command_dead_lettered"]
    assert seen == [
        ("ce-sagaattempt", "good"),
        ("ce-sagakey", "good"),
        ("ce-sagaparticipant", "saga-1"),
        ("body", "good"),
    ]
    assert "secret" not in repr(logs)
    assert await desk.waiting(desk.topology.dead_queue) == 4
    assert stock.began == ["good"]


async def test_a_reply_without_a_queue_is_sent_until_it_has_one(rabbitmq: RabbitServer, namespace: str) -> None:
    """When somebody deletes the coordinator inbox, it is declared again and the reply waits in it."""
    stock = Stock()
    gate = stock.hold("saga-1")
    async with Desk(rabbitmq.amqp_url, namespace) as desk:
        await desk.send(command())
    # Nobody consumes from here on: the desk would declare its queues again by itself.
    async with stock.participant.running(desk.amqp_url, topology=desk.topology) as runtime:
        await eventually(lambda: stock.began == ["saga-1"])
        for shard in range(4):
            await desk.delete_queue(desk.topology.inbox_queue(shard))
        gate.set()
        await eventually(lambda: runtime.commands_answered == 1)
    async with Desk(rabbitmq.amqp_url, namespace) as desk:
        await desk.reply_to(command())


async def test_a_graceful_stop(desk: Desk) -> None:
    """What runs is finished and answered; what has not begun is left to the next participant."""
    stock = Stock(concurrency=1)
    gate = stock.hold("saga-1")
    running = asyncio.create_task(stock.participant.run(desk.amqp_url, topology=desk.topology))
    await desk.send(command("saga-1"), command("saga-2"), command("saga-3"))
    await eventually(lambda: stock.began == ["saga-1"])
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=0.2)
    assert not done
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    await desk.reply_to(command("saga-1"))
    assert stock.began == ["saga-1"]
    assert await desk.waiting(desk.queue) == 2

    async with stock.participant.running(desk.amqp_url, topology=desk.topology):
        await eventually(lambda: len(desk.replies) == 3)
    assert stock.began.count("saga-1") == 1


async def test_a_drain_has_an_end(desk: Desk) -> None:
    """A handler that doesn't finish is cancelled, and its command stays with the broker."""
    stock = Stock()
    stock.hold("saga-1")
    async with stock.participant.running(desk.amqp_url, topology=desk.topology, drain_s=0.1):
        await desk.send(command())
        await eventually(lambda: stock.began == ["saga-1"])
    assert desk.replies == []
    assert await desk.waiting(desk.queue) == 1

    stock.held.clear()
    async with stock.participant.running(desk.amqp_url, topology=desk.topology):
        assert isinstance((await desk.reply_to(command())).outcome, Succeeded)
    assert stock.ended == ["saga-1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it(desk: Desk, number: signal.Signals) -> None:
    """When asked to, it drains on SIGTERM and on SIGINT, and returns."""
    stock = Stock()
    gate = stock.hold("saga-1")
    running = asyncio.create_task(
        stock.participant.run(desk.amqp_url, topology=desk.topology, install_signal_handlers=True)
    )
    await desk.send(command())
    await eventually(lambda: stock.began == ["saga-1"])
    os.kill(os.getpid(), number)
    gate.set()
    async with asyncio.timeout(20):
        await running
    await desk.reply_to(command())


async def test_a_cancelled_run_drains(desk: Desk) -> None:
    """Who cancels the task gets the same graceful stop."""
    stock = Stock()
    running = asyncio.create_task(stock.participant.run(desk.amqp_url, topology=desk.topology))
    await desk.send(command())
    await desk.reply_to(command())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await desk.waiting(desk.queue) == 0


async def test_a_broker_that_isn_t_there(namespace: str) -> None:
    """It is said at the start, in time, and without the password."""
    with pytest.raises(BrokerUnavailable) as caught:
        async with Stock().participant.running("amqp://guest:hidden@127.0.0.1:1/", ready_s=0.5):
            pass
    assert "hidden" not in str(caught.value)


async def test_nothing_is_acknowledged_before_its_reply_is_confirmed(
    own_desk: Desk, own_rabbitmq: RabbitServer
) -> None:
    """A command whose reply isn't with the broker stays there; the next participant answers it from the record."""
    stock = Stock()
    gate = stock.hold("saga-1")
    running = stock.participant.running(own_desk.amqp_url, topology=own_desk.topology, ready_s=READY_S, drain_s=0)
    with capture_logs() as logs:
        async with memory_alarm(own_rabbitmq) as raise_alarm:
            async with running as runtime:
                await own_desk.send(command())
                await eventually(lambda: stock.began == ["saga-1"])
                await raise_alarm()
                gate.set()
                # The broker tells a connection of its alarm when it publishes: the reply is on its way, unconfirmed.
                await eventually(lambda: not runtime.ready)
                session = runtime._publisher.connection.session
                assert session is not None
                session.end("cut by the test", replace_connection=True)
                await eventually(lambda: "replies_not_confirmed" in {entry["event"] for entry in logs})
            assert (own_desk.replies, runtime.commands_answered) == ([], 0)
            assert await own_desk.waiting(own_desk.queue) == 1
    async with stock.participant.running(own_desk.amqp_url, topology=own_desk.topology, ready_s=READY_S) as runtime:
        await own_desk.reply_to(command(), timeout_s=60)
        await eventually(lambda: runtime.commands_answered == 1)
    assert stock.began == ["saga-1"]
    assert await own_desk.waiting(own_desk.queue) == 0


async def test_a_broker_that_is_killed_while_handlers_run(own_desk: Desk, own_rabbitmq: RabbitServer) -> None:
    """Every command is answered and none runs twice, though all come again."""
    stock = Stock()
    sagas = [f"saga-{number}" for number in range(20)]
    gates = [stock.hold(saga_id) for saga_id in sagas]
    async with stock.participant.running(own_desk.amqp_url, topology=own_desk.topology, ready_s=READY_S) as runtime:
        await own_desk.send(*(command(saga_id) for saga_id in sagas))
        await eventually(lambda: len(stock.began) == 20)
        # A quorum queue's name reaches the disk seconds after its first messages. Killed before, the broker loses it.
        await own_rabbitmq.ctl_async("eval", "[dets:sync(Table) || Table <- dets:all()].")
        await own_rabbitmq.kill_async()
        for gate in gates[:10]:
            gate.set()
        await eventually(lambda: len(stock.ended) == 10)
        await own_rabbitmq.start_async()
        await eventually(lambda: runtime.ready, timeout_s=60)
        for gate in gates[10:]:
            gate.set()
        for saga_id in sagas:
            assert isinstance((await own_desk.reply_to(command(saga_id), timeout_s=60)).outcome, Succeeded)
    assert sorted(stock.began) == sorted(sagas)
    assert await own_desk.waiting(own_desk.queue) == 0


@contextlib.asynccontextmanager
async def memory_alarm(rabbitmq: RabbitServer) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Gives what raises the broker's memory alarm, which stops all publishers, and ends it afterwards."""
    try:
        yield lambda: rabbitmq.ctl_async("set_vm_memory_high_watermark", "0.00001")
    finally:
        await rabbitmq.ctl_async("set_vm_memory_high_watermark", "0.4")
