"""The contracts and the saga that the tests of authoring and of the client share."""

import msgspec

from countermand.participants.saga import Retry, parallel, pivot, saga, sequence, step
from countermand.schemas import Command, Event


class Line(msgspec.Struct, rename="camel"):
    sku: str
    unit_count: int


class Address(msgspec.Struct):
    city: str
    street: str | None = None


class Order(msgspec.Struct):
    id: str
    lines: list[Line]
    total: int
    address: Address | None = None
    labels: dict[str, str] = {}
    pair: tuple[int, str] = (1, "a")


class StockReserved(msgspec.Struct):
    reservation_id: str


class Authorised(msgspec.Struct):
    id: str


class Quote(msgspec.Struct):
    id: str


class Receipt(msgspec.Struct):
    order_id: str
    payment_id: str


class ReserveStock(Command[StockReserved], participant="inventory"):
    order_id: str
    lines: list[Line]


class AuthorisePayment(Command[Authorised], participant="payments"):
    order_id: str
    amount: float


class QuoteShipping(Command[Quote], participant="shipping", compensatable=False, because="a quote binds nobody"):
    address: Address | None = None


class CapturePayment(Command[None], participant="payments"):
    payment_id: str


class DispatchOrder(Command[None], participant="shipping"):
    reservation_id: str
    quote_id: str = ""


class OrderPaid(Event):
    amount: float


@saga("order-fulfilment", version=3, deadline="2h")
def fulfil(order: Order) -> Receipt:
    stock = step(ReserveStock(order_id=order.id, lines=order.lines))
    with parallel():
        payment = step(
            AuthorisePayment(order_id=order.id, amount=order.total),
            timeout="10s",
            retry=Retry(attempts=5, backoff="500ms", backoff_max="1m30s"),
        )
        with sequence():
            quote = step(QuoteShipping(address=order.address))
            step(ReserveStock(order_id="box", lines=[Line(sku=quote.id, unit_count=1)]), name="reserve_box")
    pivot(CapturePayment(payment_id=payment.id))
    step(DispatchOrder(reservation_id=stock.reservation_id, quote_id=quote.id))
    return Receipt(order_id=order.id, payment_id=payment.id)
