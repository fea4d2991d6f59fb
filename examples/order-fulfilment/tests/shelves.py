"""The shop as a test opens it: its three services on fresh ledgers, and how to look at what they did."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from catalogue import STOCK
from inventory import inventory_on
from ledger import open_ledger
from payments import payments_on
from shipping import carriers, shipping_on
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from countermand.participants import Participant

LEDGERS = ("inventory", "payments", "shipping")

# What each account holds of each item: what was moved there less what was moved away.
HOLDINGS = """
    SELECT account, item, SUM(amount) FROM (
        SELECT target AS account, item, amount FROM ledger
        UNION ALL SELECT source, item, -amount FROM ledger
    ) GROUP BY account, item
"""


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncIterator[list[Participant]]:
    """All participants, with their ledgers in this folder."""
    async with AsyncExitStack() as stack:
        engines = {}
        for name in LEDGERS:
            opening = [("supplier", "shelf", sku, count) for sku, count in STOCK.items() if name == "inventory"]
            engine = engines[name] = await open_ledger(folder / f"{name}.sqlite", opening=opening)
            # A test's ledger needs to survive no power failure, and waiting for the disk is most of its time.
            event.listen(engine.sync_engine, "connect", _in_a_hurry)
            stack.push_async_callback(engine.dispose)
            await engine.dispose()  # So that the connections to come are in a hurry too.
        yield [
            inventory_on(engines["inventory"]),
            payments_on(engines["payments"]),
            carriers(),
            shipping_on(engines["shipping"]),
        ]


def _in_a_hurry(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


def holdings(folder: Path) -> dict[str, int]:
    """The effects of the shop: `{"shelf vase-blue": 200, "held payment-1": 5000}`."""
    found: dict[str, int] = {}
    for name in LEDGERS:
        connection = sqlite3.connect(folder / f"{name}.sqlite")
        try:
            found |= {f"{account} {item}": amount for account, item, amount in connection.execute(HOLDINGS)}
        finally:
            connection.close()
    return found
