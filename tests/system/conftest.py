"""Fixtures for whole-system tests: a coordinator, a client and the participants, on real servers."""

from collections.abc import AsyncIterator

import pytest

from countermand.coordinator.runtime import Coordinator, running
from countermand.participants.client import Client
from countermand.schemas.topology import Topology
from support import RabbitServer, RedisServer

from .world import Shop, Wire, settings


@pytest.fixture
async def coordinator(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> AsyncIterator[Coordinator]:
    """One coordinator on the session's servers."""
    async with running(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as coordinator:
        yield coordinator


@pytest.fixture
async def client(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Client]:
    async with Client(rabbitmq.amqp_url, topology=Topology(namespace), watch_interval_s=1.0) as client:
        yield client


@pytest.fixture
async def wire(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Wire]:
    """The participants, played by hand."""
    async with Wire(rabbitmq.amqp_url, namespace) as wire:
        yield wire


@pytest.fixture
async def shop(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Shop]:
    """The participants, for real."""
    async with Shop(rabbitmq.amqp_url, namespace).working() as shop:
        yield shop
