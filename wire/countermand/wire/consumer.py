"""Consumes queues, and hands over what is waiting in natural batches.

The rules:
- A delivery costs one append; all work happens in the task that asks for a batch.
- A delivery is settled on the channel that brought it or not at all: tags start again with each channel.
- The broker's own basic.cancel is an alarm: somebody deleted the queue, perhaps with messages in it.
- After something undecodable came, queues are consumed one message at a time, the suspect queue first:
  everything that is unsettled when the connection dies counts as delivered once more, and healthy messages
  would reach the delivery limit together with the one that kills.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from aiormq.abc import DeliveredMessage
from aiormq.tools import awaitable
from pamqp.commands import Basic

from countermand.schemas.topology import Declarations
from countermand.wire.connection import Connection
from countermand.wire.deliveries import Receive, deliver_directly, delivery_of
from countermand.wire.message import Delivery
from countermand.wire.session import BROKER_ERRORS, Session, SessionEnded, cancelled_from_outside
from countermand.wire.settlement import Answer, Unsettled

# How long one queue is watched before the next one joins, while something undecodable is about.
SUSPICION_S = 0.1
# And how long nothing may happen until the full prefetch comes back.
CAUTION_S = 1.0
CANCEL_TIMEOUT_S = 5.0

CONSUMER_CANCELLED = "consumer_cancelled"
CONSUMING_CAUTIOUSLY = "consuming_cautiously"
FAST_PATH_UNAVAILABLE = "fast_path_unavailable"
CONSUMING_PAUSED = "consuming_paused"


class ConsumerClosed(Exception):
    """No delivery will come any more: the consumer was paused or closed, and what it had is handed over."""


class Consumer:
    """Consumes over a connection of its own, which comes back by itself.

    `prefetch` bounds the unsettled deliveries per queue, and so the memory. `fast=False` receives through the
    client library's documented methods only; that happens by itself when its insides have changed.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        queues: Sequence[str],
        prefetch: int,
        declarations: Declarations | None = None,
        heartbeat_s: int = 8,
        fast: bool = True,
    ) -> None:
        if prefetch < 1 or not queues:
            raise ValueError("a consumer needs a queue and a prefetch above 0 (0 means no bound at all)")
        self._name = name
        self._queues = list(queues)
        self._prefetch = prefetch
        self._connection = Connection(
            url, name=name, heartbeat_s=heartbeat_s, declarations=declarations, prepare=self._prepare
        )
        self._log = structlog.get_logger("countermand.wire").bind(connection=name)
        self._waiting: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._unsettled = Unsettled()
        self._session: Session | None = None
        self._consumer_tags: dict[str, str] = {}
        self._receivers: dict[str, Receive] = {}
        self._tag_numbers = itertools.count(1)
        self._fast = fast
        self._finished = False
        self.consumers_cancelled = 0

    @property
    def connection(self) -> Connection:
        """The connection underneath, for health and metrics."""
        return self._connection

    @property
    def ready(self) -> bool:
        """Whether it is connected and consuming all of its queues."""
        return (
            self._connection.session is not None
            and not self._finished
            and len(self._consumer_tags) == len(self._queues)
        )

    async def start(self) -> None:
        """Start connecting and consuming. Returns at once; `wait_ready` waits."""
        await self._connection.start()

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until it consumes. Raises BrokerUnavailable with the last error."""
        await self._connection.wait_ready(timeout_s)

    async def declare(self, declarations: Declarations) -> None:
        """Declare now, if connected, and on every connect. Raises BrokerUnavailable if the broker refuses."""
        await self._connection.declare(declarations)

    async def next_batch(self, limit: int) -> list[Delivery]:
        """Whatever is waiting, up to `limit`; waits for at least one. Raises ConsumerClosed at the end."""
        while not self._waiting:
            if self._finished:
                raise ConsumerClosed(self._name)
            self._arrived.clear()
            await self._arrived.wait()
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(limit, len(waiting)))]

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the broker that they are done with. Deliveries of a lost channel are skipped: they come again."""
        await self._settle(deliveries, "acknowledge")

    async def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        """Move them to the dead-letter exchange of their queue."""
        await self._settle(deliveries, "dead_letter")

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give them back to their queue, for any consumer."""
        await self._settle(deliveries, "release")

    async def pause(self) -> None:
        """Stop consuming, for good. What is here already can still be taken and settled."""
        self._finished = True
        self._arrived.set()
        session, tags = self._session, list(self._consumer_tags.values())
        self._consumer_tags.clear()
        if session is None or session.ended:
            return
        try:
            for tag in tags:
                await session.channel.basic_cancel(tag, timeout=CANCEL_TIMEOUT_S)
        except asyncio.CancelledError:
            if cancelled_from_outside():
                raise
        except BROKER_ERRORS:
            return  # The channel is lost, and nothing is consumed on the next one.
        self._log.info(CONSUMING_PAUSED, waiting=len(self._waiting))

    async def close(self) -> None:
        """Close for good. The broker gives unsettled deliveries to another consumer."""
        self._finished = True
        await self._connection.close()
        self._waiting.clear()
        self._arrived.set()

    async def _prepare(self, session: Session) -> None:
        self._unsettled = Unsettled()
        self._session = session
        self._consumer_tags.clear()
        self._receivers = {}
        if self._fast and not deliver_directly(session.channel, self._receivers):
            self._log.warning(FAST_PATH_UNAVAILABLE)
        session.on_end(self._session_ended)
        session.channel.on_consumer_cancel_callbacks.add(self._cancelled_by_broker(session))
        if self._finished:
            return
        if self._connection.undecodable:
            await self._consume_cautiously(session)
        else:
            await self._consume(session, self._prefetch)

    async def _consume(self, session: Session, prefetch: int) -> None:
        await session.channel.basic_qos(prefetch_count=prefetch)
        for queue in self._queues:
            await self._consume_queue(session, queue)

    async def _consume_queue(self, session: Session, queue: str) -> None:
        if self._finished:
            return
        # A tag of our own, known before the first delivery can come.
        tag = f"{session.generation}.{next(self._tag_numbers)}"
        receive = self._receivers[tag] = self._receiver(session, queue)
        await session.channel.basic_consume(queue, awaitable(receive), consumer_tag=tag)
        self._consumer_tags[queue] = tag

    async def _consume_cautiously(self, session: Session) -> None:
        """One message and one queue at a time; raises SessionEnded when the connection dies of it."""
        self._log.warning(CONSUMING_CAUTIOUSLY, first=self._queues[0])
        await session.channel.basic_qos(prefetch_count=1)
        for queue in list(self._queues):
            # Whatever kills the connection now comes from this queue: next time it goes first.
            self._queues.remove(queue)
            self._queues.insert(0, queue)
            await self._consume_queue(session, queue)
            await ended_within(session, SUSPICION_S)
        await ended_within(session, CAUTION_S)
        for queue, tag in list(self._consumer_tags.items()):
            await session.channel.basic_cancel(tag, timeout=CANCEL_TIMEOUT_S)
            del self._consumer_tags[queue]
        await self._consume(session, self._prefetch)

    def _receiver(self, session: Session, queue: str) -> Receive:
        generation = session.generation
        waiting, arrived, unsettled = self._waiting, self._arrived, self._unsettled

        def receive(message: DeliveredMessage) -> None:
            if session.ended:
                return
            delivery = delivery_of(message, queue, generation)
            unsettled.add(delivery.delivery_tag)
            waiting.append(delivery)
            arrived.set()

        return receive

    def _cancelled_by_broker(self, session: Session) -> Callable[[Basic.Cancel], None]:
        def cancelled(frame: Basic.Cancel) -> None:
            queue = next((q for q, tag in self._consumer_tags.items() if tag == frame.consumer_tag), None)
            self.consumers_cancelled += 1
            self._log.error(CONSUMER_CANCELLED, queue=queue, generation=session.generation)
            session.end("the broker cancelled a consumer: its queue was deleted?", replace_connection=False)

        return cancelled

    def _session_ended(self, session: Session) -> None:
        # The broker delivers these again; settled on the new channel they would settle somebody else's.
        self._consumer_tags.clear()
        self._waiting.clear()

    async def _settle(self, deliveries: Sequence[Delivery], answer: Answer) -> None:
        session = self._session
        if session is None or session.ended:
            return
        ours = [d for d in deliveries if d._generation == session.generation and not d._settling]
        if not ours:
            return
        for delivery in ours:
            delivery._settling = True
        unsettled, tags = self._unsettled, [delivery.delivery_tag for delivery in ours]
        try:
            drained = await session.write(unsettled.frames(tags, answer, session.channel.number))
            unsettled.settle(tags)
            await session.wait_drained(drained)
        except SessionEnded:
            return


async def ended_within(session: Session, seconds: float) -> None:
    """Raises SessionEnded if the session ends within that time."""
    try:
        async with asyncio.timeout(seconds):
            await session.wait_ended()
    except TimeoutError:
        return
    raise SessionEnded(session.reason)
