"""What users write, and the types that they must see. Read by type checkers, never run."""

from typing import assert_type

import msgspec

from countermand.participants.client import Client, SagaHandle, SagaOutcome
from countermand.participants.saga import Retry, Saga, parallel, pivot, saga, sequence, step
from countermand.schemas import Command, Event


class Line(msgspec.Struct):
    sku: str
    count: int


class Order(msgspec.Struct):
    id: str
    lines: list[Line]
    total: float
    note: str | None = None


class Reserved(msgspec.Struct):
    id: str


class Receipt(msgspec.Struct):
    order_id: str


class ReserveStock(Command[Reserved], participant="inventory"):
    order_id: str
    lines: list[Line]


class Dispatch(Command[None], participant="shipping", name="dispatch_order", compensatable=False, because="a letter"):
    reservation_id: str
    note: str | None = None


class Paid(Event, name="order_paid"):
    amount: float


@saga("order", version=1, deadline="2h")
def order_saga(order: Order) -> Receipt:
    assert_type(order.lines[0].sku, str)
    stock = step(
        ReserveStock(order_id=order.id, lines=order.lines), timeout="10s", retry=Retry(attempts=5, backoff="1s")
    )
    assert_type(stock, Reserved)
    with parallel():
        step(ReserveStock(order_id=order.id, lines=[order.lines[0]]), name="again")
        with sequence():
            step(Dispatch(reservation_id=stock.id), undo_retry=Retry(attempts=None), undo_timeout="1m")
    pivot(Dispatch(reservation_id=stock.id, note=order.note), name="last")
    return Receipt(order_id=order.id)


@saga("nothing", version=1)
def no_outcome(order: Order) -> None:
    step(ReserveStock(order_id=order.id, lines=order.lines))


assert_type(order_saga, Saga[Order, Receipt])
assert_type(no_outcome, Saga[Order, None])


async def use(client: Client, order: Order) -> None:
    handle = await client.start(order_saga, order, saga_id="order-1", tags=["shop"])
    assert_type(handle, SagaHandle[Receipt])
    outcome = await handle.outcome(timeout_s=5)
    assert_type(outcome, SagaOutcome[Receipt])
    assert_type(outcome.result, Receipt | None)
    attached = client.handle("order-1", order_saga)
    assert_type(attached, SagaHandle[Receipt])
    await client.signal("order-1", Paid(amount=1.5), signal_id="payment-7")
