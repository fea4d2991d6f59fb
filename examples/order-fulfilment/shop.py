"""The shop: places orders, waits for each to end, and says so.

    python shop.py --amqp amqp://…

It prints a line of JSON for everything that happens, for whoever watches:

    {"placing": "order-0001"}
    {"ended": {"saga_id": "order-0001", "phase": "completed", "result": {…}, "failure": null}}

It may be killed and started again like everybody else: the same order is the same saga.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from contracts import Order
from saga import fulfil

from countermand.participants.client import Client
from countermand.schemas.topology import DEFAULT_PREFIX, Topology

ORDERS = Path(__file__).with_name("orders.jsonl")
# As many customers wait at a time.
IN_FLIGHT = 24


Tell = Callable[[dict[str, Any]], None]


async def place_all(client: Client, orders: list[Order], tell: Tell) -> None:
    """Returns when every order has ended; `tell` hears of everything that happens."""
    await client.register(fulfil)
    places = asyncio.Semaphore(IN_FLIGHT)
    async with asyncio.TaskGroup() as customers:
        for order in orders:
            customers.create_task(place(client, order, places, tell))


async def place(client: Client, order: Order, places: asyncio.Semaphore, tell: Tell) -> None:
    async with places:
        tell({"placing": order.id})
        # An impatient customer clicks twice. It is the same order, so it is the same saga.
        clicks = 2 if order.id.endswith("0") else 1
        handle, *_ = await asyncio.gather(*(client.start(fulfil, order, saga_id=order.id) for _ in range(clicks)))
        tell({"ended": await handle.outcome()})


def orders_of(path: Path, count: int | None = None) -> list[Order]:
    return [msgspec.json.decode(line, type=Order) for line in path.read_bytes().splitlines()[:count]]


def print_line(what: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


async def main() -> None:
    parser = argparse.ArgumentParser(description="The shop of the order fulfilment example.")
    environment = os.environ.get
    parser.add_argument("--amqp", metavar="URL", default=environment("COUNTERMAND_AMQP_URL", "amqp://127.0.0.1/"))
    parser.add_argument("--prefix", metavar="NAME", default=environment("COUNTERMAND_PREFIX", DEFAULT_PREFIX))
    parser.add_argument("--orders", type=int, metavar="COUNT", help="how many of the orders to place (default: all)")
    arguments = parser.parse_args()
    # Standard output is for whoever watches.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    async with Client(arguments.amqp, topology=Topology(arguments.prefix), name="shop") as client:
        await place_all(client, orders_of(ORDERS, arguments.orders), print_line)


if __name__ == "__main__":
    asyncio.run(main())
