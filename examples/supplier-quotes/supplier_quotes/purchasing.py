"""The purchasing department: chooses among the quotes. A document can compare two prices; this looks at a list."""

from countermand.participants import Context, Participant, Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from supplier_quotes.contracts import Choice, ChooseQuote


def purchasing() -> Participant:
    """`countermand dev` calls it."""
    purchasing = Participant("purchasing", inbox=MemoryInbox())

    @purchasing.handles(ChooseQuote)
    async def choose(command: ChooseQuote, context: Context) -> Choice:
        quotes = sorted((quote for quote in command.quotes if quote is not None), key=lambda quote: quote.price_cents)
        if not quotes:
            raise Rejected("no_quotes", f"none of {len(command.quotes)} suppliers made an offer")
        best, *others = quotes
        if best.price_cents > command.limit_cents:
            raise Rejected("too_dear", f"the best of {len(quotes)} quotes is {best.price_cents} cents")
        return Choice(best=best, others=others)

    return purchasing
