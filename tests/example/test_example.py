"""The example runs through its crashes to balanced books, and its check would find books that don't balance."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from balance import judge

from support import RabbitServer, RedisServer
from support.files import ROOT

EXAMPLE = ROOT / "examples" / "order-fulfilment"
ORDERS = 40
RUN_S = 300


def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_S)


def demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "countermand.coordinator.cli.main", "demo", *arguments)


@pytest.fixture(scope="module")
def finished(
    rabbitmq: RabbitServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder that a run on real servers left behind, and what it printed."""
    folder = tmp_path_factory.mktemp("orders")
    servers = ["--amqp", rabbitmq.amqp_url, "--redis", redis_server.url]
    done = demo("--orders", str(ORDERS), "--down", "0.3", "--folder", folder, *servers)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_orders_run_through_crashes_to_balanced_ledgers(finished: tuple[Path, str]) -> None:
    """A coordinator and a service are killed on the way; every order ends all done or all undone."""
    _, printed = finished
    for name in ("coordinator", "payments"):
        assert f"{name} is gone" in printed
        assert f"started {name} again" in printed
    assert f"{ORDERS}/{ORDERS} orders ended" in printed
    assert "The ledgers balance" in printed
    for reason in ("completed", "card_stolen", "card_limit", "timed_out"):
        assert reason in printed


def test_the_story_of_a_compensated_saga_is_told(finished: tuple[Path, str]) -> None:
    """As `countermand show` tells it: what was undone, and why."""
    _, printed = finished
    story = printed.partition("$ countermand show ")[2]
    assert "order-fulfilment@1  compensated" in story
    assert "authorise_payment" in story


def test_nothing_is_left_on_given_servers(
    finished: tuple[Path, str], rabbitmq: RabbitServer, redis_server: RedisServer
) -> None:
    """Servers that belong to somebody are as they were."""
    assert finished
    names = rabbitmq.ctl("list_queues", "--silent", "name") + rabbitmq.ctl("list_exchanges", "--silent", "name")
    assert "demo-" not in names
    assert redis_server.command("KEYS", "cm:{demo-*") == []


# --- the check can fail


def test_a_service_that_does_not_undo_fails_the_run(tmp_path: Path) -> None:
    """A compensation that books nothing: the run says which order is wrong, and fails."""
    example = Path(shutil.copytree(EXAMPLE, tmp_path / "example"))
    inventory = example / "inventory.py"
    release = 'move(context, "release", line.sku, line.quantity, source="reserved", target="shelf")'
    assert release in inventory.read_text()
    inventory.write_text(inventory.read_text().replace(release, "pass"))
    options = ("--orders", "6", "--down", "0", "--folder", tmp_path / "books", "--example", example)
    done = demo(*options)
    assert done.returncode == 1, done.stdout + done.stderr
    # The fifth order pays with a stolen card.
    assert "DIFFERENCE order-0005: reserve_stock is succeeded, its compensation succeeded" in done.stdout
    assert "DIFFERENT" in done.stdout
    assert "The ledgers balance" not in done.stdout


