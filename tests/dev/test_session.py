"""`countermand dev` with the project that `countermand init` writes: everything at once, and whatever is killed."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from countermand.coordinator.cli.dev import wrapped
from countermand.coordinator.session_file import running_session
from dev.terminal import ANY_PORTS, STARTED_S, countermand, runs, session
from support import eventually

ORDER = json.dumps({"id": "1", "sku": "lamp", "cents": 4900})
TOO_DEAR = json.dumps({"id": "2", "sku": "lamp", "cents": 500_000})
TARGETS = ("shop.inventory:service", "shop.payments:service", "shop.saga")
SERVING = ("serving inventory", "serving payments", "registered buy@1")


async def test_the_first_minutes(project: Path) -> None:
    """Sagas run to both ends, other commands find the session, a mistake is survived, and Ctrl-C leaves nothing."""
    async with session(project, says=SERVING) as dev:
        bought = await dev.run("start", "buy", "--wait", "--id", "order-1", "--input", ORDER)
        assert bought.returncode == 0, bought.stderr
        refused = await dev.run("start", "buy", "--wait", "--id", "order-2", "--input", TOO_DEAR)
        assert refused.returncode == 8, refused.stderr
        await dev.says("order-1  ✓ completed", "reserve_stock undone", "order-2  ↺ compensated")
        settings = await dev.run("settings")
        assert f"COUNTERMAND_REDIS_URL={dev.servers.redis_url}  # the running `countermand dev`" in settings.stdout
        below = await asyncio.to_thread(countermand, project / "shop", "settings")
        assert f"COUNTERMAND_REDIS_URL={dev.servers.redis_url}  # the running `countermand dev`, ../" in below.stdout
        second = await asyncio.to_thread(countermand, project / "shop", "dev", *ANY_PORTS)
        assert (second.returncode, second.stdout) == (4, "")
        assert f"`countermand dev` runs in .. (process {dev.process.pid})" in second.stderr
        second = await asyncio.to_thread(countermand, project, "dev", *ANY_PORTS)
        assert second.returncode == 4
        assert f"another `countermand dev` runs here (process {dev.process.pid})" in second.stderr

        inventory = project / "shop" / "inventory.py"
        sound, before = inventory.read_text(), len(dev.output)
        inventory.write_text(sound + "\nif True\n")
        await dev.says("can't load shop/inventory.py:", "SyntaxError: expected ':'", since=before)
        await dev.says("shop.inventory:service: waiting for a change of its files", since=before)
        before = len(dev.output)
        inventory.write_text(sound.replace("FIRST_STOCK = {", 'FIRST_STOCK = {"piano": 1, '))
        await dev.says("\nloaded again", since=before)
        assert dev.output[before:].splitlines() == ["shop/inventory.py changed: loading again", "loaded again"]
        piano = json.dumps({"id": "3", "sku": "piano", "cents": 90_000})
        bought = await dev.run("start", "buy", "--wait", "--input", piano)
        assert bought.returncode == 0, bought.stderr + dev.output[before:]

        family, began = dev.family(), time.monotonic()
        os.kill(dev.process.pid, signal.SIGINT)
        await eventually(lambda: not dev.process.alive, timeout_s=5)
        assert time.monotonic() - began < 5
        await dev.says("stopped; the data stays in .countermand")
        assert [pid for pid in family if runs(pid)] == []
        assert running_session(project / ".countermand") is None
    listed = await asyncio.to_thread(countermand, project, "settings")
    assert "COUNTERMAND_REDIS_URL=redis://127.0.0.1:6379/0  # default" in listed.stdout


async def test_a_killed_session_goes_on(project: Path) -> None:
    """After kill -9 of the session nothing is left running; the next one ends the saga that was under way."""
    async with session(project, "shop.saga", "shop.inventory:service", says=("registered buy@1",)) as dev:
        begun = await dev.run("start", "buy", "--id", "order-1", "--input", ORDER)
        assert begun.returncode == 0, begun.stderr
        await dev.says("order-1    reserve_stock succeeded")
        left, servers = dev.kill(), dev.servers
        assert len(left) >= 6, "guardian, Valkey, broker, coordinator, two targets"
    async with session(project, says=SERVING) as dev:
        assert [pid for pid in left if runs(pid)] == []
        await dev.says("order-1  ✓ completed")
        assert dev.servers.pid != servers.pid
        shown = await dev.run("show", "order-1", "-o", "json")
        assert json.loads(shown.stdout)["phase"] == "completed"


async def test_whatever_is_killed_comes_back(project: Path) -> None:
    """kill -9 of the coordinator, a server or a participant is told, and loses nothing."""
    async with session(project, says=SERVING) as dev:
        before = len(dev.output)
        for pid in dev.family():
            if pid != guardian_of(dev.process.pid):
                os.kill(pid, signal.SIGKILL)
        await dev.says(
            "the coordinator has ended (killed by SIGKILL)",
            "the embedded Valkey has ended (killed by SIGKILL)",
            "the embedded AMQP broker has ended (killed by SIGKILL)",
            *(f"{target}: has ended (killed by SIGKILL)" for target in TARGETS),
            *(f"{target}: runs again" for target in TARGETS),
            since=before,
        )
        bought = await dev.run("start", "buy", "--wait", "--timeout", "30", "--input", ORDER)
        assert bought.returncode == 0, bought.stderr + dev.output[before:]


async def test_a_mistake_in_a_handler_is_printed(project: Path) -> None:
    """What the template's README tries: the text and the author's line are seen here, `show` has the class only.

    A broker that is killed meanwhile is one line of each target, and its return another one.
    """
    inventory, saga = project / "shop" / "inventory.py", project / "shop" / "saga.py"
    sound = inventory.read_text()
    broken = '        raise RuntimeError("the shelf is gone")\n        # This transaction'
    inventory.write_text(sound.replace("        # This transaction", broken))
    saga.write_text(saga.read_text().replace("sku=order.sku),", "sku=order.sku), undo_retry=Retry(attempts=2),"))
    async with session(project, says=SERVING) as dev:
        begun = await dev.run("start", "buy", "--id", "order-3", "--input", TOO_DEAR)
        assert begun.returncode == 0, begun.stderr
        await dev.says("STUCK at reserve_stock")
        line = next(number for number, text in enumerate(inventory.read_text().splitlines(), 1) if "is gone" in text)
        await dev.says("error=RuntimeError", "RuntimeError: the shelf is gone")
        assert f'File "shop/inventory.py", line {line}, in release' in dev.output
        shown = await dev.run("show", "order-3")
        assert "RuntimeError" in shown.stdout
        assert "the shelf is gone" not in shown.stdout

        before = len(dev.output)
        os.kill(child_with(dev.family(), b"coordinator.dev.amqp"), signal.SIGKILL)
        # The target that only registers a saga has no connection any more.
        await eventually(lambda: dev.output[before:].count("the broker is back") == 2, timeout_s=STARTED_S)
        assert dev.output[before:].count("waiting for the broker") == 2
        assert "connection_failed" not in dev.output
        inventory.write_text(sound)
        await dev.says("\nloaded again", since=before)
        freed = await dev.run("retry", "order-3", "--reason", "the shelf is back")
        assert freed.returncode == 0, freed.stderr
        await dev.says("order-3  ↺ compensated")


async def test_a_folder_of_a_project_is_not_a_world_of_its_own(project: Path) -> None:
    """Where nothing is said of what to serve, somebody means the project above."""
    done = await asyncio.to_thread(countermand, project / "shop", "dev", *ANY_PORTS)
    assert (done.returncode, done.stdout) == (4, "")
    assert "this folder belongs to the project in ..: run it there (cd ..)" in done.stderr
    assert not (project / "shop" / ".countermand").exists()


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("short", ["short"]),
        ("shop: one line that is longer than the terminal", ["shop: one line that is longer than the", "    terminal"]),
        ("shop:   countermand start buy --wait --input '{}'", ["shop:   countermand start buy --wait --input '{}'"]),
        ("  .venv/bin/countermand start buy --wait --id 1", ["  .venv/bin/countermand start buy --wait --id 1"]),
        (
            "order-1    a step that failed and is asked again",
            ["order-1    a step that failed and is asked", "    again"],
        ),
    ],
)
def test_lines_are_broken_between_words(line: str, parts: list[str]) -> None:
    """At the terminal's width; what is to be copied stays whole."""
    assert wrapped(line, 44) == parts


