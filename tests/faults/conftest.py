"""A broker for all fault tests, a store for each, and the processes on them."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from faults.stage import Stage
from support import RabbitServer, RedisServer


@pytest.fixture(scope="package")
def _package_rabbitmq() -> Iterator[RabbitServer]:
    server = RabbitServer()
    try:
        yield server.launch()
    finally:
        server.close()


@pytest.fixture
def own_rabbitmq(_package_rabbitmq: RabbitServer) -> Iterator[RabbitServer]:
    """A RabbitMQ that only this test uses now. One node serves the whole folder, because a start costs seconds."""
    _package_rabbitmq.heal()
    yield _package_rabbitmq
    _package_rabbitmq.heal()


@pytest.fixture
async def stage(
    own_rabbitmq: RabbitServer, own_redis: RedisServer, namespace: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    """Nobody on it yet."""
    stage = Stage(own_rabbitmq, own_redis, namespace, tmp_path)
    try:
        yield stage
    finally:
        await stage.close()


@pytest.fixture(autouse=True)
def _quiet_library(caplog: pytest.LogCaptureFixture) -> None:
    """A failure shows what we log ourselves: the client library tells each lost connection with tracebacks."""
    caplog.set_level(logging.CRITICAL, logger="aiormq")
