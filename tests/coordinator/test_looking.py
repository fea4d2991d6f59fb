"""Looking from the terminal: show, history, watch, definitions and participants, as a person runs them."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner

from countermand.coordinator.cli.main import cli
from countermand.coordinator.operate.looking import look, newest_records, records_after
from countermand.coordinator.runtime import Coordinator, running
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.participants.client import Client
from countermand.schemas.errors import SagaUnreadable
from countermand.schemas.topology import Topology
from store.sagas import PLAN, reserved, signalled, started
from store.steps import commit
from support import RabbitServer, RedisServer, eventually
from system.world import Order, Shop, Wire, sale, settings, trade

COUNTERMAND = (sys.executable, "-m", "countermand.coordinator.cli.main")

Environment = dict[str, str]


@pytest.fixture
def environment(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> Environment:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")},
        "COUNTERMAND_AMQP_URL": rabbitmq.amqp_url,
        "COUNTERMAND_REDIS_URL": redis_server.url,
        "COUNTERMAND_PREFIX": namespace,
        "COUNTERMAND_NAMESPACE": namespace,
        "COUNTERMAND_PARTITIONS": "4",
        "COLUMNS": "80",
    }


@pytest.fixture
async def coordinator(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> AsyncIterator[Coordinator]:
    async with running(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as coordinator:
        yield coordinator


@pytest.fixture
async def client(coordinator: Coordinator, rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Client]:
    async with Client(rabbitmq.amqp_url, topology=Topology(namespace)) as client:
        yield client


async def begin(environment: Environment, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COUNTERMAND, *arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


async def run(environment: Environment, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and messages of a command. In this process, because a new one costs a second."""
    done = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


# --- what the commands stand on


async def journal(count: int) -> MemorySagaStore:
    """A store with a saga whose journal has two entries of version 1, and one for each later version."""
    store = MemorySagaStore(retention_ms=1_000, now_ms=lambda: 7)
    await store.save_definition(PLAN.definition)
    saga = await commit(store, started("s-1"))
    for _ in range(count):
        saga = await commit(store, signalled(saga))
    return store


async def test_the_newest_part_of_a_journal_says_whether_there_is_more() -> None:
    """At most so many, the oldest of them first."""
    store = await journal(10)
    whole = await newest_records(store, "s-1", 100)
    assert (len(whole.records), whole.more) == (12, False)
    part = await newest_records(store, "s-1", 11)
    assert (part.records, part.more) == (whole.records[1:], True)


async def test_what_came_after_a_version_is_found_however_far_back() -> None:
    """Also beyond the first part that is read."""
    store = await journal(450)
    after = await records_after(store, "s-1", 3)
    assert ([record.version for record in after.records], after.more) == (list(range(4, 452)), False)
    assert (await records_after(store, "s-1", 451)).records == []
    everything = await records_after(store, "s-1", 0)
    assert (len(everything.records), everything.more) == (452, False)


async def test_a_look_without_its_definition_says_so() -> None:
    """A saga that can't be told is no saga that isn't there."""
    store = MemorySagaStore(retention_ms=1_000, now_ms=lambda: 7)
    saga = await commit(store, started("s-1"))
    await commit(store, reserved(saga))
    assert await look(store, "nobody") is None
    with pytest.raises(SagaUnreadable, match="order@1"):
        await look(store, "s-1")


# --- the commands


@pytest.mark.servers
async def test_sagas_that_end_are_told_to_their_end(
    client: Client, environment: Environment, rabbitmq: RabbitServer, namespace: str
) -> None:
    """Shown in time, narrated line by line; the exit code of watch says how each ended."""
    await client.register(trade())
    async with Shop(rabbitmq.amqp_url, namespace).working():
        for saga_id, moods in (("o-1", {}), ("o-2", {"ship": "rejects"})):
            handle = await client.start(trade(), Order(saga_id, moods), saga_id=saga_id, tags=("vip",))
            await handle.outcome(timeout_s=20)
        served = await run(environment, "participants")
    shown = await run(environment, "show", "o-2")
    told = await run(environment | {"COLUMNS": "120"}, "history", "o-2")
    narrow = await run(environment, "history", "o-2", "--tail", "1")
    watched = await run(environment, "watch", "o-1", "-o", "jsonl")
    compensated = await run(environment, "watch", "o-2")
    missing = await run(environment, "history", "nobody")
    payloads = await run(environment, "show", "o-1", "--payloads")
    document = await run(environment, "show", "o-2", "-o", "json")
    assert shown[0] == 0, shown
    assert "compensated: everything was undone" in shown[1]
    assert "turned back: unwilling in step ship: not today" in shown[1]
    assert "tags vip" in shown[1]
    said = " ".join(told[1].split())
    assert said.endswith("the saga ended compensated: everything was undone [reply:reserve/undo/1/succeeded]"), said
    assert narrow[1].rstrip().endswith("the saga ended compensated: everything was undone")
    assert "there are older entries" in narrow[2]
    assert watched[0] == 0
    assert [json.loads(line)["entry"] for line in watched[1].splitlines()][::-1][0] == "saga_ended"
    assert (compensated[0], missing[0]) == (8, 3)
    assert "reservation" not in shown[1]
    assert '"reservation": "r-1"' in payloads[1], payloads
    detail = json.loads(document[1])
    assert [(each["step"], each["action"], each["compensation"]) for each in detail["steps"]] == [
        ("reserve", "succeeded", "succeeded"),
        ("pay", "succeeded", "succeeded"),
        ("quote", "succeeded", None),
        ("ship", "rejected", None),
    ]
    assert served[0] == 0, served
    assert "PROBLEM" not in served[1]
    assert "does reserve (and undoes it)" in served[1]


