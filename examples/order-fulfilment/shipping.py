"""The shipping service: asks a carrier what a parcel would cost, and hands the parcel over when it is paid.

    python shipping.py --amqp amqp://… --ledger shipping.sqlite

Two participants live in this process, because they need different inboxes. A carrier can take for ever to answer, and a
quote binds nobody: whoever asks may forget, and must not hold a database transaction meanwhile. A parcel that is
handed over binds us: that goes through the ledger.
"""

from pathlib import Path

import world
from contracts import DispatchOrder, OrderDispatched, QuoteShipping, ShippingQuoted
from ledger import move, open_ledger
from service import serve
from sqlalchemy.ext.asyncio import AsyncEngine

from countermand.participants.context import Context
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox
from countermand.participants.participant import Participant


def carriers() -> Participant:
    carriers = Participant("carriers", inbox=MemoryInbox())

    @carriers.handles(QuoteShipping)
    async def quote(command: QuoteShipping, context: Context) -> ShippingQuoted:
        price_cents = await world.ask_carrier(command.address.postcode, context.attempt)
        return ShippingQuoted(quote_id=f"quote-{command.order_id}", price_cents=price_cents)

    return carriers


def shipping_on(engine: AsyncEngine) -> Participant:
    shipping = Participant("shipping", inbox=SqlAlchemyInbox(engine))

    @shipping.handles(DispatchOrder)
    async def dispatch(command: DispatchOrder, context: Context) -> OrderDispatched:
        move(context, "dispatch", f"parcel-{command.order_id}", 1, source="warehouse", target="carrier")
        return OrderDispatched(tracking_code=f"track-{command.order_id}")

    return shipping


async def open_shipping(ledger: Path) -> list[Participant]:
    return [carriers(), shipping_on(await open_ledger(ledger))]


if __name__ == "__main__":
    serve(open_shipping)
