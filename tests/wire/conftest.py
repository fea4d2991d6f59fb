"""One wiring per test and broker: on a shared one, or on one that the test may hurt.

The transport's tests are the acceptance tests of the development broker too: where they run on both, it can't drift.
"""

from collections.abc import AsyncIterator

import pytest

from support import RabbitServer
from wire.wiring import Broker, Wiring


@pytest.fixture(params=["rabbitmq", "development_broker"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """The session's shared broker, one after the other."""
    shared: Broker = request.getfixturevalue(request.param)
    return shared


@pytest.fixture(params=["own_rabbitmq", "own_development_broker"])
def own_broker(request: pytest.FixtureRequest) -> Broker:
    """A broker that this test may hurt, one after the other."""
    own: Broker = request.getfixturevalue(request.param)
    return own


@pytest.fixture
async def wiring(broker: Broker, namespace: str) -> AsyncIterator[Wiring]:
    """On the session's shared broker."""
    wiring = Wiring(broker.amqp_url, namespace)
    yield wiring
    await wiring.close()


@pytest.fixture
async def own_wiring(own_broker: Broker, namespace: str) -> AsyncIterator[Wiring]:
    """On a broker that this test may hurt."""
    wiring = Wiring(own_broker.amqp_url, namespace)
    yield wiring
    await wiring.close()


@pytest.fixture
async def alarmed_wiring(own_rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Wiring]:
    """On a RabbitMQ that this test may hurt: the development broker has no alarms."""
    wiring = Wiring(own_rabbitmq.amqp_url, namespace)
    yield wiring
    await wiring.close()
