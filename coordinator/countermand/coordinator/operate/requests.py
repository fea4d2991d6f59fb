"""Sends requests to the coordinators and waits for their answers, as any client on the wire would."""

import asyncio
import secrets
from typing import Final

import structlog

from countermand.coordinator.intake import incoming
from countermand.coordinator.operate.reaching import CONNECT_TIMEOUT_S, reach_broker
from countermand.schemas.coordinating import write_event
from countermand.schemas.coordination import EventMessage
from countermand.schemas.envelope import read_answer, write_request
from countermand.schemas.errors import BrokerUnavailable, MalformedMessage
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.messages import Answer, Outcome, RequestMessage
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Consumer, Message, Publisher, end

log = structlog.get_logger(__name__)

ANSWERS_AT_ONCE: Final = 100


class NoAnswer(BrokerUnavailable):
    """The request was sent, and nobody answered in time. It may be carried out all the same."""


class Requests:
    """A connection for requests, any number of them at once; use it as a context manager.

    `queue` is what requests carry as `reply_to`. Opening it raises NoConnection at once where nobody listens; an answer
    is waited for `timeout_s`.
    """

    def __init__(self, amqp_url: str, topology: Topology, *, timeout_s: float = 10.0) -> None:
        client_id = f"cli-{secrets.token_hex(8)}"
        self._amqp_url = amqp_url
        self._topology = topology
        self._timeout_s = timeout_s
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None
        self.queue = topology.client_queue(client_id)
        self._publisher = Publisher(amqp_url, name="cli-publisher", declarations=topology.common())
        self._consumer = Consumer(
            amqp_url,
            name="cli-consumer",
            queues=[self.queue],
            prefetch=ANSWERS_AT_ONCE,
            declarations=topology.client(client_id),
        )

    async def __aenter__(self) -> "Requests":
        await reach_broker(self._amqp_url, timeout_s=min(self._timeout_s, CONNECT_TIMEOUT_S))
        await self._publisher.start()
        await self._consumer.start()
        try:
            await self._publisher.wait_ready(self._timeout_s)
            await self._consumer.wait_ready(self._timeout_s)
        except BaseException:  # Whatever ended the start, also a cancellation, nothing stays open; it is passed on.
            await self.__aexit__()
            raise
        self._reader = asyncio.create_task(self._read(), name="cli answers")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            await end([self._reader])
        await self._consumer.close()
        await self._publisher.close()

    async def ask(self, request: RequestMessage | EventMessage, *, key: str) -> Answer:
        """The coordinators' answer; `key` is the saga's id, the definition's name or the id of the event's mailbox.

        Raises:
            BrokerUnavailable: nobody answered in time. The request may have been carried out all the same; asking
                again with the same ids is safe.
        """
        if isinstance(request, EventMessage):
            envelope = write_event(request, source="/cli")
        else:
            envelope = write_request(request, source="/cli")
        message = Message(
            exchange=self._topology.inbox_exchange,
            routing_key=inbox_key(key),
            body=envelope.body,
            headers=envelope.headers,
            type=envelope.type,
            correlation_id=envelope.correlation_id,
            reply_to=envelope.reply_to,
        )
        answer = self.expect(request.request_id)
        try:
            (outcome,) = await self._publisher.publish([message])
            if not isinstance(outcome, Confirmed):
                raise NoAnswer(f"the request was not confirmed: {outcome}")
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError as error:
            raise NoAnswer("no coordinator answered in time; is one running?") from error
        finally:
            self._waiting.pop(request.request_id, None)

    def expect(self, request_id: str) -> "asyncio.Future[Answer]":
        """What will be the answer to a request that somebody sends; call it before that."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        return answer

    async def outcome(self, saga_id: str, *, timeout_s: float | None) -> Outcome:
        """Waits for the end of a saga that was started or watched with this queue.

        Raises:
            TimeoutError: it had not ended within the time.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                outcome = await self._outcomes.get()
                if outcome.saga_id == saga_id:
                    return outcome

    async def _read(self) -> None:
        while True:
            deliveries = await self._consumer.next_batch(ANSWERS_AT_ONCE)
            for delivery in deliveries:
                try:
                    answer = read_answer(incoming(delivery))
                except MalformedMessage as error:
                    # Whoever wrote it, those who wait for other answers must not wait in vain.
                    log.warning("answer_unreadable", field=error.field, problem=error.problem)
                    continue
                if isinstance(answer, Outcome):
                    self._outcomes.put_nowait(answer)
                elif (waiting := self._waiting.get(answer.request_id)) is not None and not waiting.done():
                    waiting.set_result(answer)
            await self._consumer.acknowledge(deliveries)
