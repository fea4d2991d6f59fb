"""A client's half of the conversation with the coordinators: requests out in batches, answers in by request id.

The rules:
- Whatever waits to be sent goes out in one batch; nobody waits for one confirm.
- A request is sent again under the same id for as long as nobody has answered it. Coordinators answer a repeated
  request and don't repeat it, so sending again is always safe.
- Answers come to a queue that dies with its connection. What was lost with it is asked for again, by whoever waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

from countermand.schemas.coordinating import write_event
from countermand.schemas.coordination import EventMessage
from countermand.schemas.envelope import Incoming, read_answer, write_request
from countermand.schemas.errors import BrokerUnavailable, CountermandError, InvariantViolated, MalformedMessage
from countermand.schemas.identifiers import inbox_key, new_secret
from countermand.schemas.messages import Accepted, Defined, EventAccepted, Outcome, Refused, RequestMessage
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Consumer, ConsumerClosed, Message, Publisher, PublishOutcome, Returned, Unknown

BATCH_MAX: Final = 500  # What one socket write carries without keeping heartbeats waiting.
PREFETCH: Final = 1_000
REDECLARED_PAUSE_S: Final = 0.2  # A queue that is deleted again and again must not be declared in a tight loop.

ANSWER_MALFORMED: Final = "answer_malformed"
CLIENT_FAILED: Final = "client_failed"

Answered = Accepted | Refused | Defined | EventAccepted
Request = RequestMessage | EventMessage


class NoAnswer(CountermandError, TimeoutError):
    """No coordinator answered in time. The request may or may not have been carried out.

    Calling again with the same id is safe: what was done is answered and not repeated.
    """

    code = "no_answer"


class Correspondence:
    """The connections of one client. `on_told` gets every outcome, and every answer to a request nobody waits for."""

    def __init__(
        self,
        url: str,
        *,
        name: str,
        topology: Topology,
        answer_timeout_s: float,
        on_told: Callable[[Outcome | Answered], None],
    ) -> None:
        client_id = f"{name}-{new_secret()}"
        self.queue = topology.client_queue(client_id)
        self._topology = topology
        self._source = f"/clients/{name}"
        self._answer_timeout_s = answer_timeout_s
        self._on_told = on_told
        self._publisher = Publisher(url, name=f"{name} requests", declarations=topology.common())
        self._consumer = Consumer(
            url, name=f"{name} answers", queues=[self.queue], prefetch=PREFETCH, declarations=topology.client(client_id)
        )
        self._outbox: deque[tuple[Message, asyncio.Future[PublishOutcome]]] = deque()
        self._filled = asyncio.Event()
        self._awaited: dict[str, list[asyncio.Future[Answered]]] = {}
        self._closed = True
        self._tasks: list[asyncio.Task[None]] = []
        self._log = structlog.get_logger("countermand.client").bind(client=client_id)

    async def open(self, timeout_s: float) -> None:
        """Connects. Raises BrokerUnavailable."""
        self._closed = False
        await self._publisher.start()
        await self._consumer.start()
        self._tasks = [
            asyncio.create_task(self._send(), name="countermand client sends"),
            asyncio.create_task(self._read(), name="countermand client reads"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        await self._publisher.wait_ready(timeout_s)
        await self._consumer.wait_ready(timeout_s)

    async def close(self) -> None:
        """Closes for good; whoever still waits for an answer gets NoAnswer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._give_up(NoAnswer("the client was closed before the answer came; what was asked may have been done"))
        await self._consumer.close()
        await self._publisher.close()

    def _give_up(self, error: CountermandError) -> None:
        """Nothing will be sent or read any more: lets everybody go who waits for it."""
        self._closed = True
        for waiting in self._awaited.values():
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
        for _, sent in self._outbox:
            sent.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error(CLIENT_FAILED, task=task.get_name(), exc_info=error)
            self._give_up(InvariantViolated(f"{task.get_name()}: {type(error).__name__}: {error}"))

    async def ask(self, request: Request, *, shard_of: str, timeout_s: float) -> Answered:
        """The answer to a request. `shard_of` is the saga id, the name of a definition, or the mailbox's id.

        Raises:
            NoAnswer: none came in time.
            BrokerUnavailable: the broker refuses the request; nothing was done.
        """
        if self._closed:
            raise BrokerUnavailable("the client is not open: use it inside `async with`")
        message = self._message(request, shard_of)
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(request.request_id, []).append(answer)
        tries = 0
        try:
            async with asyncio.timeout(timeout_s):
                while not answer.done():
                    tries += 1
                    await self._attempt(message, answer)
            return answer.result()
        except TimeoutError as error:
            if isinstance(error, NoAnswer):
                raise
            problem = f"sent {tries} times, no coordinator answered within {timeout_s:g} s"
            advice = "it may or may not have been carried out; calling again with the same id is safe"
            raise NoAnswer(f"{type(request).__name__} {request.request_id}: {problem}; {advice}") from None
        finally:
            self._forget(request.request_id, answer)

    def tell(self, request: RequestMessage, *, shard_of: str) -> None:
        """Sends a request whose answer goes to `on_told`, soon and once."""
        self._enqueue(self._message(request, shard_of))

    @property
    def stalled(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._outbox)

    async def wait_reconnected(self, timeout_s: float) -> bool:
        """Waits for the queue of the answers to be lost and opened again; whether that happened within the time."""
        connection = self._consumer.connection
        session = await connection.wait_session()
        try:
            async with asyncio.timeout(timeout_s):
                await session.wait_ended()
        except TimeoutError:
            return False
        await connection.wait_session()
        return True

    async def _attempt(self, message: Message, answer: asyncio.Future[Answered]) -> None:
        """Sends once, and returns when it is answered or when it is time to send again."""
        sent = self._enqueue(message)
        # The answer can be here before the confirm.
        either: set[asyncio.Future[Any]] = {sent, answer}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return
        match sent.result():
            case Confirmed():
                await asyncio.wait({answer}, timeout=self._answer_timeout_s)
            case Unknown():
                return
            case Returned():
                # Somebody deleted the coordinator inbox; declared again, it keeps the request until one is back.
                await self._publisher.declare(self._topology.common())
                await asyncio.wait({answer}, timeout=REDECLARED_PAUSE_S)
            case outcome:
                raise BrokerUnavailable(f"the broker did not take the request: {outcome}")

    def _enqueue(self, message: Message) -> asyncio.Future[PublishOutcome]:
        sent: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()
        self._outbox.append((message, sent))
        self._filled.set()
        return sent

    def _forget(self, request_id: str, answer: asyncio.Future[Answered]) -> None:
        answer.cancel()
        waiting = self._awaited[request_id]
        waiting.remove(answer)
        if not waiting:
            del self._awaited[request_id]

    def _message(self, request: Request, shard_of: str) -> Message:
        if isinstance(request, EventMessage):
            envelope = write_event(request, source=self._source)
        else:
            envelope = write_request(request, source=self._source)
        return Message(
            exchange=self._topology.inbox_exchange,
            routing_key=inbox_key(shard_of),
            body=envelope.body,
            headers=envelope.headers,
            content_type=envelope.content_type,
            type=envelope.type,
            correlation_id=envelope.correlation_id,
            reply_to=envelope.reply_to,
        )

    async def _send(self) -> None:
        while True:
            await self._filled.wait()
            batch = [self._outbox.popleft() for _ in range(min(BATCH_MAX, len(self._outbox)))]
            if not self._outbox:
                self._filled.clear()
            batch = [(message, sent) for message, sent in batch if not sent.cancelled()]
            outcomes = await self._publisher.publish([message for message, _ in batch])
            for (_, sent), outcome in zip(batch, outcomes, strict=True):
                if not sent.done():
                    sent.set_result(outcome)

    async def _read(self) -> None:
        while True:
            try:
                deliveries = await self._consumer.next_batch(PREFETCH)
            except ConsumerClosed:
                return
            for delivery in deliveries:
                incoming = Incoming(delivery.headers, delivery.body, delivery.content_type or None)
                try:
                    self._take(read_answer(incoming))
                except MalformedMessage as error:
                    self._log.warning(ANSWER_MALFORMED, field=error.field, problem=error.problem)
            await self._consumer.acknowledge(deliveries)

    def _take(self, answer: Outcome | Answered) -> None:
        waiting = [] if isinstance(answer, Outcome) else self._awaited.get(answer.request_id, [])
        if isinstance(answer, Outcome) or not waiting:
            self._on_told(answer)
            return
        for future in waiting:
            if not future.done():
                future.set_result(answer)
