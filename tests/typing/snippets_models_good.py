"""Users' contracts that are dataclasses or pydantic models, and the types that they must see. Never run."""

from dataclasses import dataclass
from decimal import Decimal
from typing import assert_type

from pydantic import BaseModel, Field

from countermand.participants import Context, Participant
from countermand.participants.client import Client, SagaOutcome
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import Retry, Saga, parallel, pivot, saga, step
from countermand.schemas import ResultsIn, command


class Line(BaseModel):
    sku: str
    count: int = Field(alias="unitCount")


class Order(BaseModel):
    id: str
    total: Decimal
    lines: list[Line]


@dataclass(frozen=True)
class Reserved:
    reservation_id: str


@command(participant="inventory")
class ReserveStock(BaseModel, ResultsIn[Reserved]):
    order_id: str
    lines: list[Line]


class Payment(BaseModel):
    id: str


@command(participant="payments", name="charge", compensatable=False, because="an authorisation lapses")
@dataclass(frozen=True, slots=True)
class ChargeCard(ResultsIn[Payment | None]):
    order_id: str
    amount: Decimal


@command(participant="mail")
@dataclass
class SendLetter(ResultsIn[None]):
    to: str


class Receipt(BaseModel):
    order_id: str
    reserved: Reserved


@saga("order", version=1, timeout="10s", retry=Retry(attempts=5))
def order_saga(order: Order) -> Receipt:
    assert_type(order.lines[0].count, int)
    stock = step(ReserveStock(order_id=order.id, lines=[order.lines[0], Line(sku=order.id, unitCount=1)]))
    assert_type(stock, Reserved)
    with parallel():
        paid = step(ChargeCard(order_id=order.id, amount=order.total), name="charge_now")
        assert_type(paid, Payment | None)
        step(SendLetter(to=stock.reservation_id))
    assert paid is not None
    pivot(SendLetter(to=paid.id), name="last")
    return Receipt(order_id=order.id, reserved=stock)


@saga("dataclasses", version=1)
def dataclasses_only(reserved: Reserved) -> Reserved:
    step(SendLetter(to=reserved.reservation_id))
    return Reserved(reservation_id=reserved.reservation_id)


assert_type(order_saga, Saga[Order, Receipt])
assert_type(dataclasses_only, Saga[Reserved, Reserved])

inventory = Participant("inventory", inbox=MemoryInbox())


@inventory.handles(ReserveStock)
async def reserve(command: ReserveStock, context: Context) -> Reserved:
    assert_type(command.lines[0].sku, str)
    return Reserved(command.order_id)


@inventory.compensates(ReserveStock)
def release(command: ReserveStock, reserved: Reserved | None, context: Context) -> None:
    return None


@inventory.probes(ReserveStock)
async def find(command: ReserveStock, context: Context) -> Reserved | None:
    assert_type(context.item_index, int | None)
    return None if context.attempt == 1 else Reserved(command.order_id)


@inventory.probes(SendLetter)
def posted(command: SendLetter, context: Context) -> bool:
    return bool(command.to)


async def use(client: Client, order: Order) -> None:
    handle = await client.start(order_saga, order)
    assert_type(await handle.outcome(), SagaOutcome[Receipt])
