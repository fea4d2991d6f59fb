"""`countermand doctor` on real servers: what is wrong is made so, found, mended as the doctor says, and gone."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiormq
import msgspec
import pytest
from redis.asyncio import Redis

from countermand.coordinator.cli.doctor import exit_code
from countermand.coordinator.operate.doctor import Examination, examine, worst
from countermand.coordinator.operate.doctor.permissions import COMMANDS
from countermand.coordinator.runtime import open_store, running
from countermand.coordinator.settings import Settings
from countermand.coordinator.store import scripts
from countermand.coordinator.store.checks import server_facts
from countermand.participants.client import Client
from countermand.schemas.messages import Failed
from countermand.schemas.topology import Topology
from countermand.wire import Message, Publisher
from support import DevelopmentServer, RabbitServer, RedisServer, eventually
from system.world import Order, Shop, Wire, trade
from system.world import settings as quick_settings


@pytest.fixture
def settings(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> Settings:
    return sound(rabbitmq.amqp_url, redis_server.url, namespace)


@pytest.fixture
async def declared(settings: Settings) -> AsyncIterator[Publisher]:
    """Everything is declared, and nobody is there."""
    publisher = Publisher(settings.amqp_url, name="declarer", declarations=Topology(settings.prefix).common())
    await publisher.start()
    await publisher.wait_ready(20)
    yield publisher
    await publisher.close()


def sound(amqp_url: str, redis_url: str, namespace: str, **changes: Any) -> Settings:
    """Settings of the tests that don't contradict each other."""
    return quick_settings(amqp_url, redis_url, namespace, guard_ms=15_000, lease_ms=30_000, **changes)


async def found(settings: Settings, examination_id: str, **given: Any) -> Examination:
    """The one examination with this id."""
    (one,) = [each for each in await examine(settings, **given) if each.id == examination_id]
    return one


def commands_in(mend: str) -> list[list[str]]:
    """The commands that a mend tells to run."""
    return [[part.strip("'") for part in text.split()] for text in re.findall(r"`([^`]+)`", mend)]


def changed(settings: Settings, **changes: Any) -> Settings:
    return msgspec.structs.replace(settings, **changes)


async def delete(settings: Settings, *, queue: str = "", exchange: str = "") -> None:
    async with aiormq.connect(settings.amqp_url) as connection:
        channel = await connection.channel()
        if queue:
            await channel.queue_delete(queue)
        if exchange:
            await channel.exchange_delete(exchange)


# --- a sound installation


async def test_nothing_is_wrong(settings: Settings) -> None:
    """An installation at work has nothing wrong, and everything that is examined says what was found."""
    async with running(settings), Shop(settings.amqp_url, settings.prefix).working():
        async with Client(settings.amqp_url, topology=Topology(settings.prefix)) as client:
            definition = trade()
            await client.register(definition)
            await (await client.start(definition, Order("o-1"), saga_id="o-1")).outcome(timeout_s=20)
        examined = await examine(settings)
    assert [each for each in examined if each.severity != "ok"] == []
    assert {each.area for each in examined} == {"RabbitMQ", "Redis", "coordinators", "participants"}
    assert len(examined) == len({each.id for each in examined}) > 20
    assert all(each.title and each.found for each in examined)
    assert exit_code(examined) == 0


async def test_it_changes_nothing(settings: Settings) -> None:
    """On servers where nothing of ours is, nothing of ours is after the examination either."""
    examined = await examine(settings)
    (nothing,) = [each for each in examined if each.id == "rabbitmq.topology"]
    assert (nothing.severity, exit_code(examined)) == ("warning", 10)
    assert settings.prefix in nothing.found
    client = Redis.from_url(settings.redis_url)
    keys = await client.keys(f"cm:*{settings.namespace}*")
    await client.aclose()
    assert keys == []
    again = await found(settings, "rabbitmq.topology")
    assert again == nothing


