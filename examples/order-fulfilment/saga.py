"""The saga: what happens to an order, in which order, and with how much patience.

The function runs once, when this module is imported, and is written down as data. No coordinator ever runs it.

The timeouts are short because a demonstration has to show them; a shop would give its bank more than two seconds.
"""

from contracts import (
    AuthorisePayment,
    CapturePayment,
    DispatchOrder,
    Order,
    QuoteShipping,
    Receipt,
    ReserveStock,
)

from countermand.participants.saga import Retry, parallel, pivot, saga, step

# Long enough for a service that was killed to come back: five tries in about seven seconds, timeouts not counted.
PATIENT = Retry(attempts=5, backoff="500ms", backoff_max="4s")
# A carrier that doesn't answer twice won't answer at all, and the customer is waiting.
IMPATIENT = Retry(attempts=2, backoff="2s", jitter=0)
# The money's fate is decided here, so it is worth asking again for a while before a person is.
DETERMINED = Retry(attempts=19, backoff="500ms", backoff_max="5s")
# After the pivot there is no way back: asked until it is done.
RELENTLESS = Retry(attempts=None, backoff="500ms", backoff_max="5s")


@saga("order-fulfilment", version=1, deadline="2m")
def fulfil(order: Order) -> Receipt:
    stock = step(ReserveStock(order_id=order.id, lines=order.lines), timeout="2s", retry=PATIENT)
    with parallel():
        payment = step(
            AuthorisePayment(order_id=order.id, card=order.card, amount_cents=order.total_cents),
            timeout="2s",
            retry=PATIENT,
        )
        quote = step(QuoteShipping(order_id=order.id, address=order.address), timeout="1s", retry=IMPATIENT)
    pivot(CapturePayment(payment_id=payment.payment_id, amount_cents=order.total_cents), timeout="2s", retry=DETERMINED)
    parcel = step(
        DispatchOrder(
            order_id=order.id,
            reservation_id=stock.reservation_id,
            quote_id=quote.quote_id,
            address=order.address,
        ),
        timeout="2s",
        retry=RELENTLESS,
    )
    return Receipt(order_id=order.id, payment_id=payment.payment_id, tracking_code=parcel.tracking_code)
