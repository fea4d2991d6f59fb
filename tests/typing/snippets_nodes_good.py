"""The whole language, and the types that users must see. Read by type checkers, never run."""

from datetime import datetime
from typing import Any, assert_type

import msgspec

from countermand.participants.saga import (
    Concurrency,
    Decision,
    Saga,
    all_of,
    any_of,
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


class Order(msgspec.Struct):
    id: str
    lines: list[Line]
    codes: tuple[str, ...]
    labels: dict[str, int]
    total: float
    ship_at: datetime
    note: str | None = None


class Quote(msgspec.Struct):
    price: float


class Receipt(msgspec.Struct):
    prices: list[float]
    best: float | None


class AskQuote(Command[Quote], participant="suppliers"):
    sku: str
    count: int


class Tell(Command[None], participant="mail"):
    text: str
    approver: str | None = None


class Paid(Event):
    amount: float


@saga("child", version=1, concurrency=3)
def deliver(line: Line) -> Quote:
    return step(AskQuote(sku=line.sku, count=line.count))


@saga("everything", version=1, concurrency=Concurrency(5, key=lambda order: order.id))
def everything(order: Order) -> Receipt:
    assert_type(order.total > 1000, bool)
    assert_type(order.lines[0].count + 1, int)
    assert_type(order.total / 2, float)
    assert_type(order.id + "x", str)
    lock("order", order.id, timeout="1h")
    with for_each(order.lines, concurrency=5) as line:
        assert_type(line.item, Line)
        assert_type(line.index, int)
        quote = step(AskQuote(sku=line.item.sku, count=line.item.count * 2), on_unknown="probe")
        with when(quote.price > 3):
            maybe = step(AskQuote(sku=line.item.sku, count=line.index), name="maybe")
    assert_type(collected(quote), list[Quote])
    assert_type(collected(quote.price), list[float])
    assert_type(collected(optional(maybe)), list[Quote | None])
    with for_each(order.codes, name="codes") as code:
        assert_type(code.item, str)
    with parallel():
        with scope("hotel") as hotel:
            booked = step(AskQuote(sku="room", count=1), name="book")
        with sequence():
            sleep("1h", name="nap")
            sleep_until(order.ship_at)
    assert_type(hotel.failed, bool)
    assert_type(hotel.reason, str)
    assert_type(optional(booked), Quote | None)
    with when(all_of(hotel.failed, any_of(order.total > 5, none_of(contains(order.id, "x"), size(order.lines) == 1)))):
        step(Tell(text=hotel.code + hotel.step))
    with otherwise():
        step(Tell(text="well"), name="well")
    with when(any_of(contains(order.labels, "a"), contains(["a", "b"], order.id), is_present(order.note))):
        step(Tell(text="labels"), name="labels")
    paid = wait_for(Paid, deadline="3d", key=order.id)
    assert_type(paid, Paid)
    with timed_out(paid):
        step(Tell(text="late"), name="late")
    assert_type(optional(paid.amount), float | None)
    assert_type(wait_for("came", payload=Quote, deadline="1d"), Quote)
    assert_type(wait_for("went", deadline="1d"), Any)
    decision = approval(
        "review", role="fraud", shows={"order": order.id}, deadline="1d", requester=order.id, escalate_after="4h"
    )
    assert_type(decision, Decision)
    with denied(decision):
        step(Tell(text=decision.comment, approver=decision.by), name="denied")
    assert_type(child(deliver, order.lines[0]), Quote)
    assert_type(child("named", {"id": order.id}, outcome=Quote, version=2, timeout="1h"), Quote)
    child("unnamed", order, compensatable=False, because="a report harms nobody")
    pivot(Tell(text="done"), name="done", on_unknown="probe")
    return Receipt(prices=collected(quote.price), best=optional(booked.price))


assert_type(everything, Saga[Order, Receipt])
assert_type(deliver, Saga[Line, Quote])
