"""What it costs to list sagas and to group the stuck ones, with few sagas in the store and with many.

    python -m benchmarks.listing [--sagas 1000 10000 100000] [--redis URL]

The sagas are put into a Redis of our own through the store's port, without being run. One in a hundred is stuck, on
one of three causes; one in ten is tagged. Each line is the median of `ROUNDS` calls, in milliseconds.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec.structs import replace

from countermand.coordinator.core.draft import Parts
from countermand.coordinator.core.state import Saga, StepState, Stuck, StuckCause, Track
from countermand.coordinator.operate.filters import parse
from countermand.coordinator.operate.listing import page
from countermand.coordinator.operate.stuck import overview
from countermand.coordinator.ports import Commit
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.identifiers import new_saga_id, new_secret

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from store.sagas import NOW_MS, PLAN, started
from support import RedisServer

ROUNDS = 30
BATCH = 1_000
LIMIT = 50
STUCK: tuple[tuple[StuckCause, str, str], ...] = (
    ("compensation_exhausted", "charge", "bank_closed"),
    ("compensation_rejected", "reserve", "too_late"),
    ("forward_exhausted", "ship", "timed_out"),
)


def commit(template: Saga, number: int) -> Commit:
    """One stored saga of the mix: most have ended, some run, one in a hundred is stuck."""
    state = replace(
        template.state,
        saga_id=new_saga_id(),
        secret=new_secret(),
        started_ms=NOW_MS + number,
        phase="running" if number % 10 == 1 else "completed",
        tags=("vip",) if number % 10 == 2 else (),
    )
    if number % 100 == 0:
        cause, step, code = STUCK[number // 100 % 3]
        steps = {step: StepState(Track("succeeded", 1), Track("exhausted", 3, error=code))}
        stuck = Stuck(cause, NOW_MS + number, step, code)
        state = replace(state, phase="compensating", steps=steps, stuck=stuck)
    return Commit(0, new_secret(), replace(template, state=state), (), Parts(), None)


async def median_ms(call: Callable[[], Awaitable[object]]) -> float:
    """The middle one of many times."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - begin) * 1_000)
    return statistics.median(taken)


async def measure(url: str, sagas: int) -> None:
    """Fills a namespace of its own and prints what each question costs there."""
    store = RedisSagaStore(url, namespace=f"listing{sagas}", partitions=16, retention_ms=10**12)
    await store.save_definition(PLAN.definition)
    template = started("template").saga
    for first in range(0, sagas, BATCH):
        await store.commit([commit(template, number) for number in range(first, min(first + BATCH, sagas))])
    middle = f"{NOW_MS + sagas // 2}.a"
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "list, first page": lambda: page(store, parse(""), limit=LIMIT),
        "list, from the middle": lambda: page(store, parse(""), limit=LIMIT, after=middle),
        "list, one condition": lambda: page(store, parse("phase:running"), limit=LIMIT),
        "list, two conditions": lambda: page(store, parse("definition:order tag:vip"), limit=LIMIT),
        "list, two that exclude each other": lambda: page(store, parse("phase:running tag:vip"), limit=LIMIT),
        "list, by age": lambda: page(store, parse("phase:completed age:>1h"), limit=LIMIT),
        "list, one stuck group": lambda: page(store, parse("stuck:any error:bank_closed"), limit=LIMIT),
        "stuck": lambda: overview(store, parse("")),
    }
    print(f"{sagas:,} sagas")
    for name, call in questions.items():
        print(f"  {name:36}{await median_ms(call):8.1f} ms")
    await store.close()


async def run(url: str, sizes: list[int]) -> None:
    for sagas in sizes:
        await measure(url, sagas)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagas", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--redis", default=None, help="a Redis to use instead of a private one; keys stay in it")
    options = parser.parse_args()
    if options.redis is not None:
        asyncio.run(run(options.redis, options.sagas))
        return
    # Filling is no part of what is measured: it need not wait for the disk.
    server = RedisServer("redis", {"appendfsync": "no"}).launch()
    try:
        asyncio.run(run(server.url, options.sagas))
    finally:
        server.close()


if __name__ == "__main__":
    main()
