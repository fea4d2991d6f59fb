"""Listens to what happens to sagas, over a queue that is gone with this connection."""

import secrets
from typing import Final, Self

from countermand.coordinator.intake import incoming
from countermand.coordinator.operate.reaching import reach_broker
from countermand.schemas.errors import MalformedMessage
from countermand.schemas.lifecycle import read_lifecycle
from countermand.schemas.messages import LifecycleMessage
from countermand.schemas.topology import Topology
from countermand.wire import Consumer

READY_S: Final = 5.0  # A person is looking.
BATCH_MAX: Final = 500


class Listener:
    """Lifecycle events as they come; use it as a context manager. A reconnect loses what happens meanwhile.

    `definition` is a name: only events of its sagas are told.
    """

    def __init__(self, amqp_url: str, topology: Topology, *, definition: str | None = None) -> None:
        client_id = f"watch-{secrets.token_hex(8)}"
        self._amqp_url = amqp_url
        self._consumer = Consumer(
            amqp_url,
            name="watch",
            queues=[topology.client_queue(client_id)],
            prefetch=2 * BATCH_MAX,
            declarations=topology.listener(client_id, definition=definition),
        )

    async def __aenter__(self) -> Self:
        """Raises BrokerUnavailable; where nobody listens, at once."""
        await reach_broker(self._amqp_url, timeout_s=READY_S)
        await self._consumer.start()
        try:
            await self._consumer.wait_ready(READY_S)
        except BaseException:  # Whatever ended the start, also a cancellation, nothing stays open; it is passed on.
            await self._consumer.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.close()

    async def next_events(self) -> list[LifecycleMessage]:
        """Waits for something to happen: everything that has been told by then, in order."""
        while True:
            deliveries = await self._consumer.next_batch(BATCH_MAX)
            events: list[LifecycleMessage] = []
            for delivery in deliveries:
                try:
                    events.append(read_lifecycle(incoming(delivery)))
                except MalformedMessage:
                    continue  # Of a newer release, or somebody else's: not for this screen, and nobody's loss.
            await self._consumer.acknowledge(deliveries)
            if events:
                return events
