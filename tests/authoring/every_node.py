"""One saga with every node of the language, and the contracts that it needs."""

from datetime import datetime
from typing import Literal

import msgspec

from countermand.participants.saga import (
    Concurrency,
    all_of,
    approval,
    child,
    collected,
    contains,
    denied,
    for_each,
    is_present,
    lock,
    none_of,
    optional,
    otherwise,
    parallel,
    pivot,
    saga,
    scope,
    sequence,
    size,
    sleep,
    sleep_until,
    step,
    timed_out,
    wait_for,
    when,
)
from countermand.schemas import Command, Event


class Line(msgspec.Struct):
    sku: str
    count: int
    price: float


class Order(msgspec.Struct):
    id: str
    customer_id: str
    requested_by: str
    total: float
    lines: list[Line]
    country: Literal["DE", "FR", "US"]
    ship_at: datetime
    note: str | None = None


class Quote(msgspec.Struct):
    price: float
    supplier: str


class Parcel(msgspec.Struct):
    tracking: str


class Receipt(msgspec.Struct):
    prices: list[float]
    tracking: str
    paid: float | None


class AskQuote(Command[Quote], participant="suppliers", compensatable=False, because="a quote binds nobody"):
    sku: str
    place: int
    worth: float


class ReserveLine(Command[None], participant="inventory"):
    sku: str


class BookHotel(Command[Quote], participant="hotels"):
    customer_id: str


class Remind(Command[None], participant="mail", compensatable=False, because="a letter can't be unsent"):
    text: str


class CapturePayment(Command[None], participant="payments"):
    order_id: str
    amount: float


class SendReceipt(Command[None], participant="mail"):
    quotes: list[Quote]


class PaymentReceived(Event):
    amount: float


@saga("send-parcel", version=2)
def send_parcel(order: Order) -> Parcel:
    step(ReserveLine(sku=order.lines[0].sku))
    return Parcel(tracking=order.id)


@saga("every-node", version=1, deadline="30d", concurrency=Concurrency(5, key=lambda order: order.customer_id))
def every_node(order: Order) -> Receipt:
    lock("order", order.id, timeout="10m")
    with for_each(order.lines, concurrency=3) as line:
        quote = step(AskQuote(sku=line.item.sku, place=line.index, worth=line.item.count * line.item.price))
        with when(quote.price > 100):
            step(ReserveLine(sku=line.item.sku), on_unknown="probe")
    with parallel():
        with scope("hotel") as hotel:
            step(BookHotel(customer_id=order.customer_id), timeout="10s")
        with sequence():
            sleep("1h")
            sleep_until(order.ship_at)
    with when(hotel.failed):
        step(Remind(text="No hotel: " + hotel.reason), name="no_hotel")
    paid = wait_for(PaymentReceived, deadline="3d", key=order.id)
    with timed_out(paid):
        step(Remind(text=order.id))
    with when(all_of(order.total > 1000, contains(["DE", "FR"], order.country)), name="is_large"):
        decision = approval(
            "fraud_review",
            role="fraud",
            assignees=["ann"],
            shows={"order": order.id, "lines": size(order.lines)},
            deadline="1d",
            requester=order.requested_by,
            escalate_after="4h",
            escalate_to="managers",
        )
        with denied(decision):
            step(Remind(text=decision.comment), name="say_no")
    with otherwise():
        wait_for("released", deadline="1h")
    parcel = child(send_parcel, order)
    with when(none_of(is_present(order.note)), name="without_note"):
        step(Remind(text="no note"), name="ask_note")
    pivot(CapturePayment(order_id=order.id, amount=order.total / 2))
    child("loyalty-points", {"customer": order.customer_id}, timeout="1h")
    step(SendReceipt(quotes=collected(quote)))
    return Receipt(prices=collected(quote.price), tracking=parcel.tracking, paid=optional(paid.amount))
