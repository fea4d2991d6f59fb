"""The barrier's SQL on the databases that `make test` has."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from protocol.bench import Bench
from protocol.sql_barrier import Database, Postgres, Sqlite
from support import PostgresServer


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Each database whose SQL is run by `make test`."""
    if request.param == "sqlite":
        path: Path = tmp_path_factory.mktemp("protocol") / "inbox.db"

        async def connect() -> Database:
            return Sqlite(str(path))

    else:
        # Asked for by name, so that SQLite needs no server.
        dsn = cast("PostgresServer", request.getfixturevalue("postgres")).dsn

        async def connect() -> Database:
            return await Postgres.connect(dsn)

    opened = Bench(cast("str", request.param), connect)
    yield opened
    opened.close()
