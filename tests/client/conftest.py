"""A client and a scripted coordinator on the shared broker, under the names of one test."""

from collections.abc import AsyncIterator

import pytest

from client.scripted import ScriptedCoordinator
from countermand.participants.client import Client
from countermand.schemas.topology import Topology
from support import RabbitServer


@pytest.fixture
def topology(namespace: str) -> Topology:
    return Topology(prefix=namespace)


@pytest.fixture
async def coordinator(rabbitmq: RabbitServer, topology: Topology) -> AsyncIterator[ScriptedCoordinator]:
    async with ScriptedCoordinator(rabbitmq.amqp_url, topology) as coordinator:
        yield coordinator


@pytest.fixture
async def client(rabbitmq: RabbitServer, topology: Topology) -> AsyncIterator[Client]:
    async with Client(rabbitmq.amqp_url, topology=topology, name="shop", answer_timeout_s=0.5) as client:
        yield client