@pytest.fixture
def books(finished: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the run's ledgers and outcomes, to be tampered with."""
    return Path(shutil.copytree(finished[0], tmp_path / "books"))


def differences(books: Path) -> str:
    return "\n".join(judge(books).differences)


def sql(books: Path, ledger: str, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(books / f"{ledger}.sqlite")) as database, database:
        assert database.execute(statement, values).rowcount == 1, "the test changes exactly one line"


def an_order(books: Path, phase: str, step: str, *, undone: bool = False) -> str:
    """An order that ended so, whose step was done (and undone)."""
    for line in (books / "outcomes.jsonl").read_text().splitlines():
        outcome = json.loads(line)
        found = outcome["stored"]["steps"].get(step, {})
        compensation = "succeeded" if undone else None
        if (outcome["told"]["phase"], found.get("action"), found.get("compensation")) == (
            phase,
            "succeeded",
            compensation,
        ):
            return str(outcome["saga_id"])
    raise AssertionError(f"no order {phase} with {step}")


def alter(books: Path, saga_id: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = books / "outcomes.jsonl"
    outcomes = [json.loads(line) for line in path.read_text().splitlines()]
    for outcome in outcomes:
        if outcome["saga_id"] == saga_id:
            change(outcome)
    path.write_text("".join(json.dumps(outcome) + "\n" for outcome in outcomes))


TAMPERINGS = {
    "removed": "DELETE FROM ledger WHERE number = (SELECT min(number) FROM ledger WHERE saga_id = ? AND operation = ?)",
    "duplicated": "INSERT INTO ledger (saga_id, operation, item, amount, source, target) "
    "SELECT saga_id, operation, item, amount, source, target FROM ledger WHERE saga_id = ? AND operation = ? LIMIT 1",
    "changed": "UPDATE ledger SET amount = amount + 1 WHERE number = "
    "(SELECT min(number) FROM ledger WHERE saga_id = ? AND operation = ?)",
    "given to nobody": "UPDATE ledger SET saga_id = 'nobody' WHERE number = "
    "(SELECT min(number) FROM ledger WHERE saga_id = ? AND operation = ?)",
}


def test_untouched_books_balance(books: Path) -> None:
    """The tampering below is what fails the check, not the copying."""
    done = python(EXAMPLE / "balance.py", books)
    assert (done.returncode, done.stdout) == (0, "the ledgers balance\n")


def test_books_that_do_not_balance_fail_the_check(books: Path) -> None:
    """As a program: the difference is printed, with status 1."""
    order = an_order(books, "completed", "capture_payment")
    sql(books, "payments", TAMPERINGS["changed"], order, "capture")
    done = python(EXAMPLE / "balance.py", books)
    assert done.returncode == 1
    assert order in done.stdout


@pytest.mark.parametrize(
    ("ledger", "operation", "phase", "step", "undone"),
    [
        ("inventory", "reserve", "completed", "reserve_stock", False),
        ("inventory", "release", "compensated", "reserve_stock", True),
        ("payments", "authorise", "completed", "authorise_payment", False),
        ("payments", "void", "compensated", "authorise_payment", True),
        ("payments", "capture", "completed", "capture_payment", False),
        ("shipping", "dispatch", "completed", "dispatch_order", False),
    ],
)
@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_wrong_line_is_found(
    books: Path, ledger: str, operation: str, phase: str, step: str, undone: bool, tampering: str
) -> None:
    """Each kind of line counts: missing, twice, with another amount, or in the name of nobody."""
    order = an_order(books, phase, step, undone=undone)
    sql(books, ledger, TAMPERINGS[tampering], order, operation)
    assert order in differences(books)


@pytest.mark.parametrize("witness", ["told", "stored", "listed", "both"])
def test_an_altered_outcome_is_found(books: Path, witness: str) -> None:
    """Client, store and list have to say the same, and the ledgers what they say."""
    order = an_order(books, "completed", "dispatch_order")

    def alter_it(outcome: dict[str, Any]) -> None:
        if witness in ("told", "both"):
            outcome["told"]["phase"] = "compensated"
        if witness in ("stored", "both"):
            outcome["stored"]["phase"] = "compensated"
        if witness in ("listed", "both"):
            outcome["listed"] = "compensated"

    alter(books, order, alter_it)
    assert order in differences(books)


def test_a_saga_without_an_outcome_is_found(books: Path) -> None:
    """An order that the client never heard of again, or that the store has lost."""
    order = an_order(books, "completed", "dispatch_order")
    alter(books, order, lambda outcome: outcome.update(told=None))
    assert order in differences(books)
    alter(books, order, lambda outcome: outcome.update(stored=None, listed=None))
    assert order in differences(books)


def test_a_step_that_was_not_undone_is_found(books: Path) -> None:
    """A saga that calls itself compensated while an action stands without its compensation."""
    order = an_order(books, "compensated", "reserve_stock", undone=True)

    def forget(outcome: dict[str, Any]) -> None:
        outcome["stored"]["steps"]["reserve_stock"]["compensation"] = None

    alter(books, order, forget)
    assert order in differences(books)


def test_the_orders_are_what_their_maker_writes() -> None:
    """Nobody has edited the data by hand."""
    assert python(EXAMPLE / "make_orders.py").stdout == (EXAMPLE / "orders.jsonl").read_text()
