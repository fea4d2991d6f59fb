"""The worlds, each on a real server of its kind."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from countermand.participants import Participant
from countermand.participants.inboxes.memory import MemoryInbox
from participants.orders import NOON_MS, command
from participants.stock import Stock
from participants.worlds import KINDS, Kind, MemoryWorld, RedisWorld, SqlWorld, World
from support import PostgresServer, RedisServer


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    """Every kind of inbox in turn."""
    opened = await _open(cast("Kind", request.param), request, namespace, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=[kind for kind in KINDS if kind != "memory"])
async def durable_world(
    request: pytest.FixtureRequest, namespace: str, tmp_path: Path
) -> AsyncIterator[RedisWorld | SqlWorld]:
    """Every kind of inbox that outlives its process."""
    opened = await _open(cast("Kind", request.param), request, namespace, tmp_path)
    assert isinstance(opened, RedisWorld | SqlWorld)
    yield opened
    await opened.close()


@pytest.fixture(params=["redis", "valkey"])
async def redis_world(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> AsyncIterator[RedisWorld]:
    opened = await _open(cast("Kind", request.param), request, namespace, tmp_path)
    assert isinstance(opened, RedisWorld)
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def sql_world(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> AsyncIterator[SqlWorld]:
    opened = await _open(cast("Kind", request.param), request, namespace, tmp_path)
    assert isinstance(opened, SqlWorld)
    yield opened
    await opened.close()


async def _open(kind: Kind, request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> World:
    match kind:
        case "memory":
            return MemoryWorld()
        case "redis" | "valkey":
            # Asked for by name, so that only the servers that a test needs are started.
            server: RedisServer = request.getfixturevalue(f"{kind}_server")
            return RedisWorld(kind, server.url, namespace)
        case "sqlite":
            sql = SqlWorld(kind, f"sqlite+aiosqlite:///{tmp_path / 'inbox.db'}", namespace)
        case "postgres":
            postgres: PostgresServer = request.getfixturevalue("postgres")
            sql = SqlWorld(kind, postgres.dsn, namespace)
    await sql.create()
    return sql


@pytest.fixture
def stock() -> Stock:
    return Stock(Participant("inventory", inbox=MemoryInbox(), clock=lambda: NOON_MS))


@pytest.fixture
async def sql_stock(tmp_path: Path, namespace: str) -> AsyncIterator[tuple[Stock, SqlWorld]]:
    world = SqlWorld("sqlite", f"sqlite+aiosqlite:///{tmp_path / 'stock.db'}", namespace)
    await world.create()
    stock = Stock(Participant("inventory", inbox=world.inbox, clock=lambda: NOON_MS))
    stock.effect = lambda context: world.effect(context, command())
    yield stock, world
    await world.close()
