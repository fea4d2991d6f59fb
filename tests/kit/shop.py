"""A small shop for the kit's own tests: three participants in memory, their effects counted, and what can go wrong."""

from collections import Counter

import msgspec

from countermand.participants import Context, Participant, Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import Retry, parallel, pivot, saga, step
from countermand.schemas import Command


class Order(msgspec.Struct, frozen=True):
    id: str
    cents: int = 500


class Reserved(msgspec.Struct, frozen=True):
    reservation: str


class Paid(msgspec.Struct, frozen=True):
    payment: str


class Receipt(msgspec.Struct, frozen=True):
    order: str
    payment: str


class Reserve(Command[Reserved], participant="stock"):
    order: str


class Pay(Command[Paid], participant="bank"):
    order: str
    cents: int


class Quote(Command[None], participant="carrier", compensatable=False, because="a quote binds nobody"):
    order: str


class Capture(Command[None], participant="bank", compensatable=False, because="it is the pivot"):
    payment: str


class Ship(Command[None], participant="carrier", compensatable=False, because="a parcel can't be called back"):
    reservation: str


TWICE = Retry(attempts=2, backoff="1s", jitter=0)


@saga("trade", version=1, deadline="1h")
def trade(order: Order) -> Receipt:
    reserved = step(Reserve(order=order.id), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
    with parallel():
        paid = step(
            Pay(order=order.id, cents=order.cents), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE
        )
        step(Quote(order=order.id), timeout="5s", retry=TWICE)
    pivot(Capture(payment=paid.payment), timeout="5s", retry=TWICE)
    step(Ship(reservation=reserved.reservation), timeout="5s")
    return Receipt(order=order.id, payment=paid.payment)


class Shop:
    """Participants whose effects are idempotent by key, as an inbox without a transaction needs them to be."""

    def __init__(self) -> None:
        self.done: dict[str, set[str]] = {}
        self.participants = [self._stock(), self._bank(), self._carrier()]

    def effects(self) -> dict[str, int]:
        """How many keys stand done for each kind of effect."""
        return {kind: len(keys) for kind, keys in self.done.items() if keys}

    def _do(self, kind: str, context: Context) -> None:
        self.done.setdefault(kind, set()).add(context.key)

    def _undo(self, kind: str, context: Context) -> None:
        self.done.setdefault(kind, set()).discard(context.key)

    def _stock(self) -> Participant:
        stock = Participant("stock", inbox=MemoryInbox())

        @stock.handles(Reserve)
        async def reserve(command: Reserve, context: Context) -> Reserved:
            self._do("reserved", context)
            return Reserved(reservation=f"r-{command.order}")

        @stock.compensates(Reserve)
        async def release(command: Reserve, reserved: Reserved | None, context: Context) -> None:
            self._undo("reserved", context)

        return stock

    def _bank(self) -> Participant:
        bank = Participant("bank", inbox=MemoryInbox())

        @bank.handles(Pay)
        def pay(command: Pay, context: Context) -> Paid:
            if command.cents > 1_000:
                raise Rejected("too_dear", "over the limit")
            self._do("held", context)
            return Paid(payment=f"p-{command.order}")

        @bank.compensates(Pay)
        def void(command: Pay, paid: Paid | None, context: Context) -> None:
            self._undo("held", context)

        @bank.handles(Capture)
        async def capture(command: Capture, context: Context) -> None:
            self._do("captured", context)

        return bank

    def _carrier(self) -> Participant:
        carrier = Participant("carrier", inbox=MemoryInbox())

        @carrier.handles(Quote)
        async def quote(command: Quote, context: Context) -> None:
            return None

        @carrier.handles(Ship)
        async def ship(command: Ship, context: Context) -> None:
            self._do("shipped", context)

        return carrier


ORDER = Order(id="1")
RECEIPT = Receipt(order="1", payment="p-1")
ALL_DONE = Counter(reserved=1, held=1, captured=1, shipped=1)