async def test_the_development_broker(settings: Settings, development_broker: DevelopmentServer) -> None:
    """It is said to be no RabbitMQ, and nothing worse is said of it."""
    here = changed(settings, amqp_url=development_broker.amqp_url)
    async with running(here):
        examined = await examine(here)
    assert [(each.id, each.severity) for each in examined if each.severity != "ok"] == [("rabbitmq.version", "notice")]
    assert exit_code(examined) == 0


# --- Redis


async def test_eviction(settings: Settings, own_redis: RedisServer) -> None:
    """A server that throws sagas away when it is full."""
    here = changed(settings, redis_url=own_redis.url)
    own_redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    bad = await found(here, "redis.eviction")
    assert bad.severity == "critical"
    assert "allkeys-lru" in bad.found
    allowed = await found(changed(here, allow_unsafe=("eviction",)), "redis.eviction")
    assert allowed.severity == "warning"
    own_redis.command(*commands_in(bad.mend)[0])
    assert (await found(here, "redis.eviction")).severity == "ok"


async def test_persistence(settings: Settings, own_redis: RedisServer) -> None:
    """A server that keeps nothing through a restart."""
    here = changed(settings, redis_url=own_redis.url)
    own_redis.command("CONFIG", "SET", "appendonly", "no")
    bad = await found(here, "redis.persistence")
    assert bad.severity == "critical"
    own_redis.command(*commands_in(bad.mend)[0])
    assert (await found(here, "redis.persistence")).severity == "ok"


async def test_durability(settings: Settings, own_redis: RedisServer) -> None:
    """A server that syncs once a second, where a commit is promised to be on disk and WAITAOF can't see to it."""
    here = changed(settings, redis_url=own_redis.url)
    own_redis.command("CONFIG", "SET", "appendfsync", "everysec")
    store = open_store(here)
    facts = await server_facts(store.client)
    await store.close()
    assert facts.appendfsync == "everysec"
    assert (await found(here, "redis.durability")).severity == ("ok" if facts.waitaof else "critical")
    assert "everysec" in (await found(here, "redis.persistence")).found


async def test_replicas(settings: Settings, own_redis: RedisServer) -> None:
    """Replicas that a commit should wait for and that aren't there; one that keeps up is counted."""
    here = changed(settings, redis_url=own_redis.url, durability="replicated")
    bad = await found(here, "redis.replicas")
    assert (bad.severity, bad.found[:1]) == ("critical", "0")
    # As much of a replica as the server needs to count one: in a container it could not reach another server.
    reader, writer = await asyncio.open_connection(own_redis.host, own_redis.port)
    writer.write(b"PSYNC ? -1\r\n")
    listening = asyncio.create_task(reader.read())

    async def counted() -> bool:
        return (await found(here, "redis.replicas")).severity == "ok"

    await eventually(counted)
    writer.close()
    await listening


async def test_role(settings: Settings, own_redis: RedisServer) -> None:
    """An address that leads to a replica, which takes no commit."""
    here = changed(settings, redis_url=own_redis.url)
    own_redis.command("REPLICAOF", "192.0.2.1", "6379")
    bad = await found(here, "redis.role")
    assert bad.severity == "critical"
    assert "192.0.2.1:6379" in bad.mend
    own_redis.command(*commands_in(bad.mend)[0])
    assert (await found(here, "redis.role")).severity == "ok"


async def test_memory(settings: Settings, own_redis: RedisServer) -> None:
    """A server that is nearly full."""
    here = changed(settings, redis_url=own_redis.url)
    used = int(own_redis.command("INFO", "memory")["used_memory"])
    own_redis.command("CONFIG", "SET", "maxmemory", int(used * 1.1))
    bad = await found(here, "redis.memory")
    assert bad.severity in ("warning", "critical")
    assert "maxmemory" in bad.found
    own_redis.command("CONFIG", "SET", "maxmemory", used * 20)
    assert (await found(here, "redis.memory")).severity == "ok"


