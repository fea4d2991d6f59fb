"""Sagas per second and what they cost, beside a bare loop of the same shape in the same run.

    python -m benchmarks.throughput [--quick] [--json]

Starts a private RabbitMQ and a private Redis (`appendfsync always`) and lets two systems carry the same sagas of three
steps, in alternating rounds: the bare loop of `bare.py`, and countermand (one `countermand serve`, one participant with
the Redis inbox, one client). Each has three processes of its own, which are begun for each round, warmed up, measured
and ended. CPU seconds are what the kernel says each process used while the sagas were carried.

Status 1 if any saga failed.
"""

import argparse
import contextlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
from benchmarks.shape import READY, Carried, Load

ROOT = Path(__file__).resolve().parents[1]
# The tests know how to run private servers.
sys.path.insert(0, str(ROOT / "tests"))

from support import RabbitServer, RedisServer, Server  # noqa: E402
from support.cleanup import close_everything  # noqa: E402
from support.processes import descendants  # noqa: E402

SystemName = Literal["bare", "countermand"]
Pick = Callable[[list[float]], float]
PARTS = ("coordinator", "participant", "client", "RabbitMQ", "Redis")
LATENCY_SAGAS = 100
END_S = 20.0


class BenchmarkFailed(Exception):
    """A process ended early or could not begin; the text has the end of its output."""


class Measured(msgspec.Struct, frozen=True):
    """One round of one system. CPU seconds are per 1,000 sagas, by part; empty where the kernel doesn't tell them."""

    system: SystemName
    sagas: int
    failed: int
    sagas_per_s: float
    cpu_s: dict[str, float]
    alone_p50_ms: float
    alone_p99_ms: float
    loaded_p50_ms: float
    loaded_p99_ms: float


class Report(msgspec.Struct, frozen=True):
    """Everything that was measured. `ratio` is the median of `ratios`: countermand over bare, pair by pair."""

    sagas: int
    in_flight: int
    ratio: float
    ratios: list[float]
    rounds: list[Measured]
    servers: list[str]

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.rounds)


