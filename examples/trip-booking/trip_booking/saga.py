"""The saga: book both flights and the hotel side by side, then pay for what was got.

A trip without a flight is none, so a flight that can't be had undoes everything. A trip without a hotel still is one:
each hotel stands in a `scope` together with the taxi that goes there. When either fails the scope is undone alone.
"""

from countermand.participants.saga import Retry, optional, parallel, pivot, saga, scope, sequence, step, when
from trip_booking.contracts import BookRoom, BookSeat, BookTransfer, Itinerary, Pay, Trip

PATIENT = Retry(attempts=3, backoff="500ms", backoff_max="4s")
# Whether the trip was paid for decides it, so it is worth asking for longer before a person is.
DETERMINED = Retry(attempts=10, backoff="1s", backoff_max="30s")


@saga("trip-booking", version=1, deadline="10m", timeout="5s", retry=PATIENT)
def book_trip(trip: Trip) -> Itinerary:
    with parallel():
        there = step(BookSeat(flight=trip.outbound_flight, traveller=trip.traveller), name="book_outbound")
        back = step(BookSeat(flight=trip.return_flight, traveller=trip.traveller), name="book_return")
        with sequence():
            with scope("hotel") as hotel:
                room = step(BookRoom(hotel=trip.hotel, traveller=trip.traveller))
                ride = step(BookTransfer(hotel=trip.hotel, traveller=trip.traveller))
            with when(hotel.failed, name="hotel_failed"), scope("other_hotel"):
                other_room = step(BookRoom(hotel=trip.other_hotel, traveller=trip.traveller), name="book_other_room")
                other_ride = step(
                    BookTransfer(hotel=trip.other_hotel, traveller=trip.traveller), name="book_other_transfer"
                )
    paid = pivot(
        Pay(
            traveller=trip.traveller,
            prices_cents=[
                there.price_cents,
                back.price_cents,
                optional(room.price_cents),
                optional(ride.price_cents),
                optional(other_room.price_cents),
                optional(other_ride.price_cents),
            ],
        ),
        retry=DETERMINED,
    )
    return Itinerary(
        seats=[there.booking, back.booking],
        room=optional(room.booking),
        other_room=optional(other_room.booking),
        receipt=paid.receipt,
    )
