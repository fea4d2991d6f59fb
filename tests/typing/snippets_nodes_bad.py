"""Mistakes with the nodes of the language that a type checker must find; see `snippets_bad`."""

import msgspec

from countermand.participants.saga import (
    approval,
    child,
    collected,
    for_each,
    lock,
    optional,
    saga,
    sleep,
    sleep_until,
    step,
    wait_for,
    when,
)
from countermand.schemas import Command, Event


class Order(msgspec.Struct):
    id: str
    lines: list[str]
    total: float
    note: str | None = None


class Quote(msgspec.Struct):
    price: float


class AskQuote(Command[Quote], participant="suppliers"):
    sku: str
    count: int = 1


class Paid(Event):
    amount: float


def see(value: object) -> None: ...


@saga("child", version=1)
def deliver(order: Order) -> Quote:
    return step(AskQuote(sku=order.id))


@saga("wrong", version=1)
def wrong(order: Order) -> float:
    with when(order.total):  # type: ignore[arg-type]
        quote = step(AskQuote(sku=order.id), on_unknown="ask")  # type: ignore[arg-type]
    see(optional(quote).price)  # type: ignore[union-attr]
    with for_each(order.total):  # type: ignore[arg-type]
        step(AskQuote(sku=order.id, count=order.total))  # type: ignore[arg-type]
    with for_each(order.lines) as line:
        step(AskQuote(sku=line.number))  # type: ignore[attr-defined]
        one = step(AskQuote(sku=line.index))  # type: ignore[arg-type]
    see(collected(one).price)  # type: ignore[attr-defined]
    see(order.id + 1)  # type: ignore[operator]
    see(order.note + "x")  # type: ignore[operator]
    see(order.id < 3)  # type: ignore[operator]
    wait_for(Paid)  # type: ignore[call-overload]
    see(wait_for(Paid, deadline="1d").total)  # type: ignore[attr-defined]
    wait_for(AskQuote, deadline="1d")  # type: ignore[type-var]
    sleep(5)  # type: ignore[arg-type]
    sleep_until(order.total)  # type: ignore[arg-type]
    approval("review", deadline="1d", role=3)  # type: ignore[arg-type]
    approval("review", role="fraud")  # type: ignore[call-arg]
    child(deliver, order.id)  # type: ignore[misc]
    see(child(deliver, order).id)  # type: ignore[attr-defined]
    lock("order", order.total)  # type: ignore[arg-type]
    return optional(quote.price)  # type: ignore[return-value]