class Process:
    """A process of one system, which says when it is ready and ends when its standard input does."""

    def __init__(self, name: str, arguments: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self._errors = folder / f"{name}.log"
        with self._errors.open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.pid = self._child.pid

    def hear(self) -> str:
        """The next line that the process prints."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"{self.name} has ended early:\n{self._errors.read_text(errors='replace')[-4000:]}")
        return line.strip()

    def wait_ready(self) -> None:
        if (line := self.hear()) != READY:
            raise BenchmarkFailed(f"{self.name} said {line!r} in place of {READY!r}")

    def carry(self, load: Load) -> Carried:
        """Has a client carry a load."""
        assert self._child.stdin is not None
        self._child.stdin.write(msgspec.json.encode(load).decode() + "\n")
        self._child.stdin.flush()
        return msgspec.json.decode(self.hear(), type=Carried)

    def end(self) -> None:
        """Asks it to end, and doesn't wait for ever."""
        with contextlib.suppress(BrokenPipeError):
            self._child.communicate(timeout=END_S)

    def stop(self) -> None:
        """Ends it however it is."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(END_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


class Bench:
    """The two servers, and a system on them for each round."""

    def __init__(self, rabbit: RabbitServer, redis: RedisServer, folder: Path) -> None:
        self._rabbit = rabbit
        self._redis = redis
        self._folder = folder
        self._pids = {
            "RabbitMQ": int(rabbit.ctl("eval", "os:getpid().").strip().strip('"')),
            "Redis": int(redis.command("INFO", "server")["process_id"]),
        }

    def round(self, system: SystemName, load: Load, *, warm_up: int) -> Measured:
        """Begins a system, warms it up, measures it and ends it."""
        self._redis.command("FLUSHALL")
        running = self._bare if system == "bare" else self._countermand
        with running() as processes:
            client = processes["client"]
            client.carry(Load(warm_up, load.in_flight))
            pids = self._pids | {name: process.pid for name, process in processes.items()}
            before = {part: cpu_seconds(pids[part]) for part in PARTS}
            loaded = client.carry(load)
            used = {part: cpu_seconds(pids[part]) - before[part] for part in PARTS}
            alone = client.carry(Load(LATENCY_SAGAS, 1))
        return Measured(
            system=system,
            sagas=load.sagas,
            failed=loaded.failed + alone.failed,
            sagas_per_s=load.sagas / loaded.seconds,
            cpu_s={part: seconds * 1000 / load.sagas for part, seconds in used.items()} if any(used.values()) else {},
            alone_p50_ms=percentile(alone.latencies_ms, 50),
            alone_p99_ms=percentile(alone.latencies_ms, 99),
            loaded_p50_ms=percentile(loaded.latencies_ms, 50),
            loaded_p99_ms=percentile(loaded.latencies_ms, 99),
        )

    @contextlib.contextmanager
    def _bare(self) -> Iterator[dict[str, Process]]:
        def begin(part: str, role: str) -> Process:
            arguments = ["benchmarks.bare", role, self._rabbit.amqp_url, self._redis.url]
            return Process(f"bare-{part}", arguments, {}, self._folder)

        with _ended_afterwards() as processes:
            for part, role in (("coordinator", "orchestrator"), ("participant", "participant"), ("client", "client")):
                processes[part] = begin(part, role)
                processes[part].wait_ready()
            yield processes

    @contextlib.contextmanager
    def _countermand(self) -> Iterator[dict[str, Process]]:
        # Names of its own for each round, so that nothing of the last one is met again.
        namespace = f"bench{secrets.token_hex(4)}"
        settings = {
            "COUNTERMAND_AMQP_URL": self._rabbit.amqp_url,
            "COUNTERMAND_REDIS_URL": self._redis.url,
            "COUNTERMAND_PREFIX": namespace,
            "COUNTERMAND_NAMESPACE": namespace,
            "COUNTERMAND_LOG_LEVEL": "warning",
        }
        addresses = [self._rabbit.amqp_url, self._redis.url, namespace]
        with _ended_afterwards() as processes:
            serve = ["countermand.coordinator.cli.main", "serve"]
            processes["coordinator"] = Process("countermand-coordinator", serve, settings, self._folder)
            for part in ("participant", "client"):
                arguments = ["benchmarks.product", part, *addresses]
                processes[part] = Process(f"countermand-{part}", arguments, {}, self._folder)
                processes[part].wait_ready()
            yield processes


@contextlib.contextmanager
def _ended_afterwards() -> Iterator[dict[str, Process]]:
    processes: dict[str, Process] = {}
    try:
        yield processes
        for part in ("client", "participant"):
            processes[part].end()
    finally:
        for process in reversed(processes.values()):
            process.stop()


def cpu_seconds(pid: int) -> float:
    """What a process and its living descendants have used so far (proc(5)); 0 on a system without /proc."""
    if not Path("/proc/self/stat").exists():
        return 0.0
    ticks = 0
    for each in (pid, *descendants(pid)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> Report:
    """Runs all rounds on private servers."""
    # The CPU time of a server can be read only where its process is one of this machine.
    os.environ["COUNTERMAND_TEST_SERVERS"] = "local"
    rounds: list[Measured] = []
    load = Load(options.sagas, options.in_flight)
    try:
        rabbit, redis = RabbitServer(), RedisServer()
        with ThreadPoolExecutor() as threads:
            list(threads.map(Server.launch, (rabbit, redis)))
        servers = [f"RabbitMQ {rabbit.version}", f"Redis {redis.version}, appendfsync always"]
        with tempfile.TemporaryDirectory(prefix="countermand-bench-") as folder:
            bench = Bench(rabbit, redis, Path(folder))
            for number in range(options.rounds):
                # Each goes first in turn, so that a machine that grows busier favours neither.
                pair: list[SystemName] = ["bare", "countermand"]
                for system in pair if number % 2 == 0 else pair[::-1]:
                    measured = bench.round(system, load, warm_up=options.in_flight)
                    say(f"round {number + 1}: {system:<12}{measured.sagas_per_s:7.0f} sagas/s")
                    rounds.append(measured)
    finally:
        close_everything()
    ratios = [
        _of(pair, "countermand")[0].sagas_per_s / _of(pair, "bare")[0].sagas_per_s
        for pair in (rounds[index : index + 2] for index in range(0, len(rounds), 2))
    ]
    return Report(load.sagas, load.in_flight, statistics.median(ratios), ratios, rounds, servers)


def table(report: Report) -> str:
    """The report for people: the medians of all rounds."""
    bare, ours = _of(report.rounds, "bare"), _of(report.rounds, "countermand")

    def row(title: str, value: Callable[[Measured], float], digits: int, pick: Pick = statistics.median) -> str:
        left, right = (pick([value(each) for each in side]) for side in (bare, ours))
        ratio = f"{right / left:9.2f}" if left else ""
        return f"{title:<44}{left:>12.{digits}f}{right:>14.{digits}f}{ratio}"

    def speed(each: Measured) -> float:
        return each.sagas_per_s

    lines = [
        f"{report.sagas} sagas of three steps a round, {report.in_flight} in flight, {len(bare)} rounds each",
        ", ".join(report.servers),
        "",
        f"{'':<44}{'bare loop':>12}{'countermand':>14}{'ratio':>9}",
        row("sagas/s, median round", speed, 0),
        row("sagas/s, slowest round", speed, 0, min),
        row("sagas/s, fastest round", speed, 0, max),
    ]
    if all(each.cpu_s for each in report.rounds):
        lines += [row(f"CPU s per 1,000 sagas: {part}", lambda each: each.cpu_s[part], 2) for part in PARTS]  # noqa: B023
        lines.append(row("CPU s per 1,000 sagas: total", lambda each: sum(each.cpu_s.values()), 2))
    lines += [
        row("ms per saga, 1 in flight, p50", lambda each: each.alone_p50_ms, 1),
        row("ms per saga, 1 in flight, p99", lambda each: each.alone_p99_ms, 1),
        row(f"ms per saga, {report.in_flight} in flight, p50", lambda each: each.loaded_p50_ms, 0),
        row(f"ms per saga, {report.in_flight} in flight, p99", lambda each: each.loaded_p99_ms, 0),
        "",
        f"countermand carries {report.ratio:.2f} times the sagas of the bare loop",
        f"(pair by pair: {', '.join(f'{ratio:.2f}' for ratio in report.ratios)})",
    ]
    if report.failed:
        lines.append(f"FAILED: {report.failed} sagas did not complete")
    return "\n".join(lines)


def _of(rounds: Sequence[Measured], system: SystemName) -> list[Measured]:
    return [each for each in rounds if each.system == system]


def main() -> int:
    parser = argparse.ArgumentParser(description="Sagas per second of countermand beside a bare loop.")
    parser.add_argument("--sagas", type=int, default=2_000, metavar="N", help="sagas a round (default 2000)")
    parser.add_argument("--in-flight", type=int, default=200, metavar="N", help="sagas at a time (default 200)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of each system (default 3)")
    parser.add_argument("--quick", action="store_true", help="one round of 500 sagas each")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    options = parser.parse_args()
    if options.quick:
        options.sagas, options.rounds = 500, 1
    if min(options.sagas, options.in_flight, options.rounds) < 1:
        parser.error("--sagas, --in-flight and --rounds begin at 1")
    try:
        report = measure(options, lambda text: print(text, file=sys.stderr, flush=True))
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(msgspec.json.format(msgspec.json.encode(report)).decode() if options.json else table(report))
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
