"""The example's services as processes of their own, as a container engine runs them, and what places orders there."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from countermand.coordinator.runtime import running
from example.conftest import EXAMPLE
from support import RabbitServer, RedisServer, eventually
from system.world import settings

pytestmark = pytest.mark.servers
ORDERS = 6


@asynccontextmanager
async def service(
    name: str, rabbitmq: RabbitServer, namespace: str, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """A service that is ready, which reads its address from a file, as secrets come; and its ready file."""
    secret, ready_file = folder / f"{name}-amqp-url", folder / f"{name}-ready"
    secret.write_text(f"{rabbitmq.amqp_url}\n")
    arguments = ["--prefix", namespace, "--ledger", str(folder / f"{name}.sqlite"), "--ready-file", str(ready_file)]
    process = await start(f"{name}.py", *arguments, COUNTERMAND_AMQP_URL_FILE=str(secret))
    try:
        await eventually(ready_file.exists, timeout_s=30)
        yield process, ready_file
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def start(script: str, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE / script), *arguments, env=environment | variables, stdout=asyncio.subprocess.PIPE
    )


async def test_shipping_is_ready_with_both_of_its_participants(
    rabbitmq: RabbitServer, namespace: str, tmp_path: Path
) -> None:
    """One ready file speaks for the process, and goes when the service is told to stop."""
    async with service("shipping", rabbitmq, namespace, tmp_path) as (process, ready_file):
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await process.wait() == 0
        assert not ready_file.exists()


async def test_orders_placed_elsewhere_are_balanced(
    rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    """What the compose files run as `demo` places orders at services that run already; its status is the verdict."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(settings(rabbitmq.amqp_url, redis_server.url, namespace)))
        services = [service(name, rabbitmq, namespace, tmp_path) for name in ("inventory", "payments", "shipping")]
        await asyncio.gather(*(stack.enter_async_context(each) for each in services))
        placing = await start(
            "place.py",
            *("--folder", str(tmp_path), "--orders", str(ORDERS)),
            COUNTERMAND_AMQP_URL=rabbitmq.amqp_url,
            COUNTERMAND_REDIS_URL=redis_server.url,
            COUNTERMAND_PREFIX=namespace,
            COUNTERMAND_NAMESPACE=namespace,
            COUNTERMAND_PARTITIONS="4",
        )
        async with asyncio.timeout(60):
            printed, _ = await placing.communicate()
    assert placing.returncode == 0, printed.decode()
    assert f"{ORDERS}/{ORDERS} orders ended" in printed.decode()
    assert "the ledgers balance" in printed.decode()
