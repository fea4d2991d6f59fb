"""Runs 200 orders through crashes, and balances the books.

    python examples/order-fulfilment/run.py

Starts a private RabbitMQ and Redis, two coordinators and three services; places every order of `orders.jsonl`; kills a
coordinator and a service in the middle of it with SIGKILL and starts them again; waits for the end of every saga; then
compares each service's ledger with what the sagas say. Status 0 means that they agree to the cent.
"""

import argparse
import asyncio
import contextlib
import logging
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from balance import differences
from contracts import Order
from evidence import quiet_ledgers, write_evidence
from placing import Kill, Placing
from saga import fulfil
from stage import HERE, Stage, StageFailed, private_servers, say

from countermand.participants.client import Client, SagaOutcome
from countermand.schemas.errors import CountermandError
from countermand.schemas.topology import Topology

KILLS = ["25:coordinator-1", "50:payments"]
# A run takes half a minute. After this something is stuck, and saying so is better than waiting.
PATIENCE_S = 240.0
INTERRUPTED = 130


def main() -> int:
    options = _options()
    # Whoever ends us politely means what Ctrl-C means.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = options.folder or Path(tempfile.mkdtemp(prefix="countermand-orders-"))
    folder.mkdir(parents=True, exist_ok=True)
    status = 1
    try:
        status = _perform(options, folder)
    except KeyboardInterrupt:
        say("interrupted; everything that was started has been stopped")
        status = INTERRUPTED
    finally:
        if status == 0 and options.folder is None:
            shutil.rmtree(folder)
        else:
            say(f"ledgers, outcomes and logs are in {folder}")
    return status


def _perform(options: argparse.Namespace, folder: Path) -> int:
    status = 1
    try:
        with contextlib.ExitStack() as servers:
            if not (options.amqp and options.redis):
                say("starting a private RabbitMQ and a private Redis")
                amqp_url, redis_url = servers.enter_context(private_servers())
                options.amqp, options.redis = options.amqp or amqp_url, options.redis or redis_url
            status = asyncio.run(_run(options, folder))
    except* (StageFailed, CountermandError) as group:
        for error in _leaves(group):
            say(f"FAILED: {type(error).__name__}: {error}")
    return status


async def _run(options: argparse.Namespace, folder: Path) -> int:
    orders = _orders(options.orders)
    stage = Stage(
        folder, amqp_url=options.amqp, redis_url=options.redis, prefix=options.prefix, namespace=options.namespace
    )
    kills = [_kill(text, len(orders)) for text in options.kill]
    placing = Placing(stage, orders, in_flight=options.in_flight, kills=kills, down_s=options.down)
    with stage:
        say("started " + ", ".join(f"{process.name} ({process.pid})" for process in stage.processes.values()))
        async with Client(options.amqp, topology=Topology(options.prefix), name="shop") as client:
            defined = await client.register(fulfil)
            say(f"registered {defined.name}@{defined.version}, placing {len(orders)} orders")
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await placing.run(client)
            except TimeoutError as error:
                raise StageFailed(_not_ended(stage, orders, placing)) from error
        say("every saga has ended; waiting until the ledgers are quiet")
        await quiet_ledgers(folder)
        await write_evidence(folder, stage, orders, placing.outcomes)
    _print_table(placing.outcomes.values())
    found = differences(folder)
    for difference in found:
        say(f"DIFFERENCE {difference}")
    say(f"FAILED: {len(found)} differences" if found else "the ledgers balance: every order is all done or all undone")
    return 1 if found else 0


def _orders(count: int) -> list[Order]:
    lines = (HERE / "orders.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Order) for line in lines[:count]]


def _kill(text: str, orders: int) -> Kill:
    percent, _, name = text.partition(":")
    return Kill(orders * int(percent) // 100, name)


def _not_ended(stage: Stage, orders: list[Order], placing: Placing) -> str:
    waiting = [order.id for order in orders if order.id not in placing.outcomes]
    text = f"after {PATIENCE_S:g} s these have not ended: {', '.join(waiting)}"
    listed = stage.countermand("list", "--limit", "1000", "--output", "jsonl")
    known = [saga_id for saga_id in waiting if f'"{saga_id}"' in listed]
    return f"{text}\n{stage.countermand('show', known[0])}" if known else text


def _print_table(outcomes: Iterable[SagaOutcome[Any]]) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        failure = outcome.failure
        why = "" if failure is None else f"{failure.step or 'the saga'}: {failure.code}"
        counted[outcome.phase, why] += 1
    say("")
    for (phase, why), count in sorted(counted.items(), key=lambda each: (-each[1], each[0])):
        say(f"{count:5}  {phase:12}  {why}".rstrip())
    say("")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs orders through crashes, and balances the books.")
    parser.add_argument("--orders", type=int, default=200, help="how many of the orders to place (default: all)")
    parser.add_argument("--in-flight", type=int, default=24, help="how many at a time")
    parser.add_argument("--kill", action="append", metavar="PERCENT:NAME", help=f"default: {' '.join(KILLS)}")
    parser.add_argument("--down", type=float, default=1.0, metavar="SECONDS", help="how long a killed process is away")
    parser.add_argument("--folder", type=Path, help="keep ledgers, outcomes and logs here")
    parser.add_argument("--amqp", metavar="URL", help="a RabbitMQ to use instead of a private one")
    parser.add_argument("--redis", metavar="URL", help="a Redis to use instead of a private one")
    parser.add_argument("--prefix", default="countermand", help="of every name on the RabbitMQ")
    parser.add_argument("--namespace", default="countermand", help="of every key in the Redis")
    options = parser.parse_args()
    options.kill = KILLS if options.kill is None else options.kill
    if options.folder and any(options.folder.glob("*.sqlite")):
        parser.error(f"--folder {options.folder}: holds the books of an earlier run, which would be added to")
    for text in options.kill:
        percent, _, name = text.partition(":")
        if not percent.isdigit() or name not in Stage.NAMES:
            parser.error(f"--kill {text}: expected PERCENT:NAME, where NAME is one of {', '.join(Stage.NAMES)}")
    return options


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


if __name__ == "__main__":
    sys.exit(main())
