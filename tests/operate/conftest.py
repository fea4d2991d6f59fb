"""A coordinator, and the command line beside it, as an operator has them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from countermand.coordinator.runtime import Coordinator, running
from support import RabbitServer, RedisServer
from system.world import settings

COUNTERMAND = (sys.executable, "-m", "countermand.coordinator.cli.main")


class Terminal:
    """Where an operator types."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run,
            [*COUNTERMAND, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    async def json(self, *arguments: str) -> Any:
        """What a command that has to succeed prints as JSON."""
        done = await self.run(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
async def coordinator(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> AsyncIterator[Coordinator]:
    async with running(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as coordinator:
        yield coordinator


@pytest.fixture
def terminal(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> Terminal:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")}
    return Terminal(
        inherited
        | {
            "COUNTERMAND_AMQP_URL": rabbitmq.amqp_url,
            "COUNTERMAND_REDIS_URL": redis_server.url,
            "COUNTERMAND_PREFIX": namespace,
            "COUNTERMAND_NAMESPACE": namespace,
            "COUNTERMAND_PARTITIONS": "4",
            "COUNTERMAND_ACTOR": "anna",
        }
    )
