"""Fixtures for every test: private servers and names that don't collide.

`rabbitmq`, `redis_server`, `valkey_server` and `postgres` are shared by the whole session, so a test that uses them
keeps to names that begin with its `namespace` and never stops them. Who wants to kill a server takes `own_rabbitmq`,
`own_redis` or a factory.
"""

import itertools
import secrets
import signal
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import structlog

from support import DevelopmentServer, PostgresServer, RabbitServer, RedisKind, RedisServer, Server, places
from support.cleanup import close_everything

S = TypeVar("S", bound=Server)

_session = secrets.token_hex(3)
_counter = itertools.count(1)


def pytest_configure() -> None:
    """Ctrl-C is a part of what is tested; a shell that begins a command in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a command run in this process does to its logging is undone: other tests share it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def namespace() -> str:
    """A short name that no other test of this or any other session has: lower-case letters and digits."""
    return f"t{_session}{next(_counter)}"


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """The session's RabbitMQ. Shared: use names with the `namespace`."""
    yield from _running(RabbitServer())


@pytest.fixture(scope="session")
def development_broker() -> Iterator[DevelopmentServer]:
    """The session's development broker, our own AMQP server. Shared: use names with the `namespace`."""
    yield from _running(DevelopmentServer())


@pytest.fixture
def own_development_broker() -> Iterator[DevelopmentServer]:
    """A fresh development broker for this test alone, to kill and pause at will."""
    yield from _running(DevelopmentServer())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The session's Redis. Shared: use keys with the `namespace`."""
    yield from _running(RedisServer("redis"))


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[RedisServer]:
    """The session's Valkey. Shared: use keys with the `namespace`."""
    yield from _running(RedisServer("valkey"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL. Shared: use tables or schemas with the `namespace`."""
    yield from _running(PostgresServer())


@pytest.fixture(scope="module")
def _module_rabbitmq() -> Iterator[RabbitServer]:
    yield from _running(RabbitServer())


@pytest.fixture
def own_rabbitmq(_module_rabbitmq: RabbitServer) -> Iterator[RabbitServer]:
    """A RabbitMQ that only this test uses now, to kill and pause at will.

    One node serves all tests of a module, because a start costs seconds: it is healed after each test, and what a test
    declared stays, so names still begin with the `namespace`.
    """
    _module_rabbitmq.heal()
    yield _module_rabbitmq
    _module_rabbitmq.heal()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A fresh Redis for this test alone, to kill and pause at will."""
    yield from _running(RedisServer("redis"))


@pytest.fixture
def redis_factory() -> Iterator[Callable[..., RedisServer]]:
    """Starts as many fresh servers as a test asks for: `redis_factory("valkey", {"maxmemory": "8mb"})`."""
    started: list[RedisServer] = []

    def start(kind: RedisKind = "redis", options: dict[str, str] | None = None) -> RedisServer:
        server = RedisServer(kind, options)
        started.append(server)
        return server.launch()

    yield start
    for server in started:
        server.close()


@pytest.fixture
def rabbitmq_factory() -> Iterator[Callable[[], RabbitServer]]:
    """Starts as many fresh RabbitMQ nodes as a test asks for; each costs seconds."""
    started: list[RabbitServer] = []

    def start() -> RabbitServer:
        server = RabbitServer()
        started.append(server)
        return server.launch()

    yield start
    for server in started:
        server.close()


def _running(server: S) -> Iterator[S]:
    try:
        yield server.launch()
    finally:
        server.close()


def pytest_report_header() -> str:
    return f"servers: COUNTERMAND_TEST_SERVERS={places.mode()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if places.used or places.notes:
        terminalreporter.section("servers")
    for text in places.notes:
        terminalreporter.write_line(text)
    for text, times in sorted(places.used.items()):
        terminalreporter.write_line(f"{text}{f', started {times} times' if times > 1 else ''}")


def pytest_unconfigure() -> None:
    """The last word of a session that ends early: Ctrl-C and internal errors come by here too."""
    close_everything()
