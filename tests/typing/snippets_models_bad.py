"""Mistakes with dataclasses and models as contracts that a type checker must find; see `snippets_bad`."""

from dataclasses import dataclass

from pydantic import BaseModel

from countermand.participants import Context, Participant
from countermand.participants.client import Client
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import Saga, saga, step
from countermand.schemas import ResultsIn, command


class Order(BaseModel):
    id: str
    total: float


class Reserved(BaseModel):
    id: str


@command(participant="inventory")
class ReserveStock(BaseModel, ResultsIn[Reserved]):
    order_id: str


@command(participant="inventory")
@dataclass
class Forget(ResultsIn[None]):
    order_id: str


class Undeclared(BaseModel):
    order_id: str


@saga("order", version=1)
def wrong_fields(order: Order) -> Reserved:
    step(ReserveStock(order_id=order.total))  # type: ignore[arg-type]
    step(ReserveStock(order=order.id))  # type: ignore[call-arg]
    step(ReserveStock(order_id=order.number))  # type: ignore[attr-defined]
    step(Forget(order_id=order.total))  # type: ignore[arg-type]
    step(Undeclared(order_id=order.id))  # type: ignore[arg-type]
    stock = step(ReserveStock(order_id=order.id))
    return stock.id  # type: ignore[return-value]


inventory = Participant("inventory", inbox=MemoryInbox())


@inventory.handles(ReserveStock)  # type: ignore[arg-type]
async def wrong_command(command: Forget, context: Context) -> Reserved:
    return Reserved(id=command.order_id)


@inventory.handles(Forget)  # type: ignore[arg-type]
async def wrong_result(command: Forget, context: Context) -> Reserved:
    return Reserved(id=command.order_id)


@inventory.probes(ReserveStock)  # type: ignore[arg-type]
async def wrong_finding(command: ReserveStock, context: Context) -> bool:
    return bool(command.order_id)


inventory.handles(Undeclared)  # type: ignore[type-var]


async def wrong_input(client: Client, reserve: Saga[Order, Reserved]) -> str:
    await client.start(reserve, Reserved(id="1"))  # type: ignore[misc]
    handle = await client.start(reserve, Order(id="1", total=2.0))
    outcome = await handle.outcome()
    return outcome.result.id  # type: ignore[union-attr]
