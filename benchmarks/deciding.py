"""What it costs to decide a large saga, for each item or step of it: the same, if the cost grows with the work only.

    python -m benchmarks.deciding [--sizes 125 250 500 1000] [--rounds 5]

The core decides, and the store in memory loads and keeps; there is no server and no message, so nothing but deciding is
measured. Each saga is carried to its end by good answers, or, where the last step says no, forwards and all the way
back. A line gives the median of the rounds: CPU microseconds for each item or step, how often a part of the saga was
loaded, and the most bytes that its state ever had.
"""

import argparse
import asyncio
import statistics
import time
from collections import deque

import msgspec

from countermand.coordinator.core import Plan, decide, pending_commands, wake_at
from countermand.coordinator.core.events import ReplyReceived, SagaEvent, StartRequested
from countermand.coordinator.core.journal import StepAsked
from countermand.coordinator.core.state import EVERYTHING, NotLoaded, Saga
from countermand.coordinator.ports import Commit
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.schemas.definition import Definition, ForEachNode, SequenceNode, StepNode
from countermand.schemas.messages import CommandMessage, Rejected, ReplyMessage, ReplyOutcome, Succeeded

SAGA_ID = "saga"
AT_MS = 1_700_000_000_000
SECRET = "0123456789abcdef" * 2
DONE = Succeeded(msgspec.Raw(b'{"value":7}'))
LAST = "last"


def loop(size: int) -> Definition:
    """A for-each over so many items, ten at a time, and a last step."""
    item = StepNode("one", "worker", "work", {"item": {"$": "each.items.item"}})
    root = SequenceNode((ForEachNode("items", {"$": "input.items"}, item), StepNode(LAST, "worker", "finish")))
    return Definition(1, "loop", size, root, outcome={"all": {"$": "steps.one"}})


def sequence(size: int) -> Definition:
    """So many steps, each of which takes what the one before it gave, and a last one."""
    steps = [StepNode("s0", "worker", "work", {"item": {"$": "input.items[0]"}})]
    steps += [
        StepNode(f"s{index}", "worker", "work", {"item": {"$": f"steps.s{index - 1}.value"}})
        for index in range(1, size)
    ]
    return Definition(1, "sequence", size, SequenceNode((*steps, StepNode(LAST, "worker", "finish"))))


class Run(msgspec.Struct):
    """One saga from its start to its end."""

    cpu_s: float
    loads: int
    state_bytes_max: int


def reply(command: CommandMessage, *, back: bool) -> SagaEvent:
    outcome: ReplyOutcome = Rejected("no") if back and command.step == LAST else DONE
    return ReplyReceived(
        f"reply:{command.step}",
        AT_MS,
        ReplyMessage(
            saga_id=SAGA_ID,
            step=command.step,
            direction=command.direction,
            attempt=command.attempt,
            key=command.key,
            command_id=command.command_id,
            saga_version=command.saga_version,
            participant=command.participant,
            outcome=outcome,
        ),
    )


async def carry(definition: Definition, size: int, *, back: bool) -> Run:
    """Carries a saga to its end, as the one path does."""
    plan, store = Plan(definition), MemorySagaStore(retention_ms=1, now_ms=lambda: AT_MS)
    input_ = msgspec.Raw(msgspec.json.encode({"items": list(range(size))}))
    events: deque[SagaEvent] = deque([StartRequested("start", AT_MS, SAGA_ID, input_, SECRET, "content")])
    loads, largest, begin = 0, 0, time.process_time()
    saga: Saga | None = None
    while events:
        event, wanted = events.popleft(), None
        while True:
            (loaded,) = await store.load_parts([(SAGA_ID, wanted)])
            loads += 1
            before = None if loaded is None else loaded.saga
            try:
                decision = decide(plan, before, event)
                break
            except NotLoaded as missing:
                wanted = (wanted or frozenset()) | missing.parts if missing.parts else EVERYTHING
        saga = decision.saga
        if saga is None or not decision.records:
            raise SystemExit(f"{event.event_id} changed nothing")
        version = 0 if before is None else before.state.version
        await store.commit([Commit(version, "token", saga, decision.records, decision.parts, wake_at(saga.state))])
        asked = {
            (each.entry.step, each.entry.direction, each.entry.attempt)
            for each in decision.records
            if isinstance(each.entry, StepAsked)
        }
        events.extend(reply(command, back=back) for command in pending_commands(plan, saga, asked.__contains__))
        largest = max(largest, len(msgspec.msgpack.encode(saga.state)))
    taken = time.process_time() - begin
    if saga is None or saga.state.phase != ("compensated" if back else "completed"):
        raise SystemExit("the saga did not come to its end")
    return Run(taken, loads, largest)


async def measure(sizes: list[int], rounds: int) -> None:
    shapes = {"for_each, ten at a time": loop, "a sequence": sequence}
    print(f"{'':44}{'items':>8}{'µs each':>10}{'loads each':>12}{'state, bytes':>14}")
    for name, shape in shapes.items():
        for back in (False, True):
            for size in sizes:
                runs = [await carry(shape(size), size, back=back) for _ in range(rounds)]
                each_us = statistics.median(run.cpu_s for run in runs) / size * 1_000_000
                label = f"{name}, {'there and back' if back else 'to its end'}"
                print(f"{label:44}{size:8}{each_us:10.0f}{runs[0].loads / size:12.1f}{runs[0].state_bytes_max:14}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[125, 250, 500, 1_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(measure(options.sizes, options.rounds))


if __name__ == "__main__":
    main()
