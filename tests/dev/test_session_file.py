"""How other commands find the session of their folder, and when they don't."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from countermand.coordinator.dev.folder import locked
from countermand.coordinator.dev.processes import DevelopmentError
from countermand.coordinator.session_file import (
    FOLDER,
    FoundSession,
    SessionFile,
    find_session,
    running_session,
    write_session,
)
from countermand.coordinator.settings import load_settings, load_with_sources
from dev.terminal import countermand, runs

KILLED_SESSION = """
import asyncio, sys
from pathlib import Path
from countermand.coordinator.dev.folder import locked
from countermand.coordinator.dev.processes import ChildProcess, Guardian

async def main():
    async with locked(Path(sys.argv[1])) as lock:
        trapped = asyncio.Event()
        script = "trap '' TERM; echo; while true; do sleep 0.1; done"
        deaf = ChildProcess("deaf", ["sh", "-c", script], Guardian(holds=lock), on_line=lambda _: trapped.set())
        await deaf.start()
        await trapped.wait()
        print(deaf.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

SESSION = SessionFile(pid=1, amqp_url="amqp://guest:guest@127.0.0.1:1/", redis_url="redis://127.0.0.1:2/0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("AMQP_URL", "AMQP_URL_FILE", "REDIS_URL", "REDIS_URL_FILE"):
        monkeypatch.delenv(f"COUNTERMAND_{name}", raising=False)
    return tmp_path / FOLDER


async def test_a_running_session_gives_the_addresses(folder: Path) -> None:
    """Without an address in the environment, those of the session are used for as long as it runs, and no longer."""
    async with locked(folder):
        write_session(folder, SESSION)
        assert running_session() == SESSION
        settings, sources = load_with_sources()
        assert (settings.amqp_url, settings.redis_url) == (SESSION.amqp_url, SESSION.redis_url)
        assert sources["redis_url"] == "the running `countermand dev`, .countermand/session.json"
        assert sources["prefix"] == "default"
    assert running_session() is None
    assert load_settings() == load_settings({})


async def test_the_environment_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One address that is set turns the session off: never half of one system and half of another."""
    async with locked(folder):
        write_session(folder, SESSION)
        monkeypatch.setenv("COUNTERMAND_REDIS_URL", "redis://elsewhere/0")
        settings, sources = load_with_sources()
        assert (settings.amqp_url, settings.redis_url) == ("amqp://127.0.0.1/", "redis://elsewhere/0")
        assert (sources["amqp_url"], sources["redis_url"]) == ("default", "environment")


async def test_a_session_is_found_from_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As git finds its own: from any folder of the project, and the nearest one counts."""
    below = folder.parent / "shop" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_session() == FoundSession("none")
    async with locked(folder):
        write_session(folder, SESSION)
        assert find_session() == FoundSession("running", folder, SESSION)
        settings, sources = load_with_sources()
        assert settings.amqp_url == SESSION.amqp_url
        assert sources["amqp_url"] == "the running `countermand dev`, ../../.countermand/session.json"
        nearer = below.parent / FOLDER
        nearer.mkdir()
        write_session(nearer, SESSION)
        assert find_session() == FoundSession("ended", nearer)
        (nearer / "session.json").unlink()
        assert find_session().state == "running"
    assert find_session() == FoundSession("ended", folder)


async def test_the_search_stays_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session in the home folder is for who works in that very folder, not for every project below."""
    below = folder.parent / "shop"
    below.mkdir()
    monkeypatch.setenv("HOME", str(folder.parent))
    async with locked(folder):
        write_session(folder, SESSION)
        assert find_session().state == "running"
        monkeypatch.chdir(below)
        assert find_session().state == "none"


async def test_another_users_folder_is_not_passed_by(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns a folder above ours, such as /tmp, doesn't choose our servers."""
    ours, theirs = folder.parent / "ours", folder.parent
    ours.mkdir()
    monkeypatch.chdir(ours)
    own_id, stat = os.geteuid(), Path.stat

    def owned(path: Path, **options: bool) -> os.stat_result:
        status = list(stat(path, **options))
        status[4] = own_id + 1 if path == theirs else own_id
        return os.stat_result(status)

    async with locked(folder):
        write_session(folder, SESSION)
        assert find_session().state == "running"
        monkeypatch.setattr(Path, "stat", owned)
        assert find_session().state == "none"


async def test_commands_say_that_a_session_has_ended(folder: Path) -> None:
    """Before they ask whoever serves at the standard addresses, which may be another project."""
    async with locked(folder):
        write_session(folder, SESSION)
    ended = "`countermand dev` isn't running here any more; start it again"
    assert ended in countermand(folder.parent, "definitions").stderr
    assert ended not in countermand(folder.parent, "settings").stderr


async def test_a_damaged_file_is_no_session(folder: Path) -> None:
    """What can't be read leads nowhere, and breaks no command."""
    async with locked(folder):
        (folder / "session.json").write_text('{"pid": "x"}')
        assert running_session() is None


async def test_the_next_session_waits_for_the_last_one(tmp_path: Path) -> None:
    """After kill -9 of a session nobody takes its folder while one of its processes may still write there."""
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_SESSION, str(tmp_path), stdout=subprocess.PIPE
    )
    try:
        assert killed.stdout is not None
        deaf = int(await killed.stdout.readline())
    finally:
        killed.kill()
        await killed.wait()
    assert runs(deaf)
    async with locked(tmp_path):
        assert not runs(deaf)


async def test_one_session_in_a_folder(tmp_path: Path) -> None:
    """The second one is told at once which process has it."""
    async with locked(tmp_path):
        with pytest.raises(DevelopmentError, match=rf"another `countermand dev` runs here \(process {os.getpid()}\)"):
            async with locked(tmp_path):
                raise AssertionError("two sessions in one folder")
    async with locked(tmp_path):
        assert (tmp_path / ".gitignore").read_text() == "*\n"
