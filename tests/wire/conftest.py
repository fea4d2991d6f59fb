"""One wiring per test: on the shared broker, or on one that the test may hurt."""

from collections.abc import AsyncIterator

import pytest

from support import RabbitServer
from wire.wiring import Wiring


@pytest.fixture
async def wiring(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Wiring]:
    """On the session's shared broker."""
    wiring = Wiring(rabbitmq.amqp_url, namespace)
    yield wiring
    await wiring.close()


@pytest.fixture
async def own_wiring(own_rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Wiring]:
    """On a broker that this test may hurt."""
    wiring = Wiring(own_rabbitmq.amqp_url, namespace)
    yield wiring
    await wiring.close()
