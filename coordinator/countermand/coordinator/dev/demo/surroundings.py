"""The servers of the demo: given ones, on which nothing is left behind, or embedded ones of its own."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aio_pika
import msgspec

from countermand.coordinator.dev.demo.actors import environment_for
from countermand.coordinator.dev.processes import Guardian
from countermand.coordinator.dev.servers import DevelopmentServers
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.coordinator.store.connection import connect
from countermand.schemas.topology import DEFAULT_PREFIX, Topology

# A server that is there answers at once; whoever mistyped an address wants to know soon.
REACHED_S: Final = 5.0
KEYS_PER_SCAN: Final = 1_000
# Those of the example's contracts.
PARTICIPANTS: Final = ("carriers", "inventory", "payments", "shipping")


class Surroundings(msgspec.Struct, frozen=True):
    """Addresses, and the names that keep this run apart from everything else on these servers."""

    amqp_url: str
    redis_url: str
    prefix: str
    namespace: str
    # For people: whose servers these are.
    what: str

    @property
    def environment(self) -> dict[str, str]:
        return environment_for(self.amqp_url, self.redis_url, self.prefix, self.namespace)


@asynccontextmanager
async def embedded_servers(folder: Path, guardian: Guardian) -> AsyncIterator[Surroundings]:
    """A Valkey and an AMQP broker of our own, with their data in `folder`.

    Raises:
        DevelopmentError: one of them can't be started; says what is missing.
    """
    async with DevelopmentServers(folder, guardian=guardian) as servers:
        yield Surroundings(
            servers.amqp_url,
            servers.redis_url,
            DEFAULT_PREFIX,
            DEFAULT_PREFIX,
            "an embedded broker and Valkey, for development only",
        )


@asynccontextmanager
async def given_servers(amqp_url: str, redis_url: str) -> AsyncIterator[Surroundings]:
    """Servers that belong to somebody: names of its own, all of which are removed in the end.

    Raises:
        BrokerUnavailable, StoreUnavailable: one of them can't be reached.
        SettingsError: an address is none.
    """
    name = f"demo-{secrets.token_hex(4)}"
    surroundings = Surroundings(amqp_url, redis_url, name, name, "those that were given")
    await _reach(surroundings)
    try:
        yield surroundings
    finally:
        await _remove_names(surroundings)


async def _reach(surroundings: Surroundings) -> None:
    settings = load_settings(surroundings.environment)
    store = open_store(settings)
    try:
        await store.load(["order"])
    finally:
        await store.close()
    async with Requests(settings.amqp_url, Topology(settings.prefix), timeout_s=REACHED_S):
        pass


async def _remove_names(surroundings: Surroundings) -> None:
    await asyncio.gather(_remove_queues(surroundings), _remove_keys(surroundings))


async def _remove_queues(surroundings: Surroundings) -> None:
    topology = Topology(surroundings.prefix)
    declared = topology.common()
    for participant in PARTICIPANTS:
        declared += topology.participant(participant)
    async with await aio_pika.connect(surroundings.amqp_url, timeout=REACHED_S) as connection:
        channel = await connection.channel()
        for queue in declared.queues:
            await channel.queue_delete(queue.name)
        for exchange in declared.exchanges:
            await channel.exchange_delete(exchange.name)


async def _remove_keys(surroundings: Surroundings) -> None:
    client = connect(surroundings.redis_url, timeout_s=REACHED_S)
    try:
        # The name is random, so the pattern finds no one else's keys.
        pattern = f"cm:{{{surroundings.namespace}:*"
        keys = [key async for key in client.scan_iter(match=pattern, count=KEYS_PER_SCAN)]
        for start in range(0, len(keys), KEYS_PER_SCAN):
            await client.unlink(*keys[start : start + KEYS_PER_SCAN])
    finally:
        await client.aclose()
