"""`countermand probe`: what a health check sees of a coordinator."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from countermand.coordinator.cli.main import cli
from support import RabbitServer, RedisServer, TcpProxy, eventually

COUNTERMAND = (sys.executable, "-m", "countermand.coordinator.cli.main")
NOT_READY = 6


def probe(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, ["probe", *arguments], env={"COUNTERMAND_READY_FILE": None, **(environment or {})})


def is_ready(ready_file: Path) -> bool:
    return probe("--ready-file", str(ready_file)).exit_code == 0


def test_a_fresh_file_is_readiness(tmp_path: Path) -> None:
    """The file may be named by an option, or by the setting of the coordinator that keeps it."""
    file = tmp_path / "ready"
    file.touch()
    assert probe("--ready-file", str(file)).exit_code == 0
    assert probe(environment={"COUNTERMAND_READY_FILE": str(file)}).exit_code == 0


@pytest.mark.parametrize(("age_s", "code"), [(3, 0), (7, NOT_READY), (-3, 0), (-3600, NOT_READY)])
def test_an_old_file_is_none(tmp_path: Path, age_s: int, code: int) -> None:
    """A process that hangs can't remove its file; nor may a clock that was set back keep one fresh for an hour."""
    file = tmp_path / "ready"
    file.touch()
    moment = file.stat().st_mtime - age_s
    os.utime(file, (moment, moment))
    answer = probe("--ready-file", str(file))
    assert answer.exit_code == code
    assert (f"{abs(age_s)} s" in answer.stderr) is (code != 0)


def test_a_missing_file_says_what_that_may_mean(tmp_path: Path) -> None:
    """Whoever reads the engine's log of the check learns where to look."""
    answer = probe("--ready-file", str(tmp_path / "ready"))
    assert (answer.exit_code, answer.stdout) == (NOT_READY, "")
    assert f"{tmp_path / 'ready'} isn't there" in answer.stderr


def test_without_a_file_there_is_nothing_to_ask(tmp_path: Path) -> None:
    """A mistake in the settings of a health check is told from a coordinator that isn't ready."""
    answer = probe()
    assert answer.exit_code == 2
    assert "--ready-file" in answer.stderr


def test_a_probe_is_cheap() -> None:
    """It runs every few seconds beside each process, so it imports no driver."""
    code = (
        "import atexit, sys\n"
        "from countermand.coordinator.cli.main import cli\n"
        "heavy = ('aio_pika', 'redis', 'rich', 'structlog')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules]))\n"
        "cli(['probe', '--ready-file', '/nowhere'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (NOT_READY, "[]")


@pytest.fixture
async def served(
    rabbitmq: RabbitServer, own_redis: RedisServer, namespace: str, tmp_path: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, TcpProxy, Path]]:
    """A coordinator process that keeps a ready file, the way to its broker, and the file."""
    ready_file = tmp_path / "ready"
    async with TcpProxy(*rabbitmq.address) as way:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")},
            "COUNTERMAND_AMQP_URL": way.url_for(rabbitmq.amqp_url),
            "COUNTERMAND_REDIS_URL": own_redis.url,
            "COUNTERMAND_PREFIX": namespace,
            "COUNTERMAND_NAMESPACE": namespace,
            "COUNTERMAND_STORE_TIMEOUT_MS": "500",
            "COUNTERMAND_READY_FILE": str(ready_file),
        }
        ready_file.touch()  # A process that was killed has left it.
        with (tmp_path / "coordinator.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*COUNTERMAND, "serve", env=environment, stderr=log)
        try:
            await eventually(lambda: b"coordinator_ready" in (tmp_path / "coordinator.log").read_bytes(), timeout_s=30)
            yield process, way, ready_file
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.servers
async def test_readiness_follows_the_servers(
    served: tuple[asyncio.subprocess.Process, TcpProxy, Path], own_redis: RedisServer
) -> None:
    """Not ready without the store, not ready without the broker, ready again with both, and not ready when stopped."""
    process, way, ready_file = served
    await eventually(lambda: is_ready(ready_file))
    await own_redis.pause_async()
    await eventually(lambda: not ready_file.exists())
    await own_redis.resume_async()
    await eventually(lambda: is_ready(ready_file))
    way.refuse()
    await eventually(lambda: not ready_file.exists())
    way.release()
    await eventually(lambda: is_ready(ready_file), timeout_s=30)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(15):
        assert await process.wait() == 0
    assert not ready_file.exists()


@pytest.mark.servers
async def test_a_coordinator_that_hangs_is_not_ready(
    served: tuple[asyncio.subprocess.Process, TcpProxy, Path],
) -> None:
    """Frozen, it can't remove its file; but the file grows old."""
    process, _, ready_file = served
    await eventually(lambda: is_ready(ready_file))
    process.send_signal(signal.SIGSTOP)
    long_ago = ready_file.stat().st_mtime - 10
    os.utime(ready_file, (long_ago, long_ago))
    assert not is_ready(ready_file)
    process.send_signal(signal.SIGCONT)
    await eventually(lambda: is_ready(ready_file))
