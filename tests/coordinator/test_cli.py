"""The command line, as a person runs it: processes, exit codes, what is on standard output and what is not."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from countermand.schemas.topology import Topology
from support import RabbitServer, RedisServer, eventually
from system.world import Shop, trade

COUNTERMAND = (sys.executable, "-m", "countermand.coordinator.cli.main")


@pytest.fixture
def environment(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")},
        "COUNTERMAND_AMQP_URL": rabbitmq.amqp_url,
        "COUNTERMAND_REDIS_URL": redis_server.url,
        "COUNTERMAND_PREFIX": namespace,
        "COUNTERMAND_NAMESPACE": namespace,
    }


@pytest.fixture
async def served(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Path]:
    """A coordinator process; the path of its log."""
    log = tmp_path / "coordinator.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*COUNTERMAND, "serve", env=environment, stderr=file)
    try:
        await eventually(lambda: "coordinator_ready" in log.read_text(), timeout_s=30)
        yield log
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() == 0
        assert "coordinator_stopped" in log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(environment: dict[str, str], *arguments: str, input_: str = "") -> subprocess.CompletedProcess[str]:
    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COUNTERMAND, *arguments],
            env=environment,
            input=input_,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return await asyncio.to_thread(call)


async def test_from_apply_to_show(
    served: Path, environment: dict[str, str], rabbitmq: RabbitServer, namespace: str, tmp_path: Path
) -> None:
    """A definition is registered, a saga started, awaited, listed and shown, all from the terminal."""
    document = tmp_path / "trade.json"
    document.write_bytes(trade().document)
    applied = await run(environment, "apply", str(document))
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.split() == ["trade@1", trade().hash]
    async with Shop(rabbitmq.amqp_url, namespace).working():
        order = json.dumps({"id": "o-1", "moods": {}})
        started = await run(environment, "start", "trade", "--input", order, "--id", "o-1", "--tag", "vip", "--wait")
        assert started.returncode == 0, started.stderr
        saga_id, outcome = started.stdout.splitlines()
        assert saga_id == "o-1"
        assert json.loads(outcome)["phase"] == "completed"
        order = json.dumps({"id": "o-2", "moods": {"ship": "rejects"}})
        refused = await run(environment, "start", "trade@1", "--input", "-", "--id", "o-2", "--wait", input_=order)
        assert refused.returncode == 8, refused.stderr
    listed = await run(environment, "list", "-o", "jsonl")
    assert {json.loads(line)["saga_id"] for line in listed.stdout.splitlines()} == {"o-1", "o-2"}
    tagged = await run(environment, "list", "--tag", "vip", "--phase", "completed", "-o", "json")
    assert [row["saga_id"] for row in json.loads(tagged.stdout)["sagas"]] == ["o-1"]
    detail = await run(environment, "show", "o-2", "-o", "json")
    assert json.loads(detail.stdout)["failure"]["step"] == "ship"
    assert "secret" not in detail.stdout
    table = await run(environment, "show", "o-2")
    assert "turned back: unwilling in step ship" in table.stdout


async def test_refusals_name_what_is_wrong(served: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """What is refused says why on standard error, and has an exit code of its own."""
    unknown = await run(environment, "start", "nothing", "--id", "o-1")
    assert (unknown.returncode, unknown.stdout) == (4, "")
    assert "nothing is not registered" in unknown.stderr
    broken = tmp_path / "broken.json"
    broken.write_text('{"countermand": 1, "name": "x", "version": 1, "root": {"nodes": []}}')
    applied = await run(environment, "apply", str(broken))
    assert applied.returncode == 4
    assert "root" in applied.stderr
    missing = await run(environment, "show", "o-404")
    assert missing.returncode == 3
    name = await run(environment, "start", "Not A Name")
    assert name.returncode == 2
    version = await run(environment, "start", "trade@one")
    assert version.returncode == 2
    phase = await run(environment, "list", "--phase", "sleeping")
    assert phase.returncode == 2
    body = await run(environment, "start", "trade", "--input", "{")
    assert body.returncode == 2


async def test_mistakes_in_settings(environment: dict[str, str]) -> None:
    """A coordinator with a wrong setting doesn't start, and says which one."""
    serve = await run(environment | {"COUNTERMAND_PARTITIONS": "none"}, "serve")
    assert serve.returncode == 2
    assert "COUNTERMAND_PARTITIONS" in serve.stderr


async def test_unsafe_server(environment: dict[str, str], own_redis: RedisServer) -> None:
    """A coordinator refuses a store that would lose sagas, and says how to mend it."""
    own_redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    serve = await run(environment | {"COUNTERMAND_REDIS_URL": own_redis.url}, "serve")
    assert serve.returncode == 4
    assert "noeviction" in serve.stderr
    assert "COUNTERMAND_ALLOW_UNSAFE=eviction" in serve.stderr


async def test_help_is_quick_to_import() -> None:
    """`--help` imports neither the drivers nor the tables."""
    code = (
        "import sys, countermand.coordinator.cli.main\n"
        "heavy = [name for name in ('aio_pika', 'redis', 'rich', 'structlog') if name in sys.modules]\n"
        "print(heavy)"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_topology_is_named_by_the_prefix() -> None:
    """Everything on the broker carries the prefix, so two systems can share it."""
    declarations = Topology("mine").common() + Topology("mine").participant("p") + Topology("mine").client("c")
    names = [each.name for each in declarations.exchanges] + [each.name for each in declarations.queues]
    assert all(name.startswith("mine.") for name in names)
