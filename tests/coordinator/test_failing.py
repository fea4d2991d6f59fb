"""What a person sees whose command can't be carried out: one line in words, and the exit code."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from countermand.coordinator.cli.main import cli
from countermand.coordinator.operate.reaching import in_words
from countermand.coordinator.session_file import FOLDER, SessionFile, write_session
from countermand.coordinator.settings import Settings
from countermand.wire import NoConnection
from support import RabbitServer, RedisServer

UNREACHABLE = 6
NO_RABBITMQ = (
    "countermand: no RabbitMQ at 127.0.0.1:5672 (nobody listens there). Start one with 'countermand dev', "
    "or set COUNTERMAND_AMQP_URL; 'countermand doctor' says more.\n"
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing runs."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COUNTERMAND_")]:
        monkeypatch.delenv(name)
    return tmp_path


def run(*arguments: str, **settings: str) -> Result:
    return CliRunner().invoke(
        cli, arguments, env={f"COUNTERMAND_{name.upper()}": text for name, text in settings.items()}
    )


# --- servers


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "arguments", [("start", "buy"), ("dead", "list"), ("watch",), ("retry", "o-1", "--reason", "x"), ("list",)]
)
def test_where_nobody_listens_a_command_says_so_at_once(arguments: tuple[str, ...]) -> None:
    """In one line: what is missing, where it was looked for, and what to do."""
    begun_s = time.monotonic()
    told = run(*arguments, amqp_url="amqp://127.0.0.1:1/", redis_url="redis://127.0.0.1:1/0")
    assert time.monotonic() - begun_s < 5
    assert (told.exit_code, told.stdout) == (UNREACHABLE, "")
    (line,) = told.stderr.splitlines()
    assert "at 127.0.0.1:1 (nobody listens there). Start one there, or correct COUNTERMAND_" in line


def test_no_log_stands_before_it(elsewhere: Path) -> None:
    """As a process of its own, which configures its logging itself."""
    told = subprocess.run(
        [sys.executable, "-m", "countermand.coordinator.cli.main", "start", "buy"],
        cwd=elsewhere,
        env={**os.environ, "COUNTERMAND_AMQP_URL": "amqp://127.0.0.1:1/"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (UNREACHABLE, "")
    assert told.stderr.count("\n") == 1
    assert told.stderr.startswith("countermand: no RabbitMQ at 127.0.0.1:1 ")


def test_a_development_session_that_has_ended_is_named(elsewhere: Path) -> None:
    """Whoever works with one is told that it runs no more, instead of being asked for addresses."""
    (elsewhere / FOLDER).mkdir()
    (elsewhere / FOLDER / "lock").touch()
    write_session(FOLDER, SessionFile(1, "amqp://127.0.0.1:1/", "redis://127.0.0.1:1/0"))
    refused = NoConnection("refused", "connection refused")
    told = in_words(refused, Settings(), {"amqp_url": "default"})
    assert "The 'countermand dev' of this project has ended: start it again, or set COUNTERMAND_AMQP_URL" in told
    (elsewhere / FOLDER / "session.json").unlink()
    told = in_words(refused, Settings(), {"amqp_url": "default"})
    assert f"countermand: {told}\n" == NO_RABBITMQ


@pytest.mark.servers
@pytest.mark.usefixtures("elsewhere")
def test_why_rabbitmq_can_not_be_used(rabbitmq: RabbitServer) -> None:
    """A wrong password, an unknown host and a port without TLS are each told apart, and no password is."""
    host, port = rabbitmq.address
    wrong = run("dead", "list", amqp_url=f"amqp://guest:hunter2@{host}:{port}/")
    assert f"RabbitMQ at {host}:{port} refuses user name or password. Correct COUNTERMAND_AMQP_URL" in wrong.stderr
    unknown = run("dead", "list", amqp_url="amqp://guest:hunter2@rabbitmq.invalid/")
    assert "no RabbitMQ at rabbitmq.invalid:5672 (the name of the host can't be resolved)" in unknown.stderr
    plain = run("dead", "list", amqp_url=f"amqps://guest:hunter2@{host}:{port}/")
    assert f"no agreement on TLS with RabbitMQ at {host}:{port}" in plain.stderr
    vhost = run("dead", "list", amqp_url=f"{rabbitmq.amqp_url.rstrip('/')}/nowhere")
    assert "virtual host" in vhost.stderr
    for told in (wrong, unknown, plain, vhost):
        assert (told.exit_code, told.stderr.count("\n")) == (UNREACHABLE, 1)
        assert "hunter2" not in told.output


@pytest.mark.servers
@pytest.mark.usefixtures("elsewhere")
def test_why_redis_can_not_be_used(own_redis: RedisServer) -> None:
    """As of RabbitMQ."""
    host, port = own_redis.url.removeprefix("redis://").partition("/")[0].split(":")
    own_redis.command("CONFIG", "SET", "requirepass", "hunter2")
    wanted = run("list", redis_url=own_redis.url)
    wrong = run("list", redis_url=f"redis://:hunter3@{host}:{port}/0")
    unknown = run("list", redis_url="redis://:hunter3@redis.invalid/0")
    missing = run("list", redis_url="unix:///nowhere/redis.sock?password=hunter3")
    for told in (wanted, wrong):
        assert f"Redis at {host}:{port} refuses user name or password, or wants one. Correct" in told.stderr
    assert "no Redis at redis.invalid:6379 (the name of the host can't be resolved)" in unknown.stderr
    assert "no Redis at /nowhere/redis.sock (nobody listens there)" in missing.stderr
    for told in (wanted, wrong, unknown, missing):
        assert (told.exit_code, told.stderr.count("\n")) == (UNREACHABLE, 1)
        assert "hunter" not in told.output


# --- usage


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lst"], "there is no command 'lst'; did you mean list? See `countermand --help`"),
        (["abanbon", "o-1"], "did you mean abandon?"),
        (["zzz"], "there is no command 'zzz'; see `countermand --help`"),
        (
            ["list", "--limit", "0"],
            "invalid value for '--limit': 0 is not in the range 1<=x<=1000; see `countermand li",
        ),
        (["retry", "o-1"], "missing option '--reason'; see `countermand retry --help`"),
        (
            ["extend", "o-1", "--reason", "x"],
            "say either --by with a duration or --to with a moment; see `countermand ext",
        ),
        (["start", "Order@x"], "DEFINITION: 'Order@x' is not valid; expected name or name@version"),
        (["start", "order", "--input", "order.json"], "--input: 'order.json' is not JSON; @FILE reads a file"),
        (["start", "order", "--input", "{"], "--input: not valid JSON"),
        (["start", "order", "--input", "@nowhere.json"], "--input: nowhere.json can't be read: No such file"),
    ],
)
def test_wrong_usage_is_one_line_that_leads_on(arguments: list[str], told: str) -> None:
    """In the form of every other message of ours: what was found, what may have been meant, where to read more."""
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("countermand: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_misspelt_command_imports_none() -> None:
    """What may have been meant is found in the table."""
    code = (
        "import atexit, sys\n"
        "from countermand.coordinator.cli.main import cli\n"
        "prefix = 'countermand.coordinator.cli.'\n"
        "places = [place for group in cli.sections.values() for place, _ in group.values()]\n"
        "commands = {prefix + place.partition(':')[0] for place in places}\n"
        "atexit.register(lambda: print(sorted(commands & sys.modules.keys())))\n"
        "cli(['lst'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (2, "[]")
