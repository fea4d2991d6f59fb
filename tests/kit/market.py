"""A market for the kit's own tests: sagas with every kind of node, and three participants whose effects are counted."""

from collections import Counter
from typing import Any

import msgspec

from countermand.participants import Context, Participant, Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import (
    Concurrency,
    approval,
    child,
    collected,
    denied,
    for_each,
    lock,
    optional,
    pivot,
    saga,
    scope,
    sleep,
    step,
    timed_out,
    wait_for,
    when,
)
from countermand.schemas import Command, Event
from kit.shop import TWICE


class Basket(msgspec.Struct, frozen=True):
    id: str = "b-1"
    skus: list[str] = msgspec.field(default_factory=lambda: ["pear", "plum"])
    cents: int = 2_000
    buyer: str = "bob"


class Fetched(msgspec.Struct, frozen=True):
    shelf: str


class Bill(msgspec.Struct, frozen=True):
    shelves: list[str]
    paid: int | None


class Parcel(msgspec.Struct, frozen=True):
    shelf: str


class Fetch(Command[Fetched], participant="depot"):
    sku: str


class Wrap(Command[None], participant="depot"):
    basket: str


class Ribbon(Command[None], participant="depot"):
    basket: str


class Write(Command[None], participant="post", compensatable=False, because="a letter can't be unsent"):
    text: str


class Collect(Command[None], participant="bank", compensatable=False, because="it is the pivot"):
    basket: str


class Hold(Command[None], participant="bank"):
    basket: str


class PaymentReceived(Event):
    cents: int


@saga("market", version=1, deadline="30d")
def market(basket: Basket) -> Bill:
    with for_each(basket.skus, concurrency=2) as line:
        fetched = step(Fetch(sku=line.item), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
    with scope("gift") as gift:
        step(Wrap(basket=basket.id), timeout="5s", retry=TWICE)
        step(Ribbon(basket=basket.id), timeout="5s", retry=TWICE)
    with when(gift.failed, name="unwrapped"):
        step(Write(text=gift.reason), name="say_sorry", timeout="5s", retry=TWICE)
    paid = wait_for(PaymentReceived, deadline="3d", key=basket.id, name="paid")
    with timed_out(paid):
        step(Write(text=basket.id), name="remind", timeout="5s", retry=TWICE)
    with when(basket.cents > 1_000, name="is_large"):
        approval(
            "review",
            role="fraud",
            shows={"cents": basket.cents},
            requester=basket.buyer,
            deadline="1d",
            escalate_after="4h",
            escalate_to="managers",
        )
    pivot(Collect(basket=basket.id), timeout="5s", retry=TWICE)
    return Bill(shelves=collected(fetched.shelf), paid=optional(paid.cents))


@saga("errand", version=1)
def errand(basket: Basket) -> Parcel:
    """Waits for a signal, and asks somebody who is not in a hurry; no is no reason to turn back."""
    decision = approval("go", assignees=["ann"], deadline="1d")
    with denied(decision):
        step(Write(text="no"), name="say_no")
    wait_for("called", deadline="2d")
    fetched = step(Fetch(sku=basket.id))
    sleep("8h", name="rest")
    return Parcel(shelf=fetched.shelf)


@saga("delivery", version=1)
def delivery(basket: Basket) -> Parcel:
    fetched = step(Fetch(sku=basket.id), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
    step(Wrap(basket=basket.id), timeout="5s", retry=TWICE)
    return Parcel(shelf=fetched.shelf)


@saga("shopping", version=1)
def shopping(basket: Basket) -> Parcel:
    lock("basket", basket.id, timeout="1h", name="mine")
    parcel = child(delivery, basket)
    step(Hold(basket=basket.id), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
    pivot(Collect(basket=basket.id), timeout="5s", retry=TWICE)
    return parcel


@saga("till", version=1, concurrency=Concurrency(1, key=lambda basket: basket.buyer))
def till(basket: Basket) -> None:
    sleep("1m", name="counting")
    step(Hold(basket=basket.id))


@saga("vigil", version=1)
def vigil(basket: Basket) -> None:
    lock("basket", basket.id, name="mine")
    wait_for("called", deadline="2h")


@saga("two_gifts", version=1)
def two_gifts(basket: Basket) -> None:
    with scope("first"):
        step(Wrap(basket=basket.id))
        step(Write(text="first"), name="first_card")
    with scope("second"):
        step(Ribbon(basket=basket.id))
        step(Write(text="second"), name="second_card")


class Market:
    """Participants whose effects are idempotent by key; `careless` compensations leave something behind."""

    def __init__(self, *careless: str) -> None:
        self.done: dict[str, set[str]] = {}
        self._careless = careless
        self.participants = [self._depot(), self._bank(), self._post()]

    def effects(self) -> dict[str, int]:
        return {kind: len(keys) for kind, keys in self.done.items() if keys}

    def _do(self, kind: str, context: Context) -> None:
        self.done.setdefault(kind, set()).add(context.key)

    def _undo(self, kind: str, context: Context) -> None:
        if kind not in self._careless:
            self.done.setdefault(kind, set()).discard(context.key)

    def _adds(self, participant: Participant, contract: type[Command[None]], kind: str, *, undone: bool = True) -> None:
        """An action without a result that counts as one effect of a kind."""

        def act(command: Any, context: Context) -> None:
            self._do(kind, context)

        def undo(command: Any, nothing: None, context: Context) -> None:
            self._undo(kind, context)

        participant.handles(contract)(act)
        if undone:
            participant.compensates(contract)(undo)

    def _depot(self) -> Participant:
        depot = Participant("depot", inbox=MemoryInbox())

        @depot.handles(Fetch)
        async def fetch(command: Fetch, context: Context) -> Fetched:
            if command.sku == "moon":
                raise Rejected("not_sold", "nobody has it")
            self._do("fetched", context)
            return Fetched(shelf=f"s-{command.sku}")

        @depot.compensates(Fetch)
        async def put_back(command: Fetch, fetched: Fetched | None, context: Context) -> None:
            self._undo("fetched", context)

        self._adds(depot, Wrap, "wrapped")
        self._adds(depot, Ribbon, "ribboned")
        return depot

    def _bank(self) -> Participant:
        bank = Participant("bank", inbox=MemoryInbox())
        self._adds(bank, Hold, "held")
        self._adds(bank, Collect, "collected", undone=False)
        return bank

    def _post(self) -> Participant:
        post = Participant("post", inbox=MemoryInbox())
        post.handles(Write)(lambda command, context: None)
        return post


BASKET = Basket()
SMALL = Basket(cents=500)
ALL_DONE = Counter(fetched=2, wrapped=1, ribboned=1, collected=1)
