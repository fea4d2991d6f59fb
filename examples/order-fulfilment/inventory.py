"""The inventory service: takes goods off the shelf for an order, and puts them back if the order comes to nothing.

    python inventory.py --amqp amqp://… --ledger inventory.sqlite

The handlers write lines in the ledger (`ledger.py`); whether a command counts as done is none of their business.
"""

from pathlib import Path

from catalogue import STOCK
from contracts import ReserveStock, StockReserved
from ledger import balance_of, move, open_ledger
from service import serve
from sqlalchemy.ext.asyncio import AsyncEngine

from countermand.participants.context import Context
from countermand.participants.errors import Rejected
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox
from countermand.participants.participant import Participant


def inventory_on(engine: AsyncEngine) -> Participant:
    inventory = Participant("inventory", inbox=SqlAlchemyInbox(engine))

    @inventory.handles(ReserveStock)
    async def reserve(command: ReserveStock, context: Context) -> StockReserved:
        for line in command.lines:
            on_shelf = await balance_of(context, "shelf", line.sku)
            if on_shelf < line.quantity:
                raise Rejected("out_of_stock", f"{line.sku}: {line.quantity} ordered, {on_shelf} on the shelf")
            move(context, "reserve", line.sku, line.quantity, source="shelf", target="reserved")
        return StockReserved(reservation_id=f"reservation-{command.order_id}")

    @inventory.compensates(ReserveStock)
    async def release(command: ReserveStock, reserved: StockReserved | None, context: Context) -> None:
        for line in command.lines:
            move(context, "release", line.sku, line.quantity, source="reserved", target="shelf")

    return inventory


async def open_inventory(ledger: Path) -> list[Participant]:
    engine = await open_ledger(ledger, opening=[("supplier", "shelf", sku, count) for sku, count in STOCK.items()])
    return [inventory_on(engine)]


if __name__ == "__main__":
    serve(open_inventory)
