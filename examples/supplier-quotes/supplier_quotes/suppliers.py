"""All suppliers, behind one participant: it knows how to reach each of them. What they keep for us is in memory.

What is wrong with a supplier stands in its number:

ends in 3     busy when it is first asked, and says so
ends in 7     doesn't sell this
is 099        never picks up
"""

from zlib import crc32

from countermand.participants import Context, Participant, Rejected, Retry
from countermand.participants.inboxes.memory import MemoryInbox
from supplier_quotes.contracts import AskQuote, DeclineQuote, Ordered, PlaceOrder, Quote

PRICES_FROM_CENTS = 900
PRICES_SPREAD_CENTS = 400


class Books:
    """What the suppliers keep for us: quotes and orders, under the key of the step that made them."""

    def __init__(self) -> None:
        self.quotes: dict[str, str] = {}
        self.orders: dict[str, str] = {}

    def counted(self) -> dict[str, int]:
        return {"open quotes": len(self.quotes), "orders": len(self.orders)}


def suppliers(books: Books | None = None) -> Participant:
    """Reaches all suppliers; `countermand dev` calls it."""
    kept = books or Books()
    suppliers = Participant("suppliers", inbox=MemoryInbox())

    @suppliers.handles(AskQuote)
    async def ask(command: AskQuote, context: Context) -> Quote:
        if command.supplier.endswith("099"):
            raise ConnectionError(f"{command.supplier} doesn't pick up")
        if command.supplier.endswith("7"):
            raise Rejected("no_bid", f"{command.supplier} has no {command.part}")
        if command.supplier.endswith("3") and context.attempt == 1:
            raise Retry(after_s=1, code="busy")
        kept.quotes[context.key] = command.supplier
        return Quote(context.key, command.supplier, price_cents(command.supplier, command.part) * command.quantity)

    @suppliers.compensates(AskQuote)
    async def withdraw(command: AskQuote, quote: Quote | None, context: Context) -> None:
        kept.quotes.pop(context.key, None)

    @suppliers.handles(PlaceOrder)
    async def order(command: PlaceOrder, context: Context) -> Ordered:
        supplier = kept.quotes.pop(command.quote_id, None)
        if supplier is not None:
            kept.orders[context.key] = supplier
        return Ordered(order=f"order-{context.saga_id}")

    @suppliers.handles(DeclineQuote)
    async def decline(command: DeclineQuote, context: Context) -> None:
        kept.quotes.pop(command.quote_id, None)

    return suppliers


def price_cents(supplier: str, part: str) -> int:
    """What one piece costs there: any price, but always the same."""
    return PRICES_FROM_CENTS + crc32(f"{supplier} {part}".encode()) % PRICES_SPREAD_CENTS
