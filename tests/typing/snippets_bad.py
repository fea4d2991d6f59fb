"""Mistakes of users that a type checker must find. An error that is not found is an unused ignore, which fails."""

import msgspec

from countermand.participants.client import Client
from countermand.participants.saga import Saga, saga, step
from countermand.schemas import Command


class Order(msgspec.Struct):
    id: str
    total: float


class Reserved(msgspec.Struct):
    id: str


class ReserveStock(Command[Reserved], participant="inventory"):
    order_id: str


class Forget(Command[None], participant="inventory"):
    order_id: str


@saga("order", version=1)
def wrong_fields(order: Order) -> Reserved:
    step(ReserveStock(order_id=order.total))  # type: ignore[arg-type]
    step(ReserveStock(order=order.id))  # type: ignore[call-arg]
    step(ReserveStock(order_id=order.number))  # type: ignore[attr-defined]
    step(order)  # type: ignore[arg-type]
    step(ReserveStock(order_id=order.id), timeout=5)  # type: ignore[arg-type]
    stock = step(ReserveStock(order_id=order.id))
    return stock.id  # type: ignore[return-value]


async def wrong_input(client: Client, reserve: Saga[Order, Reserved]) -> str:
    handle = await client.start(reserve, Order(id="1", total=2.0))
    outcome = await handle.outcome()
    await client.signal("order-1", Order(id="1", total=2.0))  # type: ignore[arg-type]
    return outcome.result.id  # type: ignore[union-attr]


async def wrong_saga(client: Client, reserve: Saga[Order, Reserved]) -> Saga[Order, None]:
    return reserve  # type: ignore[return-value]
