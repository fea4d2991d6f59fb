"""The four services. Each keeps its bookings in memory, which is enough for an example and for nothing else.

A booking stands under `context.key`: the same for every attempt of a step and for its compensation. So a handler that
is run again books nothing twice, and a compensation finds what it undoes even if nobody knows the action's result.
"""

from collections import Counter

from countermand.participants import Context, Participant, Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from trip_booking.contracts import BookRoom, BookSeat, BookTransfer, Paid, Pay, Room, Seat, Transfer

SEAT_CENTS = 12_000
ROOM_CENTS = 30_000
RIDE_CENTS = 4_000
# Nobody who travels this far from home has more on the card.
CARD_LIMIT_CENTS = 100_000

FULL_FLIGHTS = {"CM999"}
FULL_HOTELS = {"Grand Hotel"}
# No taxi goes up there.
REMOTE_HOTELS = {"Mountain Lodge"}
BLOCKED_TRAVELLERS = {"Mallory"}


class Books:
    """What all services have booked: what it is, under the key of the step that booked it."""

    def __init__(self) -> None:
        self.booked: dict[str, str] = {}

    def counted(self) -> dict[str, int]:
        """How often each thing is booked."""
        return dict(Counter(self.booked.values()))


def airline(books: Books) -> Participant:
    airline = Participant("airline", inbox=MemoryInbox())

    @airline.handles(BookSeat)
    async def book(command: BookSeat, context: Context) -> Seat:
        if command.flight in FULL_FLIGHTS:
            raise Rejected("no_seat", f"{command.flight} is full")
        books.booked[context.key] = f"seat on {command.flight}"
        return Seat(booking=f"{command.flight} for {command.traveller}", price_cents=SEAT_CENTS)

    @airline.compensates(BookSeat)
    async def give_back(command: BookSeat, seat: Seat | None, context: Context) -> None:
        books.booked.pop(context.key, None)

    return airline


def hotels(books: Books) -> Participant:
    hotels = Participant("hotels", inbox=MemoryInbox())

    @hotels.handles(BookRoom)
    async def book(command: BookRoom, context: Context) -> Room:
        if command.hotel in FULL_HOTELS:
            raise Rejected("no_room", f"{command.hotel} is full")
        books.booked[context.key] = f"room at {command.hotel}"
        return Room(booking=f"{command.hotel} for {command.traveller}", price_cents=ROOM_CENTS)

    @hotels.compensates(BookRoom)
    async def give_back(command: BookRoom, room: Room | None, context: Context) -> None:
        books.booked.pop(context.key, None)

    return hotels


def taxis(books: Books) -> Participant:
    taxis = Participant("taxis", inbox=MemoryInbox())

    @taxis.handles(BookTransfer)
    async def book(command: BookTransfer, context: Context) -> Transfer:
        if command.hotel in REMOTE_HOTELS:
            raise Rejected("too_far", f"no taxi goes to {command.hotel}")
        books.booked[context.key] = f"taxi to {command.hotel}"
        return Transfer(booking=f"taxi for {command.traveller}", price_cents=RIDE_CENTS)

    @taxis.compensates(BookTransfer)
    async def cancel(command: BookTransfer, transfer: Transfer | None, context: Context) -> None:
        books.booked.pop(context.key, None)

    return taxis


def payments(books: Books) -> Participant:
    payments = Participant("payments", inbox=MemoryInbox())

    @payments.handles(Pay)
    async def pay(command: Pay, context: Context) -> Paid:
        cents = sum(price for price in command.prices_cents if price is not None)
        if command.traveller in BLOCKED_TRAVELLERS or cents > CARD_LIMIT_CENTS:
            raise Rejected("card_refused", f"the card doesn't pay {cents} cents")
        books.booked[context.key] = "payment"
        return Paid(receipt=f"{cents} cents by {command.traveller}")

    return payments


def services(books: Books | None = None) -> list[Participant]:
    """All of them, with books in common; `countermand dev` calls it."""
    shared = books or Books()
    return [airline(shared), hotels(shared), taxis(shared), payments(shared)]
