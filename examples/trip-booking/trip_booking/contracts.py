"""What the services can be asked for. Everybody imports this module; the services don't import each other."""

from typing import Annotated

import msgspec

from countermand.schemas import Command


def example(value: str) -> msgspec.Meta:
    """What `countermand dev` shows when it says how to start a trip."""
    return msgspec.Meta(examples=[value])


class Trip(msgspec.Struct, frozen=True):
    id: str
    traveller: Annotated[str, example("Ada Almeida")]
    outbound_flight: Annotated[str, example("CM100")]
    return_flight: Annotated[str, example("CM101")]
    hotel: Annotated[str, example("Grand Hotel")]
    other_hotel: Annotated[str, example("Station Inn")]


class Itinerary(msgspec.Struct, frozen=True):
    """The room is the one in the hotel of choice, or the one in the other hotel, or there is none."""

    seats: list[str]
    room: str | None
    other_room: str | None
    receipt: str


# --- flights


class Seat(msgspec.Struct, frozen=True):
    booking: str
    price_cents: int


class BookSeat(Command[Seat], participant="airline"):
    flight: str
    traveller: str


# --- the hotel and the way to it


class Room(msgspec.Struct, frozen=True):
    booking: str
    price_cents: int


class BookRoom(Command[Room], participant="hotels"):
    hotel: str
    traveller: str


class Transfer(msgspec.Struct, frozen=True):
    booking: str
    price_cents: int


class BookTransfer(Command[Transfer], participant="taxis"):
    hotel: str
    traveller: str


# --- the payment


class Paid(msgspec.Struct, frozen=True):
    receipt: str


class Pay(
    Command[Paid],
    participant="payments",
    compensatable=False,
    because="it is the point of no return: a trip that was paid for is cancelled as a business case of its own",
):
    """Pays what was booked; a price that isn't there costs nothing."""

    traveller: str
    prices_cents: list[int | None]
