"""The protocol's SQL for MySQL and MariaDB, on a private MariaDB: the same promises as on the other databases.

Not a part of `make test`, whose machines need no MariaDB. `make interop` runs it; Debian's package is mariadb-server.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pymysql
import pytest

from protocol.bench import Bench
from protocol.sql_barrier import Database
from protocol.test_sql import (
    second_waits,
    test_a_clean_up_takes_both_rows_of_a_key_or_neither,
    test_any_sequence_gets_the_same_verdicts,
    test_every_record_gets_the_same_verdict,
    test_what_a_probe_finds_is_kept,
)
from support.postgres import unprivileged_account
from support.server import HOST, Server
from support.vessels import LocalVessel, Vessel, found_binary, new_folder, run_tool

__all__ = [
    "test_a_clean_up_takes_both_rows_of_a_key_or_neither",
    "test_any_sequence_gets_the_same_verdicts",
    "test_every_record_gets_the_same_verdict",
    "test_what_a_probe_finds_is_kept",
]

FOLDERS = ("/usr/sbin", "/usr/bin")
USER = "countermand"
DATABASE = "countermand"
WAITING_NOW = (
    "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status"
    " WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'"
)


class MariaDbServer(Server):
    """A MariaDB of our own, in a temporary folder."""

    label = "MariaDB"
    ready_timeout_s = 20.0

    def __init__(self) -> None:
        super().__init__(None, self._local_vessel, None)

    def connect(self) -> "pymysql.Connection[Any]":
        return pymysql.connect(
            host=self.host, port=self.port, user=USER, database=DATABASE, charset="utf8mb4", autocommit=True
        )

    def handshake(self) -> str:
        try:
            with self.connect() as connection:
                return str(connection.get_server_info())
        except pymysql.err.OperationalError as error:
            raise ConnectionError(str(error)) from error

    def _local_vessel(self, port: int) -> Vessel:
        account = unprivileged_account()
        folder = new_folder("mariadb", account)
        # Read at the first start: a database and somebody without a password, on this machine only.
        first = folder / "first.sql"
        first.write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE USER IF NOT EXISTS {USER}@'{HOST}';\n"
            f"GRANT ALL ON {DATABASE}.* TO {USER}@'{HOST}';\n"
            f"GRANT PROCESS ON *.* TO {USER}@'{HOST}';\n"
        )
        install = [found_binary("mariadb-install-db", FOLDERS), "--no-defaults", f"--datadir={folder / 'data'}"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)}
        return LocalVessel(
            [
                found_binary("mariadbd", FOLDERS),
                *("--no-defaults", f"--datadir={folder / 'data'}", f"--port={port}", f"--bind-address={HOST}"),
                *(f"--socket={folder / 'socket'}", f"--init-file={first}", "--skip-name-resolve"),
            ],
            folder=folder,
            environment=environment,
            account=account,
            prepare=lambda: _done(run_tool(install, environment=environment, folder=folder, account=account)),
        )


def _done(_report: object) -> None:
    """The installer's report is of interest only when it fails, and then it is in the error."""


class MariaDb:
    """PyMySQL in a thread, because one of two connections waits for the other."""

    def __init__(self, server: MariaDbServer) -> None:
        self._connection = server.connect()

    async def run(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        code = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        return await asyncio.to_thread(self._send, re.sub(r"(?<!\w):([a-z_]+)", r"%(\1)s", code), values)

    async def ask(self, statement: str) -> list[Any]:
        return await asyncio.to_thread(self._send, statement, {})

    def _send(self, statement: str, values: Mapping[str, Any]) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, dict(values) or None)
            return list(cursor.fetchall())

    async def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    server = MariaDbServer()
    try:
        server.launch()

        async def connect() -> Database:
            return MariaDb(server)

        opened = Bench("mysql", connect)
        yield opened
        opened.close()
    finally:
        server.close()


def test_the_second_of_two_waits_and_is_answered_from_the_record(bench: Bench) -> None:
    """Two attempts of one step at once: one handler runs, and the other attempt gets its answer."""
    bench.wait(second_waits(bench, WAITING_NOW))


def test_ids_differ_by_the_case_of_their_letters(bench: Bench) -> None:
    """MySQL's default collation would take one saga for another."""

    async def play() -> None:
        saga_id = bench.fresh_saga_id()
        first = await bench.barrier.play(saga_id, "ship", "undo", None, expired=False, now_ms=1)
        other = await bench.barrier.play(saga_id.upper(), "ship", "undo", None, expired=False, now_ms=1)
        assert first == other

    bench.wait(play())