@pytest.mark.servers
async def test_a_stuck_saga_is_explained(
    client: Client, environment: Environment, rabbitmq: RabbitServer, namespace: str
) -> None:
    """Why, since when and what can be done; watch ends with its own exit code, and follow with the saga."""
    definition = sale(timeout="1500ms", attempts=1)
    await client.register(definition)
    async with Wire(rabbitmq.amqp_url, namespace) as wire:
        await client.start(definition, Order("o-1"), saga_id="o-1")
        await wire.go_on("reserve", "pay")
        watching = asyncio.create_task(run(environment, "watch", "o-1"))
        capture = await wire.command("capture")
        code, _, said = await watching
        assert code == 9, said
        assert "countermand show o-1" in said
        _, shown, _ = await run(environment, "show", "o-1")
        assert "STUCK for" in shown
        assert "countermand retry o-1 --step capture --reason '…'" in shown
        _, listed, _ = await run(environment, "definitions", "-o", "json")
        assert [(each["definition"], each["in_motion"]) for each in json.loads(listed)] == [("sale@1", 1)]
        following = await begin(environment, "history", "o-1", "--follow", "--after", "1")
        assert following.stdout is not None
        first = await following.stdout.readline()
        assert b"reserve was done" in first, first
        # The pivot's answer comes late, and frees the saga.
        await wire.reply(capture)
        await wire.go_on("ship")
        out, complaints = await following.communicate()
    assert following.returncode == 0, complaints
    assert b"ship was done by attempt 1" in out
    assert b"the saga completed" in out.splitlines()[-1]


@pytest.mark.servers
async def test_what_happens_is_watched_as_it_happens(
    client: Client, environment: Environment, rabbitmq: RabbitServer, namespace: str
) -> None:
    """One line of JSON for each event; Ctrl-C ends it with the code for that."""
    await client.register(trade())
    watching = await begin(environment, "watch", "-o", "jsonl", "--definition", "trade")
    assert watching.stdout is not None
    try:
        async with Shop(rabbitmq.amqp_url, namespace).working():
            numbers = iter(range(1_000))
            first = asyncio.create_task(watching.stdout.readline())

            async def heard() -> bool:
                # Nobody says when it has begun to listen: sagas are started until one is heard of.
                handle = await client.start(trade(), Order("o"), saga_id=f"o-{next(numbers)}")
                await handle.outcome(timeout_s=20)
                return first.done()

            await eventually(heard, timeout_s=30)
            event = json.loads(await first)
        watching.send_signal(signal.SIGINT)
        async with asyncio.timeout(15):
            await watching.communicate()
    finally:
        if watching.returncode is None:
            watching.kill()
            await watching.wait()
    assert watching.returncode == 130
    assert event["definition"] == "trade@1"
    assert event["said"]


@pytest.mark.servers
@pytest.mark.usefixtures("coordinator")
async def test_whoever_watches_at_a_terminal_is_told_what_ends_it(environment: Environment) -> None:
    """Once, on standard error; and it does."""
    ours, theirs = pty.openpty()
    try:
        watching = await asyncio.create_subprocess_exec(
            *COUNTERMAND, "watch", env=environment, stdout=subprocess.DEVNULL, stderr=theirs
        )
        said = await asyncio.wait_for(asyncio.to_thread(os.read, ours, 1_000), 30)
        watching.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(watching.wait(), 15) == 130
    finally:
        os.close(ours)
        os.close(theirs)
    assert said.decode() == "countermand: Ctrl-C ends it\r\n"


@pytest.mark.servers
async def test_definitions_are_listed_and_printed(client: Client, environment: Environment) -> None:
    """Each version with its steps and participants; the document is the one that was registered."""
    await client.register(trade())
    listed = await run(environment, "definitions")
    document = await run(environment, "definitions", "show", "trade@1", "-o", "json")
    unknown = await run(environment, "definitions", "show", "trad")
    usage = await run(environment, "definitions", "show", "trade@one")
    gone = await run(environment, "participants", "-o", "json")
    assert all(word in listed[1] for word in ("trade@1", trade().hash[:12], "bank, carrier, stock")), listed
    assert json.loads(document[1]) == json.loads(trade().document)
    assert unknown[0] == 3
    assert "did you mean trade?" in unknown[2] or "did you mean trade@1?" in unknown[2]
    assert usage[0] == 2
    bank = json.loads(gone[1])[0]
    assert (bank["participant"], bank["problems"]) == ("bank", ["no consumer"])
    assert bank["notes"][0].startswith("never announced itself")


@pytest.mark.servers
async def test_a_broker_that_is_away_hides_only_the_queues(
    client: Client, environment: Environment, namespace: str
) -> None:
    """What the store knows is shown; the exit code says that something is missing."""
    await client.register(trade())
    # In a process of its own, on a terminal that knows no more than ASCII.
    away = environment | {"COUNTERMAND_AMQP_URL": "amqp://127.0.0.1:1/", "PYTHONIOENCODING": "ascii"}
    process = await begin(away, "participants")
    out, said = (each.decode() for each in await process.communicate())
    assert process.returncode == 6
    assert "bank" in out
    assert "the queues are not shown" in said