async def test_clock(settings: Settings) -> None:
    """Clocks that are a minute apart, in either direction."""
    for by_ms, word in ((-60_000, "ahead of"), (60_000, "behind")):
        bad = await found(settings, "redis.clock", local_ms=lambda by_ms=by_ms: time.time_ns() // 1_000_000 + by_ms)
        assert bad.severity == "warning"
        assert f"60 s {word}" in bad.found


async def test_layout(settings: Settings) -> None:
    """Another number of partitions than the namespace was made with."""
    async with running(settings):
        pass
    other = changed(settings, partitions=settings.partitions * 2)
    bad = await found(other, "redis.layout")
    assert bad.severity == "critical"
    partitions = re.search(r"COUNTERMAND_PARTITIONS=(\d+)", bad.mend)
    assert partitions is not None
    assert (await found(changed(other, partitions=int(partitions[1])), "redis.layout")).severity == "ok"


async def test_redis_permissions(settings: Settings, own_redis: RedisServer) -> None:
    """A user that may not use every command that a commit is made of; not one key is written to find that out."""
    own_redis.command("ACL", "SETUSER", "ada", "on", ">secret", "~cm:*", "+@all", "-rpush", "-zadd", "-evalsha")
    here = changed(settings, redis_url=own_redis.url.replace("://", "://ada:secret@"))
    bad = await found(here, "redis.permissions")
    assert bad.severity == "critical"
    assert bad.found.endswith("EVALSHA, RPUSH, ZADD")
    assert own_redis.command("DBSIZE") == 0
    (mend,) = commands_in(bad.mend)
    own_redis.command(*["ada" if part == "<user>" else part for part in mend])
    assert (await found(here, "redis.permissions")).severity == "ok"


def test_every_command_of_the_scripts_is_tried() -> None:
    """A script that uses a new command makes the doctor look at it too."""
    texts = [each.text for each in vars(scripts).values() if isinstance(each, scripts.Script)]
    used = {name.upper() for text in texts for name in re.findall(r"""redis\.p?call\(\s*["'](\w+)""", text)}
    assert used
    assert used - COMMANDS.keys() == set()


async def test_redis_out_of_reach(settings: Settings, own_redis: RedisServer) -> None:
    """A wrong password, and a server that is gone: RabbitMQ is examined all the same."""
    own_redis.command("ACL", "SETUSER", "ada", "on", ">secret", "~*", "+@all")
    here = changed(settings, redis_url=own_redis.url.replace("://", "://ada:wrong@"))
    bad = await found(here, "redis.reachable")
    assert (bad.severity, bad.unreachable) == ("critical", True)
    assert "password" in bad.mend
    assert "wrong@" not in bad.found
    own_redis.kill()
    examined = await examine(changed(settings, redis_url=own_redis.url))
    assert exit_code(examined) == 6
    assert any(each.found.endswith(": nobody listens there") for each in examined if each.id == "redis.reachable")
    assert any(each.id == "rabbitmq.version" and each.severity == "ok" for each in examined)


# --- RabbitMQ


async def test_declared_otherwise(settings: Settings, rabbitmq: RabbitServer) -> None:
    """A shard of the inbox that somebody declared as a classic queue; mended, it is as it should be."""
    queue = Topology(settings.prefix).inbox_queue(0)
    async with aiormq.connect(settings.amqp_url) as connection:
        await (await connection.channel()).queue_declare(queue, durable=True)
    bad = await found(settings, "rabbitmq.arguments")
    assert bad.severity == "critical"
    assert queue in bad.found
    assert (await found(settings, "rabbitmq.topology")).severity == "critical"
    await rabbitmq.ctl_async(*commands_in(bad.mend)[0][1:])
    async with running(settings):
        examined = {each.id: each.severity for each in await examine(settings)}
    assert (examined["rabbitmq.arguments"], examined["rabbitmq.topology"]) == ("ok", "ok")


async def test_exchange_missing(settings: Settings, declared: Publisher) -> None:
    """An exchange that somebody deleted."""
    exchange = Topology(settings.prefix).commands_exchange
    await delete(settings, exchange=exchange)
    bad = await found(settings, "rabbitmq.topology")
    assert bad.severity == "critical"
    assert exchange in bad.found
    async with running(settings):
        assert (await found(settings, "rabbitmq.topology")).severity == "ok"


async def test_rabbitmq_permissions(settings: Settings, declared: Publisher, rabbitmq: RabbitServer) -> None:
    """A user that may read and nothing else; with the permissions that the doctor names, a coordinator can work."""
    user = settings.prefix
    await rabbitmq.ctl_async("add_user", user, "secret")
    await rabbitmq.ctl_async("set_permissions", user, "^$", "^$", ".*")
    host = urlsplit(settings.amqp_url)
    here = changed(settings, amqp_url=f"amqp://{user}:secret@{host.hostname}:{host.port}/")
    bad = await found(here, "rabbitmq.permissions")
    assert bad.severity == "critical"
    for what in ("configure", "write", "queues of its own"):
        assert what in bad.found
    assert "secret" not in bad.mend
    await rabbitmq.ctl_async(*commands_in(bad.mend)[0][1:])
    async with running(here):
        examined = {each.id: each for each in await examine(here)}
    assert examined["rabbitmq.permissions"].severity == "ok"
    assert examined["coordinators.answering"].severity == "ok"


async def test_alarm(settings: Settings, own_rabbitmq: RabbitServer) -> None:
    """A broker that takes no messages; the rest is examined all the same."""
    here = changed(settings, amqp_url=own_rabbitmq.amqp_url)
    async with running(here):
        await own_rabbitmq.ctl_async("set_vm_memory_high_watermark", "absolute", "1")
        try:
            examined = {each.id: each for each in await examine(here)}
        finally:
            bad = examined["rabbitmq.alarm"]
            (command,) = [each for each in commands_in(bad.mend) if "set_vm_memory_high_watermark" in each]
            await own_rabbitmq.ctl_async(*command[1:])
        assert bad.severity == "critical"
        assert examined["rabbitmq.topology"].severity == "ok"
        assert "rabbitmq.alarm" not in {each.id for each in await examine(here)}


async def test_rabbitmq_out_of_reach(settings: Settings) -> None:
    """A wrong password: Redis is examined all the same."""
    examined = await examine(changed(settings, amqp_url=settings.amqp_url.replace("guest@", "wrong@")))
    (bad,) = [each for each in examined if each.area == "RabbitMQ"]
    assert (bad.id, bad.severity, exit_code(examined)) == ("rabbitmq.reachable", "critical", 6)
    assert "COUNTERMAND_AMQP_URL" in bad.mend
    assert any(each.id == "redis.role" and each.severity == "ok" for each in examined)


async def test_heartbeat(settings: Settings) -> None:
    """A heartbeat that the address switches off."""
    bad = await found(changed(settings, amqp_url=f"{settings.amqp_url}?heartbeat=0"), "rabbitmq.heartbeat")
    assert bad.severity == "warning"


async def test_dead_letters(settings: Settings, declared: Publisher) -> None:
    """Letters that nobody has looked at."""
    await declared.publish([Message(Topology(settings.prefix).dead_exchange, "", b"{}", {})] * 2)
    bad = await found(settings, "rabbitmq.dead_letters")
    assert bad.severity == "warning"
    assert bad.found.startswith("2 ")


# --- coordinators and participants


async def test_no_coordinator(settings: Settings, declared: Publisher) -> None:
    """Everything is declared and nobody runs; and one that was killed leaves wake-ups that nobody looks at."""
    bad = await found(settings, "coordinators.consuming")
    assert bad.severity == "critical"
    store = open_store(settings)
    now_ms = await store.now_ms()
    await store.client.zadd(store.keys.due(1), {"o-1": now_ms - 60_000, "o-2": now_ms + 60_000})
    await store.close()
    overdue = await found(settings, "coordinators.overdue")
    assert overdue.severity == "critical"
    assert overdue.found.startswith("1 ")
    async with running(settings):
        assert (await found(settings, "coordinators.consuming")).severity == "ok"
        assert (await found(settings, "coordinators.overdue")).severity == "ok"


async def test_inbox_unbound(settings: Settings) -> None:
    """A binding of the inbox that somebody removed, which no question of AMQP shows."""
    topology = Topology(settings.prefix)
    async with running(settings):
        async with aiormq.connect(settings.amqp_url) as connection:
            channel = await connection.channel()
            await channel.queue_unbind(topology.inbox_queue(2), topology.inbox_exchange, "2")
        bad = await found(settings, "coordinators.answering")
    assert bad.severity == "critical"
    assert "shards 2 " in bad.found


async def test_stuck(settings: Settings) -> None:
    """Sagas that wait for a person."""
    async with running(settings), Wire(settings.amqp_url, settings.prefix) as wire:
        async with Client(settings.amqp_url, topology=Topology(settings.prefix)) as client:
            definition = trade(timeout="100ms", attempts=1, undo_attempts=1)
            await client.register(definition)
            await client.start(definition, Order("o-1"), saga_id="o-1")
        await wire.reply(await wire.command("reserve", "undo"), Failed("down"))

        async def is_found() -> bool:
            return (await found(settings, "coordinators.stuck")).severity == "warning"

        await eventually(is_found)


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"guard_ms": 1_000}, "guard"),
        ({"lease_ms": 15_000}, "lease"),
        ({"prefetch": 10}, "prefetch"),
        ({"poll_ms": 60_000}, "poll"),
    ],
)
async def test_settings(settings: Settings, changes: dict[str, int], which: str) -> None:
    """Settings that contradict each other; with the value that the doctor names they don't."""
    here = changed(settings, **changes)
    bad = await found(here, f"coordinators.settings.{which}")
    assert bad.severity == "warning"
    mend = re.search(r"COUNTERMAND_(\w+)=(\d+)", bad.mend)
    assert mend is not None
    mended = changed(here, **{mend[1].lower(): int(mend[2])})
    assert (await found(mended, "coordinators.settings")).severity == "ok"


