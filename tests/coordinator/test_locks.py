"""`countermand locks`, as a person runs it: who holds what, who waits, and what is in the way."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from click.testing import CliRunner, Result

from countermand.coordinator.cli.main import cli
from countermand.coordinator.gates import gate as gates
from countermand.coordinator.gates.gate import Gate
from countermand.coordinator.gates.ports import Change
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.coordination import LockBody, gate_id
from gates.asking import command
from store.sagas import completed, started
from store.steps import commit
from support import RedisServer

pytestmark = pytest.mark.servers

MINUTE_MS = 60_000


@pytest.fixture
async def store(valkey_server: RedisServer, namespace: str) -> AsyncIterator[RedisSagaStore]:
    store = RedisSagaStore(valkey_server.url, namespace=namespace, partitions=16, retention_ms=MINUTE_MS)
    yield store
    await store.close()


@pytest.fixture
def environment(valkey_server: RedisServer, namespace: str) -> dict[str, str]:
    return {
        "COUNTERMAND_REDIS_URL": valkey_server.url,
        "COUNTERMAND_NAMESPACE": namespace,
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


async def run(environment: dict[str, str], *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, ["locks", *arguments], env=environment)


async def held(store: RedisSagaStore, lock: str, key: str, *sagas: str, ago_ms: int, at_once: int = 1) -> None:
    """These have asked for it, in this order."""
    state: Gate | None = None
    for saga_id in sagas:
        at_ms = time.time_ns() // 1_000_000 - ago_ms
        state = gates.ask(state, command(saga_id), LockBody(lock, key, at_once), at_ms).state
    assert state is not None
    assert await store.gates.commit([Change(gate_id(lock, key), 0, 1, "token", state)]) == [True]


async def test_no_locks(environment: dict[str, str]) -> None:
    result = await run(environment)
    assert (result.exit_code, result.stdout) == (0, "no saga holds a lock, and none waits for one\n")


async def test_the_list(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """Those held for longest first, and below them what is wrong with a holder."""
    await commit(store, started("running-1"))
    await held(store, "order", "1001", "running-1", "b", "c", ago_ms=5 * MINUTE_MS)
    await held(store, "definition:fulfil", "", "lost-1", "b", "c", ago_ms=90 * MINUTE_MS, at_once=2)
    result = await run(environment)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["lock", "key", "held", "by", "for", "waiting"]
    assert lines[1] == ["definition:fulfil", "lost-1", "and", "1", "more", "1h", "30m", "1"]
    assert lines[2] == ["order", "1001", "running-1", "5m", "2"]
    problem = " ".join(word for line in lines[3:] for word in line)
    unknown = "the store knows no such saga, so nothing will release the lock"
    assert problem == f"PROBLEM: definition:fulfil: lost-1: {unknown}"
    short = await run(environment, "--limit", "1")
    assert "order" not in short.stdout
    assert "only 1 locks are shown" in short.stderr


async def test_one_lock(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """Everybody at it, in the order of asking, with how their sagas are."""
    await commit(store, started("a-1"))
    await commit(store, completed(await commit(store, started("ended-1"))))
    await held(store, "order", "1001", "ended-1", "a-1", "b-1", ago_ms=MINUTE_MS)
    result = await run(environment, "show", "order", "1001", "--limit", "1")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "order for 1001: held by 1 of 1, 2 waiting"
    assert lines[2] == "holds ended-1 order_lock 1m completed"
    assert lines[3] == "waits a-1 order_lock 1m running"
    assert lines[4] == "and 1 more"
    assert lines[5] == "PROBLEM: ended-1: the saga has ended; its release has not arrived"


async def test_as_json(store: RedisSagaStore, environment: dict[str, str]) -> None:
    await held(store, "order", "1001", "a-1", "b-1", ago_ms=MINUTE_MS)
    (listed,) = json.loads((await run(environment, "-o", "json")).stdout)
    shown = json.loads((await run(environment, "show", "order", "1001", "-o", "json")).stdout)
    assert (listed["lock"], listed["key"], listed["holding"], listed["waiting"]) == ("order", "1001", 1, 1)
    assert [each["saga_id"] for each in shown["waiters"]] == ["b-1"]
    assert shown["holders"][0]["for_ms"] >= MINUTE_MS
    assert shown["problems"] == [f"a-1: {shown['holders'][0]['problem']}"]


async def test_a_lock_that_nobody_holds(environment: dict[str, str]) -> None:
    """Status 3, and a line that says so."""
    result = await run(environment, "show", "order", "7")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nobody holds the lock order for 7, and nobody waits for it" in result.stderr


async def test_what_others_wrote_moves_no_cursor(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """A key is data: control characters in it reach no terminal."""
    await held(store, "order", "\x1b[2J\x9b", "a-1", ago_ms=MINUTE_MS)
    for arguments in ((), ("show", "order", "\x1b[2J\x9b"), ("-o", "json")):
        result = await run(environment, *arguments)
        assert "\x1b" not in result.stdout
        assert "\x9b" not in result.stdout
