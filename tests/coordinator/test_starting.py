"""`countermand start`: what is printed of a saga's end, and when waiting for it is given up."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from countermand.coordinator.cli.starting import outcome_line
from countermand.coordinator.runtime import Coordinator
from countermand.participants.client import Client
from countermand.schemas.messages import Failure, Outcome
from countermand.schemas.topology import Topology
from operate.conftest import COUNTERMAND, Terminal, coordinator, terminal
from support import RabbitServer, eventually
from system.world import Shop, Wire, trade

__all__ = ["coordinator", "terminal"]  # The fixtures of those who operate.


@pytest.fixture
async def client(rabbitmq: RabbitServer, namespace: str, coordinator: Coordinator) -> AsyncIterator[Client]:
    async with Client(rabbitmq.amqp_url, topology=Topology(namespace)) as client:
        await client.register(trade(undo_attempts=1, attempts=1))
        yield client


def started(saga_id: str, moods: dict[str, str]) -> tuple[str, ...]:
    return ("start", "trade", "--id", saga_id, "--input", json.dumps({"id": saga_id, "moods": moods}))


@pytest.mark.servers
@pytest.mark.usefixtures("client")
async def test_whoever_waits_is_told_that_the_saga_is_stuck(
    rabbitmq: RabbitServer, namespace: str, terminal: Terminal
) -> None:
    """At once, with the exit code of `watch`; not after the time that may pass until it has ended."""
    async with Shop(rabbitmq.amqp_url, namespace).working() as shop:
        shop.broken.add("pay")
        stuck = await terminal.run(*started("o-1", {"ship": "rejects"}), "--wait", "--timeout", "50")
    assert (stuck.returncode, stuck.stdout) == (9, "o-1\n"), stuck.stderr
    assert stuck.stderr == "countermand: the saga is stuck; `countermand show o-1` says why, and what can be done\n"


@pytest.mark.servers
@pytest.mark.usefixtures("client")
async def test_how_it_ended_is_told_to_people_and_to_programs(
    rabbitmq: RabbitServer, namespace: str, terminal: Terminal, tmp_path: Path
) -> None:
    """A line for people; with `-o json` one document and nothing else."""
    order = tmp_path / "order.json"
    order.write_text('{"id": "o-3", "moods": {}}')
    async with Shop(rabbitmq.amqp_url, namespace).working():
        line = await terminal.run(*started("o-1", {}), "--wait", "-o", "table")
        refused = await terminal.run(*started("o-2", {"ship": "rejects"}), "--wait", "-o", "table")
        read = await terminal.run("start", "trade", "--id", "o-3", "--input", f"@{order}", "--wait", "-o", "json")
        begun = await terminal.run(*started("o-3b", {}), "-o", "json")
    assert (line.returncode, line.stdout) == (0, "o-1\no-1 completed: order=o-1, payment=p-1\n"), line
    assert refused.returncode == 8
    assert refused.stdout.splitlines()[1] == "o-2 compensated: unwilling in ship: not today (countermand show o-2)"
    assert json.loads(read.stdout)["result"]["order"] == "o-3"
    assert json.loads(begun.stdout)["saga_id"] == "o-3b"
    near = await terminal.run("start", "trad")
    assert near.returncode == 4
    assert "trad is not registered; did you mean trade" in near.stderr


@pytest.mark.servers
@pytest.mark.usefixtures("client")
async def test_a_saga_goes_on_when_nobody_waits_any_more(
    rabbitmq: RabbitServer, namespace: str, terminal: Terminal
) -> None:
    """The time is up, or Ctrl-C: both say how it stands."""
    async with Wire(rabbitmq.amqp_url, namespace):
        late = await terminal.run(*started("o-1", {}), "--wait", "--timeout", "3")
        assert late.returncode == 124
        said = "countermand: saga o-1 has not ended within 3 s: it is running; `countermand show o-1`\n"
        assert late.stderr == said
        waiting = await asyncio.create_subprocess_exec(
            *COUNTERMAND,
            *started("o-2", {}),
            "--wait",
            env=terminal.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert waiting.stdout is not None
        assert await waiting.stdout.readline() == b"o-2\n"
        waiting.send_signal(signal.SIGINT)
        _, told = await waiting.communicate()
    assert (waiting.returncode, told.decode()) == (130, "countermand: interrupted; saga o-2 goes on\n")


@pytest.mark.servers
async def test_the_time_holds_for_all_of_it(coordinator: Coordinator, terminal: Terminal) -> None:
    """A coordinator that is silent is waited for no longer than that."""
    await coordinator.consumer.pause()
    await eventually(lambda: not coordinator.consumer.ready)
    begun_s = time.monotonic()
    silent = await terminal.run(*started("o-1", {}), "--timeout", "1")
    assert time.monotonic() - begun_s < 8  # The process itself takes a second or two on a busy machine.
    assert (silent.returncode, silent.stdout) == (6, "")
    assert "no coordinator answered within 1 s; is one running?" in silent.stderr
    assert "starting it again with --id o-1 is safe" in silent.stderr


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome("o-1", "completed"), "o-1 completed"),
        (
            Outcome("o-1", "completed", msgspec.Raw(b'{"a":1,"b":{"c":"d\\u001b"}}')),
            'o-1 completed: a=1, b={"c": "d\\u001b"}',
        ),
        (Outcome("o-1", "completed", msgspec.Raw(b"[1]")), "o-1 completed: [1]"),
        (Outcome("o-1", "abandoned"), "o-1 abandoned (countermand show o-1)"),
        (
            Outcome("o-1", "compensated_with_exceptions", failure=Failure("cancelled")),
            "o-1 compensated with exceptions: cancelled (countermand show o-1)",
        ),
    ],
)
def test_an_outcome_in_a_line(outcome: Outcome, line: str) -> None:
    """Whatever a saga answers, and however it ended."""
    assert outcome_line(outcome) == line
