"""Where a server runs: as a process of this machine, or in a container.

A vessel knows how to begin and end a server and nothing of its protocol. Data survive `kill` and `stop`; only `discard`
removes them.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from support.cleanup import watchdog
from support.processes import Account, OwnedProcess
from support.waiting import wait_until

STOP_TIMEOUT_S = 30.0  # RabbitMQ syncs its queues before it ends.
COMMAND_TIMEOUT_S = 60.0  # rabbitmqctl starts an Erlang machine of its own, which is slow on a busy one.


class ServerFailed(RuntimeError):
    """A server could not be started or a tool of it failed; the text has the end of its output."""


class Vessel(Protocol):
    """What every way to run a server can do."""

    @property
    def place(self) -> str: ...

    @property
    def alive(self) -> bool: ...

    def launch(self) -> None:
        """Begins the server; returns before it is ready."""

    def kill(self) -> None:
        """SIGKILL to all of it; returns when it is gone."""

    def stop(self) -> None:
        """An orderly end."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def run(self, arguments: Sequence[str]) -> str:
        """The standard output of a tool that belongs to the server."""

    def last_output(self) -> str: ...

    def discard(self) -> None:
        """Ends it and removes its data. Harmless when repeated."""


def new_folder(name: str, account: Account | None = None) -> Path:
    """A temporary folder that is removed with the session, owned by the account that uses it."""
    folder = Path(tempfile.mkdtemp(prefix=f"countermand-{name}-"))
    watchdog.add("folder", str(folder))
    if account is not None:
        os.chown(folder, account.user, account.group)
    return folder


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    watchdog.forget("folder", str(folder))


class LocalVessel:
    """A private process of this machine."""

    place = "private process"

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
        account: Account | None = None,
        prepare: Callable[[], None] | None = None,
        companion: Sequence[str] | None = None,
        companion_port: int | None = None,
    ) -> None:
        self._command = command
        self._folder = folder
        self._environment = environment
        self._stop_signal = stop_signal
        self._account = account
        self._prepare = prepare
        # Lives from the first launch to the end, through every kill: RabbitMQ's port mapper.
        self._companion_command = companion
        self._companion_port = companion_port
        self._companion: OwnedProcess | None = None
        self._process: OwnedProcess | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int:
        """The process's own id, while it was launched."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        if self.alive:
            return
        if self._prepare is not None:
            self._prepare()
            self._prepare = None
        if self._companion_command is not None and self._companion is None:
            self._companion = self._begin(self._companion_command)
            if self._companion_port is not None:
                port = self._companion_port
                wait_until(lambda: listens(port), message=f"{self._companion_command[0]} listens on port {port}")
        if self._process is not None:
            self._process.kill()
        self._process = self._begin(self._command)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.signal_family(signal.SIGCONT)
            self._process.terminate(self._stop_signal, timeout_s=STOP_TIMEOUT_S)

    def pause(self) -> None:
        assert self._process is not None
        self._process.signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.signal_family(signal.SIGCONT)

    def run(self, arguments: Sequence[str]) -> str:
        return run_tool(arguments, environment=self._environment, folder=self._folder, account=self._account)

    def last_output(self) -> str:
        return self._process.last_output() if self._process is not None else ""

    def discard(self) -> None:
        self.kill()
        if self._companion is not None:
            self._companion.kill()
        remove_folder(self._folder)

    def _begin(self, command: Sequence[str]) -> OwnedProcess:
        return OwnedProcess(
            command,
            environment=self._environment,
            log=self._folder / "output.log",
            folder=self._folder,
            account=self._account,
        )


def run_tool(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    account: Account | None = None,
) -> str:
    """The standard output of a command line that must succeed."""
    done = subprocess.run(
        list(arguments),
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
        user=None if account is None else account.user,
        group=None if account is None else account.group,
        extra_groups=None if account is None else [],
    )
    if done.returncode != 0:
        raise ServerFailed(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def listens(port: int) -> bool:
    """Whether anybody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def found_binary(name: str, folders: Sequence[str]) -> str:
    """The path of a server's program: in one of its usual folders, else on PATH."""
    for folder in folders:
        for candidate in sorted(Path("/").glob(f"{folder.lstrip('/')}/{name}"), reverse=True):
            if os.access(candidate, os.X_OK):
                return str(candidate)
    on_path = shutil.which(name)
    if on_path is None:
        raise ServerFailed(f"{name} is not installed (`make servers` installs it or says how)")
    return on_path
