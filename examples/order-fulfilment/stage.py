"""The processes of the demonstration: started, killed, started again, and in the end all gone."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
STOP_S = 10.0
DEATH_S = 10.0


class StageFailed(Exception):
    """Something that has to run doesn't; the text has the end of its log."""


class Process:
    """A child of ours that can be killed and started again. Its output goes to a file."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        self._environment = {**os.environ, **environment}
        self._child: subprocess.Popen[bytes] | None = None
        # Whether it is meant to be there: an end that nobody asked for is a failure of the run.
        self.wanted = False

    @property
    def pid(self) -> int:
        return 0 if self._child is None else self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self._arguments,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for us; we tell the children ourselves.
            )
        self.wanted = True

    def kill(self) -> None:
        """SIGKILL: no clean-up, no last words."""
        self._end(signal.SIGKILL, DEATH_S)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for whoever doesn't listen."""
        try:
            self._end(signal.SIGTERM, STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask_to_stop(self) -> None:
        """SIGTERM without waiting, so that several can end at once."""
        self.wanted = False
        if self._child is not None and self.running:
            self._child.terminate()

    def was_killed(self) -> bool:
        """Whether somebody else has killed it.

        Raises:
            StageFailed: it has ended by itself.
        """
        if not self.wanted or self._child is None or self.running:
            return False
        if self._child.returncode < 0:
            return True
        raise StageFailed(f"{self.name} has ended by itself; its last words:\n{last_lines(self.log)}")

    def _end(self, number: signal.Signals, timeout_s: float) -> None:
        self.wanted = False
        if self._child is not None:
            if self.running:
                self._child.send_signal(number)
            self._child.wait(timeout_s)


class Stage:
    """Everybody who takes part: two coordinators and the three services."""

    COORDINATORS = ("coordinator-1", "coordinator-2")
    SERVICES = ("inventory", "payments", "shipping")
    NAMES = COORDINATORS + SERVICES

    def __init__(self, folder: Path, *, amqp_url: str, redis_url: str, prefix: str, namespace: str) -> None:
        self.environment = {
            "COUNTERMAND_AMQP_URL": amqp_url,
            "COUNTERMAND_REDIS_URL": redis_url,
            "COUNTERMAND_PREFIX": prefix,
            "COUNTERMAND_NAMESPACE": namespace,
            "COUNTERMAND_LOG_FORMAT": "console",
            # How long a killed coordinator's unfinished wake-ups wait for another one. The default suits production,
            # where nobody is watching a clock.
            "COUNTERMAND_LEASE_MS": "5000",
            "COUNTERMAND_GUARD_MS": "5000",
        }
        self._countermand = [sys.executable, "-m", "countermand.coordinator.cli.main"]
        self.processes = {
            name: Process(name, [*self._countermand, "serve"], self.environment, folder / f"{name}.log")
            for name in self.COORDINATORS
        } | {
            name: Process(name, self._service(name, folder), self.environment, folder / f"{name}.log")
            for name in self.SERVICES
        }

    def _service(self, name: str, folder: Path) -> list[str]:
        return [sys.executable, str(HERE / f"{name}.py"), "--ledger", str(folder / f"{name}.sqlite")]

    def __enter__(self) -> "Stage":
        for process in self.processes.values():
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.ask_to_stop()
        for process in self.processes.values():
            process.stop()

    def countermand(self, *arguments: str) -> str:
        """What the command `countermand` prints."""
        done = subprocess.run(
            [*self._countermand, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StageFailed(f"countermand {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout


@contextlib.contextmanager
def private_servers() -> Iterator[tuple[str, str]]:
    """A RabbitMQ and a Redis of our own, as long as the block lasts: their two addresses."""
    # The tests know how to run private servers. It is on loan from them until countermand brings embedded ones.
    sys.path.insert(0, str(HERE.parents[1] / "tests"))
    from support import RabbitServer, RedisServer, Server
    from support.cleanup import close_everything
    from support.vessels import ServerFailed

    try:
        rabbit, redis = RabbitServer(), RedisServer()
        # Both in threads: Ctrl-C then waits until they are up, and nothing half started is forgotten.
        try:
            with ThreadPoolExecutor() as threads:
                list(threads.map(Server.launch, (rabbit, redis)))
        except ServerFailed as error:
            raise StageFailed(str(error)) from error
        say(f"RabbitMQ {rabbit.version} and Redis {redis.version} are up ({rabbit.place}, {redis.place})")
        yield rabbit.amqp_url, redis.url
    finally:
        close_everything()


def last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def say(text: str) -> None:
    """A line for whoever watches, with the seconds since the beginning."""
    print(f"{time.monotonic() - _begun_s:6.1f} s  {text}" if text else "", flush=True)


_begun_s = time.monotonic()
