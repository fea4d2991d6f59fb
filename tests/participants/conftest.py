"""The worlds, each on a real server of its kind."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

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
