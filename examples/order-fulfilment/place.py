"""Places the orders at a shop that runs elsewhere, waits for their end, and balances the books.

    python place.py --folder BOOKS

Where RabbitMQ and Redis are it reads from the environment, as a coordinator does (COUNTERMAND_AMQP_URL …). BOOKS holds
the ledgers of the three services; the compose files of this repository share them in a volume. It may run again: an
order that was placed before is the same saga, and is answered. Status 0 means that the ledgers agree with the sagas.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import structlog
from balance import judge
from contracts import Order
from shop import ORDERS, orders_of, place_all

from countermand.coordinator.dev.demo.judgement import quiet_ledgers, write_evidence
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings, load_settings
from countermand.participants.client import Client
from countermand.schemas.topology import Topology

# Longer than the deadline of a saga: after this something is stuck, and saying so is better than waiting.
PATIENCE_S = 300.0
REPORTS = 10


class Progress:
    """What became of each order, told now and then."""

    def __init__(self, total: int) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self._total = total

    def hear(self, what: dict[str, Any]) -> None:
        if "ended" not in what:
            return
        outcome = msgspec.to_builtins(what["ended"])
        self.told[outcome["saga_id"]] = outcome
        if len(self.told) % max(1, self._total // REPORTS) == 0:
            say(f"{len(self.told):>{len(str(self._total))}}/{self._total} orders ended: {self.summary()}")

    def summary(self) -> str:
        counted = Counter(outcome["phase"] for outcome in self.told.values())
        return ", ".join(f"{count} {phase}" for phase, count in sorted(counted.items()))


async def run(settings: Settings, folder: Path, orders: list[Order]) -> int:
    progress = Progress(len(orders))
    async with Client(settings.amqp_url, topology=Topology(settings.prefix), name="shop") as client:
        say(f"placing {len(orders)} orders")
        async with asyncio.timeout(PATIENCE_S):
            await place_all(client, orders, progress.hear)
    say("every saga has ended; waiting until the ledgers are quiet")
    await quiet_ledgers(folder)
    store = open_store(settings)
    try:
        await write_evidence(folder, store, [msgspec.to_builtins(order) for order in orders], progress.told)
    finally:
        await store.close()
    differences = judge(folder).differences
    for difference in differences:
        say(f"DIFFERENCE {difference}")
    verdict = "the ledgers balance: every order is all done or all undone"
    say(f"FAILED: {len(differences)} differences" if differences else verdict)
    return 1 if differences else 0


def say(text: str) -> None:
    """A line for whoever watches, with the seconds since the beginning."""
    print(f"{time.monotonic() - _begun_s:6.1f} s  {text}", flush=True)


_begun_s = time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser(description="Places the orders at a shop that runs elsewhere.")
    parser.add_argument("--folder", type=Path, required=True, help="where the ledgers are")
    parser.add_argument("--orders", type=int, metavar="COUNT", help="how many of the orders to place (default: all)")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return asyncio.run(run(load_settings(), options.folder, orders_of(ORDERS, options.orders)))


if __name__ == "__main__":
    sys.exit(main())
