"""What both systems have in common: the business that is done, and how their processes are driven.

A saga of three steps, one after another: reserve stock, charge a card, ship. The participant answers at once, so what
is measured is what it costs to move a saga along and not what it costs to do something.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec

READY = "ready"
# An orchestrator or a participant may have this many messages in work at once, in both systems.
CONCURRENCY = 200


class Line(msgspec.Struct, frozen=True):
    """One line of an order."""

    sku: str
    quantity: int


class Order(msgspec.Struct, frozen=True):
    """What a saga is started with."""

    id: str
    customer: str
    lines: tuple[Line, ...]
    total_cents: int
    address: str


class Receipt(msgspec.Struct, frozen=True):
    """What a saga comes to."""

    order: str
    payment: str
    tracking: str


class Load(msgspec.Struct, frozen=True):
    """Asks a client to carry so many sagas through, at most `in_flight` of them at a time."""

    sagas: int
    in_flight: int


class Carried(msgspec.Struct, frozen=True):
    """What a client reports: how long it took altogether, how long each saga took, and how many of them failed."""

    seconds: float
    latencies_ms: list[float]
    failed: int


def order(order_id: str) -> Order:
    """An order like any other, some 200 bytes of JSON."""
    lines = (Line("chair-oak-natural", 4), Line("table-oak-180", 1))
    return Order(order_id, "customer-4711", lines, 129_900, "12 Long Lane, 04109 Leipzig")


async def obey(run_saga: Callable[[str], Awaitable[bool]]) -> None:
    """Carries the loads that come over standard input, one per line, and reports each on standard output.

    `run_saga` starts the saga with this id, waits for its outcome and says whether it completed. Ends with the input.
    """
    print(READY, flush=True)
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        load = msgspec.json.decode(line, type=Load)
        number += 1
        carried = await _carry(load, run_saga, prefix=f"order-{number}")
        print(msgspec.json.encode(carried).decode(), flush=True)


async def _carry(load: Load, run_saga: Callable[[str], Awaitable[bool]], *, prefix: str) -> Carried:
    ids = iter(f"{prefix}-{index}" for index in range(load.sagas))
    latencies_ms: list[float] = []
    failed = 0

    async def carry_one_after_another() -> None:
        nonlocal failed
        for saga_id in ids:
            begun = time.perf_counter()
            failed += not await run_saga(saga_id)
            latencies_ms.append(1000 * (time.perf_counter() - begun))

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as carriers:
        for _ in range(load.in_flight):
            carriers.create_task(carry_one_after_another())
    return Carried(time.perf_counter() - begun, latencies_ms, failed)
