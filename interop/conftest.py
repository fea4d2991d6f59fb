"""Node's AMQP client and the brokers that it is tried against."""

import itertools
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import DevelopmentServer, RabbitServer, RedisServer

HERE = Path(__file__).parent
INSTALL_TIMEOUT_S = 120.0

_session = secrets.token_hex(3)
_counter = itertools.count(1)


@pytest.fixture
def namespace() -> str:
    """A short name that no other test of this or any other session has."""
    return f"i{_session}{next(_counter)}"


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts and amqplib, installed by its exact version from the registry that npm is set to."""
    folder = tmp_path_factory.mktemp("node")
    for path in (HERE / "package.json", *HERE.glob("*.cjs"), *HERE.glob("*.mjs")):
        shutil.copy(path, folder)
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
        cwd=folder,
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    return folder


@pytest.fixture(scope="module", params=[DevelopmentServer, RabbitServer], ids=["development_broker", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[DevelopmentServer | RabbitServer]:
    server: DevelopmentServer | RabbitServer = request.param()
    try:
        yield server.launch()
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer("redis")
    try:
        yield server.launch()
    finally:
        server.close()
