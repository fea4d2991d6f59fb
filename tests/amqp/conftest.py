"""What is promised is tested on both brokers wherever RabbitMQ promises the same, so that ours can't drift."""

from collections.abc import AsyncIterator

import pytest

from amqp.raw import RawClient, logged_in
from countermand.coordinator.dev.amqp import DevelopmentBroker
from wire.wiring import Broker


@pytest.fixture(params=["rabbitmq", "development_broker"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """The session's shared broker, one after the other."""
    shared: Broker = request.getfixturevalue(request.param)
    return shared


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[RawClient]:
    """Logged in, with channel 1 open."""
    async with logged_in(broker.address) as client:
        yield client


@pytest.fixture
async def confirmed(broker: Broker) -> AsyncIterator[RawClient]:
    """Logged in, with channel 1 open and its publishes confirmed."""
    async with logged_in(broker.address, confirms=True) as client:
        yield client


@pytest.fixture
async def local() -> AsyncIterator[DevelopmentBroker]:
    """A development broker within this process, in memory only."""
    async with DevelopmentBroker(None) as broker:
        yield broker
