"""A development session: the servers, a coordinator, the author's participants and sagas; started again as needed.

Each of them is a process of its own. An author's mistake stops nothing but what it is in, and `kill -9` of any of
them, or of the session, loses nothing: the data is in the folder, and the next session goes on with it.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from countermand.coordinator.dev.app import App
from countermand.coordinator.dev.changes import Changes
from countermand.coordinator.dev.endings import Endings
from countermand.coordinator.dev.folder import locked
from countermand.coordinator.dev.happenings import tell_happenings
from countermand.coordinator.dev.ports import AMQP_PORT, REDIS_PORT, chosen_port
from countermand.coordinator.dev.processes import ChildProcess, DevelopmentError, Guardian
from countermand.coordinator.dev.servers import BrokerProcess, DevelopmentServers
from countermand.coordinator.dev.store import DevelopmentStore
from countermand.coordinator.session_file import FOLDER, SessionFile, read_session, write_session
from countermand.coordinator.settings import load_settings
from countermand.schemas.topology import Topology
from countermand.wire import end

# `countermand serve` says so when settings or servers are not as they must be; starting it again can't help.
REFUSALS: Final = frozenset({2, 4})
ADDRESSES: Final = (
    "COUNTERMAND_AMQP_URL",
    "COUNTERMAND_AMQP_URL_FILE",
    "COUNTERMAND_REDIS_URL",
    "COUNTERMAND_REDIS_URL_FILE",
    "COUNTERMAND_READY_FILE",
)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What a session is asked to do. Ports of None: the last ones, the standard ones, or any."""

    targets: Sequence[str] = ()
    folder: Path = FOLDER
    amqp_port: int | None = None
    redis_port: int | None = None
    ephemeral: bool = False
    reload: bool = True


@dataclass(frozen=True)
class Running:
    """A session that is under way. `data` is where it keeps its data and its logs."""

    options: Options
    data: Path
    servers: DevelopmentServers
    coordinator: ChildProcess


async def run_session(options: Options, tell: Tell, started: Callable[[Running], None], stop: asyncio.Event) -> None:
    """Runs everything until `stop` is set, and tells what happens to sagas meanwhile; `started` is called once.

    Raises:
        DevelopmentError: the folder or a port is taken, a server doesn't start, or the coordinator refuses to.
        SettingsError: a COUNTERMAND_… variable is wrong.
    """
    async with locked(options.folder) as lock:
        with Guardian(holds=lock) as guardian, _data_folder(options, guardian) as data:
            servers = _servers(options, data, guardian)
            environment = _environment(servers)
            prefix = load_settings(environment).prefix
            coordinator = ChildProcess(
                "the coordinator",
                [sys.executable, "-m", "countermand.coordinator.cli.main", "serve"],
                guardian,
                environment=environment,
                log=data / "coordinator.log",
            )
            apps = [App(target, environment, guardian, tell) for target in options.targets]
            async with servers:
                write_session(options.folder, SessionFile(os.getpid(), servers.amqp_url, servers.redis_url))
                try:
                    await coordinator.start()
                    started(Running(options, data, servers, coordinator))
                    await _until(stop, _work(options, servers, coordinator, apps, Topology(prefix), tell))
                finally:
                    await asyncio.gather(coordinator.stop(), *(app.stop() for app in apps))


def _work(
    options: Options,
    servers: DevelopmentServers,
    coordinator: ChildProcess,
    apps: Sequence[App],
    topology: Topology,
    tell: Tell,
) -> list[Coroutine[Any, Any, None]]:
    """What goes on for as long as the session does."""
    work = [
        _keep_server(servers.store, tell),
        _keep_server(servers.broker, tell),
        _keep_coordinator(coordinator, tell),
        tell_happenings(servers.amqp_url, topology, tell),
        *(app.run() for app in apps),
    ]
    if options.reload and apps:
        work.append(_reload(apps, tell))
    return work


async def _until(stop: asyncio.Event, work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Lets work go on until it is to stop, or until some of it fails."""
    tasks = [asyncio.create_task(each) for each in work]
    stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end([stopping, *tasks])


async def _keep_server(server: DevelopmentStore | BrokerProcess, tell: Tell) -> None:
    endings = Endings()
    while True:
        code = await server.process.wait()
        tell(f"{server.process.name} {endings.ended(code)}, with its data")
        await asyncio.sleep(endings.pause_s)
        await server.start()
        endings.started()


async def _keep_coordinator(coordinator: ChildProcess, tell: Tell) -> None:
    endings = Endings()
    while True:
        code = await coordinator.wait()
        if code in REFUSALS:
            raise DevelopmentError(f"the coordinator refuses to start: {coordinator.last_words()}")
        tell(f"the coordinator {endings.ended(code)}")
        await asyncio.sleep(endings.pause_s)
        await coordinator.start()
        endings.started()
        tell(f"the coordinator runs again, as process {coordinator.pid}")


async def _reload(apps: Sequence[App], tell: Tell) -> None:
    # In a thread: whoever begins in their home folder has a long first look before them.
    changes = await asyncio.to_thread(
        Changes, Path.cwd(), [Path(app.target) for app in apps if app.target.endswith(".json")]
    )
    telling: list[asyncio.Task[None]] = []
    try:
        while True:
            changed = await changes.next()
            await end(telling)
            tell(f"{changed[0]}{f' and {len(changed) - 1} more' if len(changed) > 1 else ''} changed: loading again")
            for app in apps:
                app.load_again()
            telling = [asyncio.create_task(_tell_loaded(apps, tell))]
    finally:
        await end(telling)


async def _tell_loaded(apps: Sequence[App], tell: Tell) -> None:
    """Who can't be loaded has said why, and nothing is said of all."""
    for app in apps:
        await app.ready.wait()
    tell("loaded again")


def _servers(options: Options, data: Path, guardian: Guardian) -> DevelopmentServers:
    last = read_session(options.folder)
    ports = (None, None) if last is None else (urlsplit(last.amqp_url).port, urlsplit(last.redis_url).port)
    return DevelopmentServers(
        data,
        amqp_port=chosen_port(options.amqp_port, last=ports[0], standard=AMQP_PORT, option="--amqp-port"),
        redis_port=chosen_port(options.redis_port, last=ports[1], standard=REDIS_PORT, option="--redis-port"),
        guardian=guardian,
    )


def _environment(servers: DevelopmentServers) -> dict[str, str]:
    """What the children get: our environment, but with these servers."""
    kept = {name: value for name, value in os.environ.items() if name not in ADDRESSES}
    return {
        "COUNTERMAND_LOG_FORMAT": "console",
        **kept,
        "COUNTERMAND_AMQP_URL": servers.amqp_url,
        "COUNTERMAND_REDIS_URL": servers.redis_url,
        "PYTHONUNBUFFERED": "1",  # What an author prints is wanted now.
    }


@contextmanager
def _data_folder(options: Options, guardian: Guardian) -> Iterator[Path]:
    if not options.ephemeral:
        yield options.folder
        return
    temporary = Path(tempfile.mkdtemp(prefix="countermand-dev-"))
    guardian.watch_folder(temporary)
    yield temporary
    # The guardian removes it when it is closed, as it would if we were killed.
