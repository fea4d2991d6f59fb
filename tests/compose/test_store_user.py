"""The store's user in production may do what a coordinator does, and little else."""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
import redis.exceptions

from countermand.coordinator.runtime import running
from countermand.participants.client import Client
from countermand.schemas.topology import Topology
from support import RabbitServer, RedisServer
from support.files import ROOT
from system.world import Order, Shop, settings, trade

pytestmark = pytest.mark.servers


@pytest.fixture
def restricted_url(own_redis: RedisServer, tmp_path: Path) -> str:
    """The store, with the user that `compose/make-secrets` makes for a coordinator."""
    folder = tmp_path / "secrets"
    subprocess.run([ROOT / "compose" / "make-secrets", folder], check=True, stdout=subprocess.DEVNULL)
    for line in (folder / "redis-users.acl").read_text().splitlines():
        _, user, *rules = line.split()
        if user != "default":
            own_redis.command("ACL", "SETUSER", user, "reset", *rules)
    login, _, _ = urlsplit((folder / "redis-url").read_text().strip()).netloc.rpartition("@")
    host, port = own_redis.address
    return urlunsplit(("redis", f"{login}@{host}:{port}", "/0", "", ""))


async def test_it_is_enough_for_a_coordinator(
    rabbitmq: RabbitServer, restricted_url: str, own_redis: RedisServer, namespace: str
) -> None:
    """Sagas run to both of their ends, and not one command was refused."""
    definition = trade()
    async with (
        running(settings(rabbitmq.amqp_url, restricted_url, namespace)) as coordinator,
        Shop(rabbitmq.amqp_url, namespace).working(),
        Client(rabbitmq.amqp_url, topology=Topology(namespace)) as client,
    ):
        assert await coordinator.answers()
        await client.register(definition)
        done = await client.start(definition, Order("o-1"), saga_id="o-1")
        undone = await client.start(definition, Order("o-2", {"ship": "rejects"}), saga_id="o-2")
        assert (await done.outcome(timeout_s=20)).phase == "completed"
        assert (await undone.outcome(timeout_s=20)).phase == "compensated"
    assert own_redis.command("ACL", "LOG") == []


def test_it_is_not_enough_for_harm(restricted_url: str) -> None:
    """Neither other people's keys nor the server's settings nor everything at once."""
    with redis.Redis.from_url(restricted_url) as client:
        for command in (("SET", "other", "1"), ("FLUSHALL",), ("CONFIG", "SET", "appendonly", "no"), ("KEYS", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
