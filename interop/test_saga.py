"""A saga of a participant in Python and one in JavaScript, every command of which comes twice.

Not a part of `make test`: it needs npm, and a registry. `make interop` runs it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from countermand.coordinator.runtime import running
from countermand.participants import saga as authoring
from countermand.participants.client import Client
from countermand.participants.context import Context
from countermand.participants.errors import Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.participant import Participant
from countermand.participants.saga import Saga, saga, step
from countermand.schemas.contract import Command
from countermand.schemas.topology import Binding, Declarations, Queue, Topology
from countermand.wire import Consumer, Message, Publisher
from node_bank import NodeBank
from support import DevelopmentServer, RabbitServer, RedisServer, eventually
from system.world import settings

Broker = DevelopmentServer | RabbitServer
OUTCOME_S = 20.0


class Order(msgspec.Struct, frozen=True):
    id: str
    amount: int
    stumbles: bool = False
    too_heavy: bool = False


class Reserved(msgspec.Struct, frozen=True):
    reservation: str


class Paid(msgspec.Struct, frozen=True):
    payment: str
    amount: int


class Reserve(Command[Reserved], participant="shop"):
    order: str


class Pay(Command[Paid], participant="bank"):
    amount: int
    stumbles: bool


class Send(Command[None], participant="shop"):
    too_heavy: bool


RETRY = authoring.Retry(attempts=5, backoff="20ms", backoff_max="1s")


@saga("interop", version=1, deadline="60s")
def purchase(order: Order) -> Paid:
    step(Reserve(order=order.id), retry=RETRY)
    paid = step(Pay(amount=order.amount, stumbles=order.stumbles), retry=RETRY)
    step(Send(too_heavy=order.too_heavy), retry=RETRY)
    return Paid(payment=paid.payment, amount=paid.amount)


class Shop:
    """The participant in Python, and what it did: by key, done and not undone."""

    def __init__(self) -> None:
        self.stands: Counter[str] = Counter()
        self.participant = Participant("shop", inbox=MemoryInbox())

        @self.participant.handles(Reserve)
        async def reserve(command: Reserve, context: Context) -> Reserved:
            self.stands[context.key] += 1
            return Reserved(f"r-{command.order}")

        @self.participant.compensates(Reserve)
        async def release(command: Reserve, reserved: Reserved | None, context: Context) -> None:
            self.stands[context.key] -= 1

        @self.participant.handles(Send)
        async def send(command: Send, context: Context) -> None:
            if command.too_heavy:
                raise Rejected("too_heavy")
            self.stands[context.key] += 1

        @self.participant.compensates(Send)
        async def call_back(command: Send, sent: None, context: Context) -> None:
            self.stands[context.key] -= 1


@asynccontextmanager
async def every_command_twice(amqp_url: str, topology: Topology) -> AsyncIterator[Counter[str]]:
    """Copies what goes to the bank, by way of a queue that gets the same; what was copied, by direction."""
    copies = f"{topology.prefix}.copies"
    declarations = topology.common() + Declarations(
        queues=(Queue(copies, topology.quorum_arguments()),),
        bindings=(Binding(topology.commands_exchange, copies, "bank"),),
    )
    consumer = Consumer(amqp_url, name="copier-in", queues=[copies], prefetch=100, declarations=declarations)
    publisher = Publisher(amqp_url, name="copier-out", declarations=declarations)
    copied: Counter[str] = Counter()

    async def copy() -> None:
        while True:
            deliveries = await consumer.next_batch(100)
            # Straight to the queue: through the exchange it would come by here again.
            again = [
                Message("", topology.participant_queue("bank"), each.body, dict(each.headers))  # type: ignore[arg-type]
                for each in deliveries
            ]
            await publisher.publish(again)
            await consumer.acknowledge(deliveries)
            copied.update(str(each.headers["ce-sagadirection"]) for each in deliveries)

    await consumer.start()
    await publisher.start()
    await consumer.wait_ready(20)
    copying = asyncio.create_task(copy())
    try:
        yield copied
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)
        await consumer.close()
        await publisher.close()


class Market:
    """Everybody at work."""

    def __init__(self, client: Client, bank: NodeBank, shop: Shop, copied: Counter[str]) -> None:
        self.client, self.bank, self.shop, self.copied = client, bank, shop, copied


@pytest.fixture
async def market(broker: Broker, redis_server: RedisServer, namespace: str, node_folder: Path) -> AsyncIterator[Market]:
    topology, shop = Topology(namespace), Shop()
    definition: Saga[Order, Paid] = purchase
    async with (
        running(settings(broker.amqp_url, redis_server.url, namespace)),
        NodeBank.running(node_folder, broker.amqp_url, namespace) as bank,
        shop.participant.running(broker.amqp_url, topology=topology, drain_s=1.0),
        every_command_twice(broker.amqp_url, topology) as copied,
        Client(broker.amqp_url, topology=topology, watch_interval_s=1.0) as client,
    ):
        await client.register(definition)
        yield Market(client, bank, shop, copied)


async def test_it_completes(market: Market) -> None:
    """The result of the step in JavaScript is the saga's; its stumble is tried again; each effect is there once."""
    handle = await market.client.start(purchase, Order("o-1", 7, stumbles=True), saga_id="s-1")
    outcome = await handle.outcome(timeout_s=OUTCOME_S)
    assert (outcome.phase, outcome.result) == ("completed", Paid("p-s-1/pay", 7))
    await eventually(lambda: market.copied["do"] >= 1)
    assert market.bank.effects("s-1/pay") == ["do"]
    assert market.shop.stands == {"s-1/reserve": 1, "s-1/send": 1}


async def test_its_rejection_turns_the_saga_back(market: Market) -> None:
    """What was done in Python before is undone."""
    handle = await market.client.start(purchase, Order("o-2", 1_000), saga_id="s-2")
    outcome = await handle.outcome(timeout_s=OUTCOME_S)
    assert outcome.phase == "compensated"
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.step) == ("insufficient_funds", "pay")
    assert market.bank.effects("s-2/pay") == []
    assert market.shop.stands == {"s-2/reserve": 0}


async def test_it_compensates(market: Market) -> None:
    """A rejection in Python undoes what was done in JavaScript, once, with the result on record there."""
    handle = await market.client.start(purchase, Order("o-3", 9, too_heavy=True), saga_id="s-3")
    outcome = await handle.outcome(timeout_s=OUTCOME_S)
    assert outcome.phase == "compensated"
    await eventually(lambda: market.copied["undo"] >= 1)
    assert market.bank.effects("s-3/pay") == ["do", "undo"]
    (undone,) = (each for each in market.bank.told if each.get("direction") == "undo")
    assert undone["result"] == {"payment": "p-s-3/pay", "amount": 9}
    assert market.shop.stands["s-3/reserve"] == 0
