"""`countermand list` and `countermand stuck`, as a person runs them: what is printed where, and with which status."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from click.testing import CliRunner, Result

from countermand.coordinator.cli.main import cli
from countermand.coordinator.core.state import StuckCause
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.schemas.messages import Rejected, Succeeded
from store.sagas import NOW_MS, answered, completed, decided, definition, paused, reserved, started, stuck
from store.seeding import seed_stuck
from store.steps import commit
from support import RedisServer

pytestmark = pytest.mark.servers

RETENTION_MS = 3_600_000

CAUSES: tuple[tuple[StuckCause, str, str, int], ...] = (
    ("compensation_exhausted", "charge", "bank_closed", 600),
    ("compensation_rejected", "reserve", 'too "late"', 300),
    ("pivot_unknown", "ship", "", 100),
)


@pytest.fixture
async def store(valkey_server: RedisServer, namespace: str) -> AsyncIterator[RedisSagaStore]:
    """What the commands look at."""
    store = RedisSagaStore(valkey_server.url, namespace=namespace, partitions=16, retention_ms=RETENTION_MS)
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
    """A command sets up logging for its process; here it has none of its own."""
    yield
    structlog.reset_defaults()


async def run(environment: dict[str, str], *arguments: str) -> Result:
    """The command in this process, which is quicker than one of its own; `test_cli` runs those."""
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)


async def filled(store: RedisSagaStore) -> None:
    await store.save_definition(definition())
    await commit(store, started("running-1", tags=("vip",)))
    await commit(store, completed(await commit(store, started("done-1", at_ms=NOW_MS + 1))))
    await commit(store, paused(await commit(store, started("paused-1", at_ms=NOW_MS + 2, tags=("vip",)))))
    await commit(store, stuck(await commit(store, started("stuck-1", at_ms=NOW_MS + 3)), at_ms=NOW_MS + 9))


async def test_a_page_and_the_next_one(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """State is told in words, nothing is wider than the terminal, and the line on standard error leads on."""
    await filled(store)
    first = await run(environment, "list", "--limit", "2")
    assert first.exit_code == 0, first.stderr
    assert "stuck-1" in first.stdout
    assert "compensating, stuck" in first.stdout
    assert "charge: bank_closed" in first.stdout
    assert "running, paused" in first.stdout
    assert "2/3" in first.stdout
    assert "\x1b" not in first.stdout
    assert max(map(len, first.stdout.splitlines())) <= 80
    follow = shlex.split(first.stderr.splitlines()[-1])
    assert follow[:2] == ["countermand", "list"]
    second = await run(environment, *follow[1:])
    assert [line.split()[0] for line in second.stdout.splitlines()[1:]] == ["done-1", "running-1"]
    assert second.stderr == ""


async def test_a_long_id_stays_whole_in_eighty_columns(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """It is there to be copied: what doesn't fit beside it stands below."""
    saga_id = "01a204de-0941-7ade-bf38-03f466a8fd3c-eu1"
    await commit(store, stuck(await commit(store, started(saga_id)), code="no money today"))
    listed = await run(environment, "list")
    assert saga_id in listed.stdout
    assert "order@1" in listed.stdout
    assert max(map(len, listed.stdout.splitlines())) <= 80


