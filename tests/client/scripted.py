"""The other side of the wire for the client's tests: answers by the protocol, and misbehaves when told to."""

import asyncio
from typing import TypeVar

from countermand.schemas.coordinating import EVENT, read_coordination
from countermand.schemas.coordination import EventMessage
from countermand.schemas.definition import decode_definition, definition_hash
from countermand.schemas.envelope import Incoming, message_type, read_request, write_answer
from countermand.schemas.identifiers import INBOX_SHARDS
from countermand.schemas.messages import (
    Accepted,
    Answer,
    CancelMessage,
    Defined,
    DefineMessage,
    EventAccepted,
    OperateMessage,
    Outcome,
    Refused,
    RequestMessage,
    SignalMessage,
    StartMessage,
    WatchMessage,
)
from countermand.schemas.topology import Topology
from countermand.wire import Consumer, ConsumerClosed, Message, Publisher

READY_TIMEOUT_S = 30.0
Request = TypeVar("Request", StartMessage, WatchMessage, SignalMessage, CancelMessage, DefineMessage, EventMessage)


def _read(incoming: Incoming) -> RequestMessage | EventMessage:
    if message_type(incoming) != EVENT:
        return read_request(incoming)
    event = read_coordination(incoming)
    assert isinstance(event, EventMessage)
    return event


class ScriptedCoordinator:
    """Consumes the coordinator inbox. `unanswered` many requests are taken and get no answer."""

    def __init__(self, url: str, topology: Topology) -> None:
        queues = [topology.inbox_queue(shard) for shard in range(INBOX_SHARDS)]
        common = topology.common()
        self._consumer = Consumer(url, name="scripted inbox", queues=queues, prefetch=500, declarations=common)
        self._publisher = Publisher(url, name="scripted answers", declarations=common)
        self._task: asyncio.Task[None] | None = None
        self._started: dict[str, StartMessage] = {}
        self._ended: dict[str, Outcome] = {}
        self._watchers: dict[str, set[str]] = {}
        self.requests: list[RequestMessage | EventMessage] = []
        self.batches: list[int] = []
        self.unanswered = 0
        self.refuses_documents: tuple[str, ...] = ()

    async def __aenter__(self) -> "ScriptedCoordinator":
        await self._consumer.start()
        await self._publisher.start()
        await self._consumer.wait_ready(READY_TIMEOUT_S)
        await self._publisher.wait_ready(READY_TIMEOUT_S)
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.close()
        if self._task is not None:
            await self._task
        await self._publisher.close()

    def seen(self, type_: type[Request]) -> list[Request]:
        """The requests of one type, in the order of arrival."""
        return [request for request in self.requests if isinstance(request, type_)]

    async def end(self, outcome: Outcome, *, tells: bool = True) -> None:
        """A saga has ended; those who watch are told, unless that message is lost."""
        self._ended[outcome.saga_id] = outcome
        if tells:
            await self._send([(queue, outcome) for queue in self._watchers.get(outcome.saga_id, ())])

    async def send(self, queue: str, body: bytes, headers: dict[str, str | int]) -> None:
        """Anything at all, to a client's queue."""
        await self._publisher.publish([Message("", queue, body, headers)])

    async def _serve(self) -> None:
        while True:
            try:
                deliveries = await self._consumer.next_batch(500)
            except ConsumerClosed:
                return
            self.batches.append(len(deliveries))
            answers: list[tuple[str, Answer]] = []
            for delivery in deliveries:
                incoming = Incoming(delivery.headers, delivery.body, delivery.content_type, delivery.reply_to)
                request = _read(incoming)
                self.requests.append(request)
                if self.unanswered > 0:
                    self.unanswered -= 1
                elif request.reply_to is not None:
                    answers += [(request.reply_to, answer) for answer in self._answers(request)]
            await self._send(answers)
            await self._consumer.acknowledge(deliveries)

    def _answers(self, request: RequestMessage | EventMessage) -> list[Answer]:
        match request:
            case EventMessage(request_id=request_id, event=event, key=key):
                seen = [each for each in self.seen(EventMessage) if each.request_id == request_id]
                return [EventAccepted(request_id, event, key, sagas=2, duplicate=len(seen) > 1)]
            case DefineMessage(request_id=request_id, document=document):
                if self.refuses_documents:
                    problem = "2 findings"
                    return [Refused(request_id, "unsound_definition", problem, findings=self.refuses_documents)]
                read = decode_definition(document)
                return [Defined(request_id, read.name, read.version, definition_hash(read))]
            case StartMessage():
                return [self._start(request)]
            case WatchMessage(request_id=request_id, saga_id=saga_id, reply_to=queue):
                if saga_id in self._ended:
                    return [self._ended[saga_id]]
                if saga_id not in self._started:
                    return [Refused(request_id, "unknown_saga", f"saga_id: there is no saga {saga_id}", saga_id)]
                self._watchers.setdefault(saga_id, set()).add(queue)
                return [Accepted(request_id, saga_id, "running")]
            case SignalMessage(request_id=request_id, saga_id=saga_id):
                return [Accepted(request_id, saga_id, "running")]
            case CancelMessage(request_id=request_id, saga_id=saga_id):
                return [Accepted(request_id, saga_id, "compensating")]
            case OperateMessage(request_id=request_id, saga_id=saga_id):
                return [Refused(request_id, "unknown_saga", "saga_id: this coordinator has no operators", saga_id)]

    def _start(self, request: StartMessage) -> Answer:
        known = self._started.setdefault(request.saga_id, request)
        if bytes(known.input) != bytes(request.input):
            problem = "input: differs from the input of the saga that has this id"
            return Refused(request.request_id, "saga_exists", problem, request.saga_id)
        if request.reply_to is not None:
            self._watchers.setdefault(request.saga_id, set()).add(request.reply_to)
        ended = self._ended.get(request.saga_id)
        phase = "running" if ended is None else ended.phase
        return Accepted(request.request_id, request.saga_id, phase, duplicate=known is not request)

    async def _send(self, answers: list[tuple[str, Answer]]) -> None:
        messages = []
        for queue, answer in answers:
            envelope = write_answer(answer)
            # Not mandatory: a client that is gone is no fault.
            messages.append(Message("", queue, envelope.body, envelope.headers, mandatory=False))
        await self._publisher.publish(messages)
