"""Publishers and consumers under the names of one test, closed when it ends."""

from collections.abc import Sequence

from countermand.schemas.topology import Declarations, Topology
from countermand.wire import Consumer, Delivery, Message, Publisher
from support import DevelopmentServer, RabbitServer

Broker = RabbitServer | DevelopmentServer

READY_TIMEOUT_S = 30.0


class Wiring:
    """Makes what a test needs on one broker, under the test's own prefix."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.topology = Topology(prefix=prefix)
        self.declarations: Declarations = self.topology.common() + self.topology.participant("x")
        self.queue = self.topology.participant_queue("x")
        self._made: list[Publisher | Consumer] = []

    async def publisher(
        self,
        url: str | None = None,
        *,
        fast: bool = True,
        confirm_timeout_s: float = 15.0,
        heartbeat_s: int = 8,
        declarations: Declarations | None = None,
    ) -> Publisher:
        publisher = Publisher(
            url or self.url,
            name=f"{self.topology.prefix}-publisher",
            declarations=self.declarations if declarations is None else declarations,
            confirm_timeout_s=confirm_timeout_s,
            heartbeat_s=heartbeat_s,
            fast=fast,
        )
        self._made.append(publisher)
        await publisher.start()
        await publisher.wait_ready(READY_TIMEOUT_S)
        return publisher

    async def consumer(
        self,
        url: str | None = None,
        *,
        queues: Sequence[str] | None = None,
        prefetch: int = 100,
        heartbeat_s: int = 8,
        declarations: Declarations | None = None,
        fast: bool = True,
    ) -> Consumer:
        consumer = Consumer(
            url or self.url,
            name=f"{self.topology.prefix}-consumer",
            queues=queues or [self.queue],
            prefetch=prefetch,
            declarations=self.declarations if declarations is None else declarations,
            heartbeat_s=heartbeat_s,
            fast=fast,
        )
        self._made.append(consumer)
        await consumer.start()
        await consumer.wait_ready(READY_TIMEOUT_S)
        return consumer

    def message(self, body: str = "{}", *, to: str = "x", exchange: str | None = None) -> Message:
        return Message(
            exchange=self.topology.commands_exchange if exchange is None else exchange,
            routing_key=to,
            body=body.encode(),
            headers={"ce-id": body[:32], "attempt": 1},
            type="test",
            correlation_id="saga-1",
            reply_to="somewhere",
        )

    def messages(self, count: int, *, first: int = 0) -> list[Message]:
        return [self.message(str(number)) for number in range(first, first + count)]

    async def close(self) -> None:
        for made in self._made:
            await made.close()


async def take(consumer: Consumer, count: int, *, settle: bool = True) -> list[Delivery]:
    """The next `count` deliveries, acknowledged batch by batch unless told otherwise."""
    taken: list[Delivery] = []
    while len(taken) < count:
        batch = await consumer.next_batch(count - len(taken))
        taken += batch
        if settle:
            await consumer.acknowledge(batch)
    return taken
