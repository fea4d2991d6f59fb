"""Sends one request to the coordinators and waits for their answer, as any client on the wire would."""

import asyncio
import secrets
from collections.abc import Sequence

from countermand.coordinator.intake import incoming
from countermand.schemas.envelope import read_answer, write_request
from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.messages import Answer, Outcome, RequestMessage
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Consumer, Message, Publisher


class Requests:
    """A connection for requests; use it as a context manager. `queue` is what requests carry as `reply_to`."""

    def __init__(self, amqp_url: str, topology: Topology, *, timeout_s: float = 10.0) -> None:
        client_id = f"cli-{secrets.token_hex(8)}"
        self._topology = topology
        self._timeout_s = timeout_s
        self.queue = topology.client_queue(client_id)
        self._publisher = Publisher(amqp_url, name="cli-publisher", declarations=topology.common())
        self._consumer = Consumer(
            amqp_url,
            name="cli-consumer",
            queues=[self.queue],
            prefetch=10,
            declarations=topology.client(client_id),
        )

    async def __aenter__(self) -> "Requests":
        await self._publisher.start()
        await self._consumer.start()
        try:
            await self._publisher.wait_ready(self._timeout_s)
            await self._consumer.wait_ready(self._timeout_s)
        except BaseException:  # Whatever ended the start, also a cancellation, nothing stays open; it is passed on.
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.close()
        await self._publisher.close()

    async def ask(self, request: RequestMessage, *, key: str) -> Answer:
        """The coordinators' answer; `key` is the saga's id or the definition's name.

        Raises:
            BrokerUnavailable: nobody answered in time. The request may have been carried out all the same; asking
                again with the same ids is safe.
        """
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
        (outcome,) = await self._publisher.publish([message])
        if not isinstance(outcome, Confirmed):
            raise BrokerUnavailable(f"the request was not confirmed: {outcome}")
        (answer,) = await self.answers_to([request.request_id])
        return answer

    async def outcome(self, saga_id: str, *, timeout_s: float | None) -> Outcome:
        """Waits for the end of a saga that was started or watched with this queue.

        Raises:
            TimeoutError: it had not ended within the time.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                for answer in await self._answers():
                    if isinstance(answer, Outcome) and answer.saga_id == saga_id:
                        return answer

    async def answers_to(self, request_ids: Sequence[str]) -> list[Answer]:
        """The answers to requests that have been sent, in the order asked for.

        Raises:
            BrokerUnavailable: not all came in time.
        """
        found: dict[str, Answer] = {}
        try:
            async with asyncio.timeout(self._timeout_s):
                while not found.keys() >= set(request_ids):
                    for answer in await self._answers():
                        if not isinstance(answer, Outcome):
                            found[answer.request_id] = answer
        except TimeoutError as error:
            raise BrokerUnavailable("no coordinator answered in time; is one running?") from error
        return [found[request_id] for request_id in request_ids]

    async def _answers(self) -> list[Answer]:
        deliveries = await self._consumer.next_batch(10)
        answers = [read_answer(incoming(delivery)) for delivery in deliveries]
        await self._consumer.acknowledge(deliveries)
        return answers