async def test_participants(settings: Settings) -> None:
    """Queues of participants: one is missing, one has commands and no consumer, one was declared otherwise."""
    topology = Topology(settings.prefix)
    async with running(settings), Client(settings.amqp_url, topology=topology) as client:
        definition = trade(timeout="60s")
        await client.register(definition)
        await client.start(definition, Order("o-1"), saga_id="o-1")
        await delete(settings, queue=topology.participant_queue("bank"))
        await delete(settings, queue=topology.participant_queue("carrier"))
        async with aiormq.connect(settings.amqp_url) as connection:
            await (await connection.channel()).queue_declare(topology.participant_queue("carrier"), durable=True)

        async def asked() -> bool:
            return any("stock; 1 command waits" in each.found for each in await examine(settings))

        await eventually(asked)
        examined = [each for each in await examine(settings) if each.area == "participants"]
    said = {each.id: each for each in examined if each.severity == "warning"}
    assert said["participants.missing"].found == "no queue for: bank"
    assert "stock" in said["participants.idle"].found
    assert topology.participant_queue("carrier") in said["participants.arguments"].found
    notices = [each for each in examined if each.severity == "notice"]
    assert [each.title for each in notices] == ["carrier at work"]
    assert worst(examined) == "warning"


# --- the command line


@pytest.mark.parametrize("width", [80, 120])
async def test_on_the_screen(settings: Settings, declared: Publisher, width: int) -> None:
    """Says in words what is wrong, why and how to mend it, within the terminal's width."""
    environment = {
        **os.environ,
        "COUNTERMAND_AMQP_URL": settings.amqp_url,
        "COUNTERMAND_REDIS_URL": settings.redis_url,
        "COUNTERMAND_PREFIX": settings.prefix,
        "COUNTERMAND_NAMESPACE": settings.namespace,
        "COLUMNS": str(width),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "countermand.coordinator.cli.main", "doctor"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    lines = out.decode().splitlines()
    assert process.returncode == 11
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    text = " ".join(out.decode().split())
    assert "critical running: nobody consumes the inbox" in text
    assert "mend: start a coordinator: `countermand serve`" in text
    assert re.fullmatch(r"1 critical, \d+ ok", lines[-1])