async def test_an_ephemeral_session_leaves_nothing(tmp_path: Path) -> None:
    """Its data goes with it, and nothing has to be served."""
    async with session(tmp_path, "--ephemeral") as dev:
        listed = await dev.run("list")
        assert listed.returncode == 0, listed.stderr
        family = dev.family()
        os.kill(dev.process.pid, signal.SIGTERM)
        await eventually(lambda: not dev.process.alive, timeout_s=5)
        assert [pid for pid in family if runs(pid)] == []
    kept = {path.name for path in (tmp_path / ".countermand").iterdir()}
    assert kept == {".gitignore", "lock", "session.json"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--redis-port", "{taken}"), 4, "--redis-port {taken}: the port is taken"),
        (("--folder", "pyproject.toml/x"), 4, "can't be used"),
        (("--amqp-port", "many"), 2, "--amqp-port"),
    ],
)
async def test_what_cant_be_used_is_refused(project: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """A taken port, a folder that isn't one: said at once, by the name of the option."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        taken = server.sockets[0].getsockname()[1]
        done = await asyncio.to_thread(countermand, project, "dev", *(each.format(taken=taken) for each in arguments))
    assert done.returncode == code
    assert said.format(taken=taken) in done.stderr


def child_with(family: list[int], word: bytes) -> int:
    """The process with this in its command line."""
    return next(pid for pid in family if word in Path(f"/proc/{pid}/cmdline").read_bytes())


def guardian_of(pid: int) -> int:
    """The one child that must live: it is a script, started before everything else."""
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return next(each for each in children if b"guardian.py" in Path(f"/proc/{each}/cmdline").read_bytes())
