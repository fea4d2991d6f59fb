"""The processes of one test: coordinators and participants that are killed, paused and started again."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any, Final, cast

import aiormq

from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import Settings, load_settings
from countermand.coordinator.store.saga_store import RedisSagaStore
from countermand.participants.client import Client
from countermand.schemas.identifiers import INBOX_SHARDS
from countermand.schemas.topology import Topology
from support import RabbitServer, RedisServer, eventually
from support.processes import OwnedProcess
from system.world import PARTICIPANTS

TESTS: Final = Path(__file__).parents[1]
# A Python process on a busy machine of two cores, and its connections.
START_S: Final = 30.0
# What a service manager typically grants before it kills.
STOP_S: Final = 15.0


class Child(OwnedProcess):
    """A process whose exit status matters."""

    @property
    def status(self) -> int | None:
        return self._popen.poll()


class Role:
    """A process under a name. It can be started as often as it ends; what it prints is kept in one file.

    `ready` are the events that it logs once it is at work for the first time.
    """

    def __init__(
        self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path, *, ready: Collection[str]
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._arguments = arguments
        self._environment = environment
        self._folder = folder
        self._ready = ready
        self._child: Child | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def at_work(self) -> bool:
        return len(self.events(*self._ready)) >= len(self._ready)

    async def start(self) -> None:
        assert not self.running, f"{self.name} is running already"
        self._child = await asyncio.to_thread(
            Child, self._arguments, environment=self._environment, log=self.log, folder=self._folder
        )

    async def kill(self) -> None:
        """SIGKILL: no clean-up, no last words."""
        await asyncio.to_thread(self._begun.kill)

    async def stop(self) -> int | None:
        """SIGTERM; the exit status, which is -9 for whoever has not ended after `STOP_S`."""
        await asyncio.to_thread(self._begun.terminate, signal.SIGTERM, timeout_s=STOP_S)
        return self._begun.status

    def pause(self) -> None:
        self._begun.signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        self._begun.signal_family(signal.SIGCONT)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it has logged, of these names or all; lines that are no JSON are events without a name."""
        found = [_event(line) for line in self._lines()]
        return [event for event in found if not names or event["event"] in names]

    def last_words(self, lines_max: int = 15) -> str:
        return "\n".join(self._lines()[-lines_max:])

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    @property
    def _begun(self) -> Child:
        assert self._child is not None, f"{self.name} was never started"
        return self._child


class Stage:
    """Everybody who takes part, on one broker and one store, under names of their own."""

    def __init__(self, broker: RabbitServer, redis: RedisServer, namespace: str, folder: Path) -> None:
        self.broker = broker
        self.redis = redis
        self.folder = folder
        self.topology = Topology(namespace)
        self.roles: dict[str, Role] = {}
        # How often clients ask for outcomes that they were not told.
        self.watch_interval_s = 2.0
        self.store: RedisSagaStore = open_store(self.settings())

    def settings(self, **changes: object) -> Settings:
        """What coordinators are told: to fire and repair quickly, so that tests are short."""
        return load_settings(self._environment(changes))

    async def coordinator(self, name: str = "coordinator", **changes: object) -> Role:
        """Starts `countermand serve`."""
        arguments = [sys.executable, "-m", "countermand.coordinator.cli.main", "serve"]
        return await self._start(name, arguments, self._environment(changes), ready=["coordinator_ready"])

    async def worker(self, *names: str) -> Role:
        """Starts one process with these participants, or with all of them."""
        address = [str(self.folder), self.broker.amqp_url, self.topology.prefix]
        arguments = [sys.executable, "-m", "faults.worker", *address, *names]
        ready = ["participant_started"] * len(names or PARTICIPANTS)
        return await self._start("-".join(names) or "worker", arguments, {"PYTHONPATH": str(TESTS)}, ready=ready)

    async def _start(
        self, name: str, arguments: list[str], environment: Mapping[str, str], *, ready: Collection[str]
    ) -> Role:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("COUNTERMAND_")}
        path = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), ours.get("PYTHONPATH")]))
        role = Role(name, arguments, {**ours, **environment, "PYTHONPATH": path}, self.folder, ready=ready)
        self.roles[name] = role
        await role.start()
        return role

    def _environment(self, changes: Mapping[str, object]) -> dict[str, str]:
        quick: dict[str, object] = {
            "amqp_url": self.broker.amqp_url,
            "redis_url": self.redis.url,
            "prefix": self.topology.prefix,
            "namespace": self.topology.prefix,
            "partitions": 4,
            "poll_ms": 50,
            "lease_ms": 1_000,
            "guard_ms": 1_000,
            "sweep_ms": 300,
            "heartbeat_s": 5,
        }
        return {f"COUNTERMAND_{name.upper()}": str(value) for name, value in {**quick, **changes}.items()}

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client that asks often."""
        client = Client(
            self.broker.amqp_url,
            topology=self.topology,
            answer_timeout_s=1.0,
            timeout_s=60.0,
            watch_interval_s=self.watch_interval_s,
        )
        async with client:
            yield client

    async def ready(self) -> None:
        """Returns when everybody who was started is at work."""
        for role in self.roles.values():
            await eventually(lambda role=role: role.at_work, timeout_s=START_S, message=f"{role.name} is at work")  # type: ignore[misc]

    @property
    def queues(self) -> list[str]:
        """The queues in which work waits."""
        return [self.topology.participant_queue(name) for name in PARTICIPANTS] + self.inbox_queues

    @property
    def inbox_queues(self) -> list[str]:
        return [self.topology.inbox_queue(shard) for shard in range(INBOX_SHARDS)]

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[aiormq.abc.AbstractChannel]:
        """A bare channel, for what our own driver would never do."""
        async with aiormq.connect(self.broker.amqp_url) as connection:
            yield await connection.channel()

    async def depths(self, *queues: str) -> dict[str, int]:
        """How many messages wait in these queues, or in all in which work waits; empty ones are left out.

        What a consumer holds does not count, so it is certain only after every consumer has gone.
        """
        async with self.channel() as channel:
            counted = {
                queue: (await channel.queue_declare(queue, passive=True)).message_count or 0
                for queue in queues or self.queues
            }
        return {queue: count for queue, count in counted.items() if count}

    async def due(self) -> list[tuple[str, int]]:
        """The due-index: every saga in it, with its moment."""
        keys = self.store.keys
        found: list[tuple[str, int]] = []
        for partition in range(keys.partitions):
            answer = await self.store.client.zrange(keys.due(partition), 0, -1, withscores=True)
            scored = cast("list[tuple[bytes, float]]", answer)
            found += [(member.decode(), int(score)) for member, score in scored]
        return found

    async def stop(self, names: Collection[str]) -> dict[str, int | None]:
        """Stops the roles of these names that run: the exit status of each."""
        roles = [role for name, role in self.roles.items() if name in names and role.running]
        statuses = await asyncio.gather(*(role.stop() for role in roles))
        return {role.name: status for role, status in zip(roles, statuses, strict=True)}

    async def close(self) -> None:
        """Ends every process and removes what the test declared, whatever state all of it is in."""
        for role in self.roles.values():
            if role.running:
                await role.kill()
        await self.store.close()
        await asyncio.to_thread(self.broker.heal)
        async with self.channel() as channel:
            for queue in (*self.queues, self.topology.dead_queue):
                await channel.queue_delete(queue)


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "event" in event else {"event": "", "line": line}
