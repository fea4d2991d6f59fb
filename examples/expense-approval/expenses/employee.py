"""What an employee tells about an expense. It needs to know nothing of sagas, only the expense's id.

    python -m expenses.employee receipts exp-1 "https://archive.example/4711"
    python -m expenses.employee appeal exp-1 "there was no cheaper train"

Told again it counts once; told too early it is kept for a month.
"""

import argparse
import asyncio
import os

from countermand.participants.client import Client
from countermand.schemas import Event
from expenses.contracts import Appealed, ReceiptsHandedIn


async def tell(event: Event, expense_id: str, event_id: str) -> None:
    amqp_url = os.environ.get("COUNTERMAND_AMQP_URL", "amqp://127.0.0.1/")
    async with Client(amqp_url, name="employee") as client:
        await client.publish_event(event, key=expense_id, keep="30d", event_id=event_id)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tells something about an expense.")
    parser.add_argument("what", choices=["receipts", "appeal"])
    parser.add_argument("expense_id")
    parser.add_argument("text", help="where the receipts are, or why it should be paid after all")
    told = parser.parse_args()
    event = ReceiptsHandedIn(link=told.text) if told.what == "receipts" else Appealed(text=told.text)
    asyncio.run(tell(event, told.expense_id, event_id=f"{told.what}-{told.expense_id}"))


if __name__ == "__main__":
    main()
