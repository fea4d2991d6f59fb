"""The trip in the test kit: the saga and the services are the real ones, no server runs, and time is virtual."""

import asyncio

import msgspec
import pytest
from trip_booking.contracts import BookRoom, BookSeat, BookTransfer, Itinerary, Pay, Trip
from trip_booking.saga import book_trip
from trip_booking.services import Books, services

from countermand.coordinator.testing import Story, exhaustive, given
from countermand.participants.testing import check_participant

TRIP = Trip("1", "Ada", "CM100", "CM101", hotel="Seaview", other_hotel="Station Inn")
HOTEL_FULL = msgspec.structs.replace(TRIP, hotel="Grand Hotel")
NO_TAXI = msgspec.structs.replace(TRIP, hotel="Mountain Lodge")
NO_HOTEL = msgspec.structs.replace(TRIP, hotel="Mountain Lodge", other_hotel="Grand Hotel")
NO_WAY_BACK = msgspec.structs.replace(HOTEL_FULL, return_flight="CM999")
NO_MONEY = msgspec.structs.replace(HOTEL_FULL, traveller="Mallory")

SEATS = {"seat on CM100": 1, "seat on CM101": 1}
AT_THE_SEAVIEW = SEATS | {"room at Seaview": 1, "taxi to Seaview": 1, "payment": 1}
AT_THE_INN = SEATS | {"room at Station Inn": 1, "taxi to Station Inn": 1, "payment": 1}
WITHOUT_HOTEL = SEATS | {"payment": 1}


def told(trip: Trip) -> Story:
    books = Books()
    return given(book_trip, trip, participants=services(books), effects=books.counted)


def itinerary(*, room: str | None = None, other_room: str | None = None, cents: int = 58_000) -> Itinerary:
    return Itinerary(["CM100 for Ada", "CM101 for Ada"], room, other_room, f"{cents} cents by Ada")


def test_a_trip_is_booked_and_paid() -> None:
    """Both seats, the room and the taxi, and one payment for all of it."""
    story = told(TRIP).expect_completed(itinerary(room="Seaview for Ada"))
    story.expect_not_ran("book_other_room").expect_effects(AT_THE_SEAVIEW)


def test_a_full_hotel_is_replaced() -> None:
    """The scope fails at its first step, so there is nothing to undo in it; the trip goes on with the other hotel."""
    story = told(HOTEL_FULL).expect_completed(itinerary(other_room="Station Inn for Ada"))
    story.expect_rolled_back("hotel", set(), because="no_room").expect_effects(AT_THE_INN)


def test_a_room_that_cannot_be_reached_is_given_back() -> None:
    """Room and taxi stand and fall together: without a taxi the room is undone, and nothing else is."""
    story = told(NO_TAXI).expect_rolled_back("hotel", "book_room", because="too_far")
    story.expect_completed(itinerary(other_room="Station Inn for Ada")).expect_effects(AT_THE_INN)


def test_a_trip_goes_on_without_a_hotel() -> None:
    """When the other hotel fails too, what is paid is the flights."""
    story = told(NO_HOTEL).expect_completed(itinerary(cents=24_000)).expect_rolled_back("other_hotel")
    story.expect_effects(WITHOUT_HOTEL)


def test_a_trip_without_a_flight_is_none() -> None:
    """A seat stands in no scope: without it all is undone, whatever the hotels did meanwhile."""
    told(NO_WAY_BACK).expect_compensated(because="no_seat").expect_effects({})


def test_a_refused_card_undoes_the_other_hotel_too() -> None:
    """What the scope left behind is undone with the trip; the taxi before the room that it goes to."""
    story = told(NO_MONEY).expect_compensated(because="card_refused").expect_effects({})
    timeline = story.timeline
    taxi, room = (timeline.index(f"undo of {step}") for step in ("book_other_transfer", "book_other_room"))
    assert taxi < room


def test_a_taxi_that_may_have_been_booked_is_cancelled() -> None:
    """Nobody knows whether the taxi comes, so it is undone as well as the room, and the trip goes on."""
    story = told(TRIP).loses_reply("book_transfer", times=None)
    story.expect_rolled_back("hotel", "book_transfer", "book_room").expect_effects(AT_THE_INN)


def test_a_traveller_changes_their_mind() -> None:
    """Until the payment a trip can be cancelled as a whole."""
    told(TRIP).delays("book_transfer", "1s").cancels(after="book_room").expect_compensated(
        because="cancelled"
    ).expect_effects({})


@pytest.mark.parametrize("trip", [TRIP, NO_MONEY], ids=["good", "no-money"])
def test_every_step_survives_every_trouble(trip: Trip) -> None:
    """All done or all undone, whatever crashes, is lost, late, repeated or overtaken."""
    books = Books()
    exhaustive(book_trip, trip, participants=services(books), effects=books.counted).check()


def test_every_handler_keeps_the_rules() -> None:
    """Twice, undone before, after and without its action, and through crashes."""

    async def check() -> None:
        books = Books()
        airline, hotels, taxis, payments = services(books)
        for participant, command in (
            (airline, BookSeat(flight="CM100", traveller="Ada")),
            (hotels, BookRoom(hotel="Seaview", traveller="Ada")),
            (taxis, BookTransfer(hotel="Seaview", traveller="Ada")),
            (payments, Pay(traveller="Ada", prices_cents=[100, None])),
        ):
            await check_participant(participant, command, effects=books.counted)

    asyncio.run(check())