async def test_a_long_id_folds_its_own_row_only(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """The others keep their line, and nothing is padded."""
    await filled(store)
    saga_id = "01a204de-0941-7ade-bf38-03f466a8fd3c-and-more"
    await commit(store, started(saga_id, at_ms=NOW_MS + 20))
    listed = (await run(environment, "list")).stdout.splitlines()
    assert listed[1] == saga_id
    first = [line.split()[0] for line in listed[2:]]
    assert first == ["order@1", "stuck-1", "charge:", "paused-1", "done-1", "running-1"]
    assert all(line == line.rstrip() and len(line) <= 80 for line in listed)


async def test_what_was_undone_is_not_counted_as_done(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """A saga that has gone back is not a third done; what programs read keeps its meaning."""
    await store.save_definition(definition())
    standing = (await commit(store, reserved(await commit(store, started("back-1"))))).state
    events = [
        answered(standing, "charge", Rejected("no_money"), at_ms=NOW_MS + 2),
        answered(standing, "reserve", Succeeded(), at_ms=NOW_MS + 3, undo=True),
    ]
    (loaded,) = await store.load(["back-1"])
    assert loaded is not None
    await commit(store, decided(loaded.saga, events))
    (row,) = json.loads((await run(environment, "list", "-o", "json")).stdout)["sagas"]
    assert (row["phase"], row["steps_done"], row["steps_standing"]) == ("compensated", 1, 0)
    assert "0/3" in (await run(environment, "list")).stdout


async def test_json_and_lines(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """One document with the sagas and the next cursor; or a line for each saga, and nothing else on standard output."""
    await filled(store)
    document = json.loads((await run(environment, "list", "--tag", "vip", "--sort", "oldest", "-o", "json")).stdout)
    assert [row["saga_id"] for row in document["sagas"]] == ["running-1", "paused-1"]
    assert document["next"] is None
    lines = await run(environment, "list", "--phase", "running", "--definition", "order", "--limit", "1", "-o", "jsonl")
    assert [json.loads(line)["saga_id"] for line in lines.stdout.splitlines()] == ["paused-1"]
    assert f"--after {NOW_MS + 2}.paused-1 --output jsonl" in lines.stderr


async def test_an_empty_listing_says_why(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """An empty store says how to begin, another one which condition leaves out most."""
    empty = await run(environment, "list", "--where", "stuck:any")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "countermand start" in empty.stderr
    await filled(store)
    nothing = await run(environment, "list", "--where", "tag:vip stuck:any")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "of 4 sagas none is stuck by any cause, tagged vip" in nothing.stderr
    assert "stuck:any alone matches 1 saga: this leaves out most" in nothing.stderr
    assert "tag:vip alone matches 2 sagas\n" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "--where", "stuk:any"), "Did you mean stuck:"),
        (("list", "--where", "phase:running", "--phase", "running"), "phase: found a second one"),
        (("stuck", "--where", "tag:vip"), "definition, stuck, step or error"),
    ],
)
async def test_what_can_not_be_read_is_wrong_usage(
    environment: dict[str, str], arguments: tuple[str, ...], told: str
) -> None:
    """Status 2, and what is expected."""
    refused = await run(environment, *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert told in refused.stderr


async def test_a_thousand_stuck_sagas_are_three_groups(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """With their numbers, what is wrong in words, examples, and commands that mean exactly the group."""
    await seed_stuck(store, CAUSES)
    await commit(store, started("running-1"))
    document = json.loads((await run(environment, "stuck", "-o", "json")).stdout)
    assert [(group["cause"], group["step"], group["count"]) for group in document["groups"]] == [
        (cause, step, count) for cause, step, _, count in CAUSES
    ]
    assert (document["stuck"], document["in_motion"]) == (1_000, 1_001)
    shown = await run(environment, "stuck")
    assert shown.exit_code == 0, shown.stderr
    assert "1,000 sagas are stuck, of 1,001 in motion" in shown.stdout
    assert "600 sagas: compensation exhausted" in shown.stdout
    assert "a participant refused to compensate" in shown.stdout
    retries = [line for line in shown.stdout.splitlines() if "countermand retry" in line]
    assert len(retries) == len(CAUSES)
    words = shlex.split(retries[1])
    where = words[words.index("--where") + 1]
    listed = await run(environment, "list", "--limit", "1000", "--where", where, "-o", "jsonl")
    assert {json.loads(line)["stuck_error"] for line in listed.stdout.splitlines()} == {'too "late"'}
    assert len(listed.stdout.splitlines()) == 300


async def test_nothing_stuck_says_so(store: RedisSagaStore, environment: dict[str, str]) -> None:
    """With the number of sagas in motion; and a filter that matches none says how many are stuck."""
    await commit(store, started("running-1"))
    calm = await run(environment, "stuck")
    assert (calm.exit_code, calm.stdout) == (0, "no saga is stuck; sagas in motion: 1\n")
    await commit(store, stuck(await commit(store, started("stuck-1"))))
    other = await run(environment, "stuck", "--where", "step:ship")
    assert other.stdout == "none of the 1 stuck sagas matches; sagas in motion: 2\n"
