"""The saga: ask every supplier for a quote, order from the best one, and tell the others.

The suppliers are asked twenty at a time. Each stands in a `scope` of its own: one that says no, or never answers, costs
its own quote and nothing else. If nothing comes of the purchase, every quote is withdrawn.
"""

from countermand.participants.saga import Retry, collected, for_each, optional, pivot, saga, scope, step
from supplier_quotes.contracts import AskQuote, ChooseQuote, DeclineQuote, Enquiry, PlaceOrder, Purchase

AT_ONCE = 20
# A supplier who doesn't answer twice is left out: there are others.
IMPATIENT = Retry(attempts=2, backoff="1s")


@saga("supplier-quotes", version=1, deadline="1h", timeout="5s")
def buy(enquiry: Enquiry) -> Purchase:
    with for_each(enquiry.suppliers, name="suppliers", concurrency=AT_ONCE) as supplier, scope("asking"):
        quote = step(
            AskQuote(supplier=supplier.item, part=enquiry.part, quantity=enquiry.quantity),
            retry=IMPATIENT,
        )
    choice = step(ChooseQuote(quotes=collected(optional(quote)), limit_cents=enquiry.limit_cents))
    ordered = pivot(PlaceOrder(quote_id=choice.best.id))
    with for_each(choice.others, name="others", concurrency=AT_ONCE) as other:
        step(DeclineQuote(quote_id=other.item.id))
    return Purchase(order=ordered.order, supplier=choice.best.supplier, price_cents=choice.best.price_cents)
