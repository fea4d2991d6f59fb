"""The saga in countermand: its participant and its client. The coordinator is `countermand serve`.

python -m benchmarks.product participant|client AMQP_URL REDIS_URL NAMESPACE
"""

import asyncio
import logging
import sys

import msgspec
import structlog
from benchmarks.shape import CONCURRENCY, READY, Line, Order, Receipt, obey, order

from countermand.participants.client import Client
from countermand.participants.context import Context
from countermand.participants.inboxes.redis import RedisInbox
from countermand.participants.participant import Participant
from countermand.participants.saga import saga, step
from countermand.schemas.contract import Command
from countermand.schemas.errors import CountermandError
from countermand.schemas.topology import Topology

OUTCOME_TIMEOUT_S = 60.0


class Reserved(msgspec.Struct, frozen=True):
    reservation: str


class Charged(msgspec.Struct, frozen=True):
    payment: str


class Shipped(msgspec.Struct, frozen=True):
    tracking: str


class Reserve(Command[Reserved], participant="shop"):
    order: str
    lines: tuple[Line, ...]


class Charge(Command[Charged], participant="shop"):
    customer: str
    amount_cents: int
    reservation: str


class Ship(Command[Shipped], participant="shop"):
    order: str
    address: str


@saga("bench-order", version=1, deadline="10m")
def fulfil(order: Order) -> Receipt:
    """Reserve, charge, ship."""
    reserved = step(Reserve(order=order.id, lines=order.lines), timeout="1m")
    charged = step(
        Charge(customer=order.customer, amount_cents=order.total_cents, reservation=reserved.reservation), timeout="1m"
    )
    shipped = step(Ship(order=order.id, address=order.address), timeout="1m")
    return Receipt(order=order.id, payment=charged.payment, tracking=shipped.tracking)


def shop(inbox: RedisInbox) -> Participant:
    """The one participant, with a compensation for each action, which nothing here ever calls for."""
    participant = Participant("shop", inbox=inbox, concurrency=CONCURRENCY)

    @participant.handles(Reserve)
    async def reserve(command: Reserve, context: Context) -> Reserved:
        return Reserved(f"reservation-{command.order}")

    @participant.compensates(Reserve)
    async def release(command: Reserve, reserved: Reserved | None, context: Context) -> None: ...

    @participant.handles(Charge)
    async def charge(command: Charge, context: Context) -> Charged:
        return Charged(f"payment-{command.reservation}")

    @participant.compensates(Charge)
    async def refund(command: Charge, charged: Charged | None, context: Context) -> None: ...

    @participant.handles(Ship)
    async def ship(command: Ship, context: Context) -> Shipped:
        return Shipped(f"tracking-{command.order}")

    @participant.compensates(Ship)
    async def call_back(command: Ship, shipped: Shipped | None, context: Context) -> None: ...

    return participant


async def participate(amqp_url: str, redis_url: str, namespace: str) -> None:
    """Handles commands until standard input ends."""
    inbox = RedisInbox.connect(redis_url, prefix=namespace)
    async with shop(inbox).running(amqp_url, topology=Topology(namespace)):
        print(READY, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await inbox.close()


async def place(amqp_url: str, namespace: str) -> None:
    """Starts sagas and waits for their outcomes."""
    async with Client(amqp_url, topology=Topology(namespace)) as client:

        async def run_saga(saga_id: str) -> bool:
            try:
                handle = await client.start(fulfil, order(saga_id), saga_id=saga_id)
                outcome = await handle.outcome(OUTCOME_TIMEOUT_S)
            except CountermandError:
                return False
            return outcome.completed and outcome.result is not None

        await client.register(fulfil)
        await obey(run_saga)


async def main(role: str, amqp_url: str, redis_url: str, namespace: str) -> None:
    """Runs one of the two processes until its standard input ends."""
    # Standard output is for the report; what goes wrong is told on standard error.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    if role == "client":
        await place(amqp_url, namespace)
    else:
        await participate(amqp_url, redis_url, namespace)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
