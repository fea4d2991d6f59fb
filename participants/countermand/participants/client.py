"""Starts sagas and waits for them, from any service.

    async with Client("amqp://…") as client:
        await client.register(fulfil)
        handle = await client.start(fulfil, Order(…), saga_id=f"order-{order.id}")
        outcome = await handle.outcome()

Every request is idempotent: whoever is in doubt whether it arrived makes it again with the same id.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar, overload

import msgspec

from countermand.participants.correspondence import Answered, Correspondence, NoAnswer
from countermand.participants.outcomes import (
    OutcomePending,
    RequestRefused,
    SagaHandle,
    SagaOutcome,
    StartRefused,
    Watch,
)
from countermand.participants.saga import Saga
from countermand.participants.timing import Duration, milliseconds
from countermand.schemas.codec import check_body, encode
from countermand.schemas.contract import Event, event_info
from countermand.schemas.coordinating import target_of
from countermand.schemas.coordination import EVENT_KEPT_MAX_MS, EventMessage, checked_key
from countermand.schemas.definition import canonical, decode_definition
from countermand.schemas.errors import CountermandError, DefinitionError
from countermand.schemas.identifiers import checked_saga_id, checked_slug, checked_tags, new_saga_id, new_secret
from countermand.schemas.messages import (
    Accepted,
    CancelMessage,
    Defined,
    DefineMessage,
    EventAccepted,
    Outcome,
    Refused,
    RequestMessage,
    SignalMessage,
    StartMessage,
)
from countermand.schemas.topology import Topology

__all__ = [
    "Client",
    "SagaHandle",
    "SagaOutcome",
    "RequestRefused",
    "StartRefused",
    "NoAnswer",
    "OutcomePending",
]

In = TypeVar("In")
Out = TypeVar("Out")

ANSWER_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 30.0
WATCH_INTERVAL_S: Final = 15.0  # The price of one lost outcome, against one small message per waiting saga.
IN_MOTION: Final = frozenset({"running", "compensating"})


class Client:
    """A connection to the coordinators, through the broker. Use it as `async with Client(url) as client:`.

    `name` is shown to operators. A request is sent again, under the same id, whenever no answer came within
    `answer_timeout_s`; a call gives up after `timeout_s` with NoAnswer.
    """

    def __init__(
        self,
        amqp_url: str,
        *,
        topology: Topology | None = None,
        name: str = "client",
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        timeout_s: float = REQUEST_TIMEOUT_S,
        watch_interval_s: float = WATCH_INTERVAL_S,
    ) -> None:
        self._timeout_s = timeout_s
        self._watching: asyncio.Task[None] | None = None
        self._correspondence = Correspondence(
            amqp_url,
            name=checked_slug("name", name),
            topology=topology or Topology(),
            answer_timeout_s=answer_timeout_s,
            on_told=self._told,
        )
        self._watch = Watch(self._correspondence, watch_interval_s)

    async def __aenter__(self) -> Self:
        """Connects. Raises BrokerUnavailable."""
        try:
            await self._correspondence.open(self._timeout_s)
        except BaseException:  # Also a cancellation: nothing stays open, and it is passed on.
            await self._correspondence.close()
            raise
        self._watching = asyncio.create_task(self._watch.run(), name="countermand client watches")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._correspondence.close()
        self._watch.close()

    async def register(self, definition: Saga[Any, Any] | bytes) -> Defined:
        """Registers a saga, or a document in JSON. The same name and version with the same content changes nothing.

        Raises:
            DefinitionError: it is no definition document.
            RequestRefused: with the lint's findings, or because name and version are taken by other content.
            NoAnswer, BrokerUnavailable: see `start`.
        """
        read = definition.definition if isinstance(definition, Saga) else decode_definition(definition)
        request = DefineMessage(new_secret(), canonical(read), self._correspondence.queue)
        answer = await self._ask(request, read.name, RequestRefused)
        if isinstance(answer, Defined):
            return answer
        raise _unexpected(answer)

    async def start(
        self,
        saga: Saga[In, Out],
        input: In,  # noqa: A002  The language's own word for it.
        *,
        saga_id: str | None = None,
        tags: Sequence[str] = (),
        request_id: str | None = None,
        traceparent: str | None = None,
    ) -> SagaHandle[Out]:
        """Starts a saga. With a `saga_id` that stands for the business case, starting twice starts once.

        Raises:
            StartRefused: the id is taken by a saga with other content, or the definition isn't registered.
            MalformedMessage: the input isn't what the saga declares; nothing was sent.
            InvalidIdentifier: saga id or tag.
            NoAnswer: it may or may not have been started; call again with the same id.
            BrokerUnavailable: the broker refuses the request.
        """
        watched = self._watch.saga(new_saga_id() if saga_id is None else saga_id)
        request = StartMessage(
            request_id=request_id or new_secret(),
            saga_id=watched.saga_id,
            definition=saga.name,
            input=msgspec.Raw(saga.encode_input(input)),
            version=saga.version,
            tags=checked_tags(tuple(tags)),
            reply_to=self._correspondence.queue,
            traceparent=traceparent,
        )
        answer = _accepted(await self._ask(request, watched.saga_id, StartRefused))
        # A saga that had ended before tells its outcome to those who ask, not to those who start it again.
        watched.asked = watched.asked or (not answer.duplicate and answer.phase in IN_MOTION)
        return SagaHandle(self._watch, watched, saga, answer)

    async def signal(self, saga_id: str, event: Event, *, signal_id: str | None = None) -> Accepted:
        """Tells a saga that something happened. The same `signal_id` counts once.

        Raises:
            RequestRefused: there is no such saga, or it has ended.
            LimitExceeded: the event is too large.
            NoAnswer, BrokerUnavailable: see `start`; to call again safely, give a `signal_id`.
        """
        payload = encode(event)
        check_body(payload, field="event")
        request = SignalMessage(
            request_id=signal_id or new_secret(),
            saga_id=checked_saga_id(saga_id),
            name=event_info(type(event)).name,
            payload=msgspec.Raw(payload),
            reply_to=self._correspondence.queue,
        )
        return _accepted(await self._ask(request, saga_id, RequestRefused))

    async def publish_event(
        self, event: Event, *, key: str | int, keep: Duration = "1d", event_id: str | None = None
    ) -> EventAccepted:
        """Tells every saga that waits for this event with this business key. The same `event_id` counts once.

        Sagas that begin to wait for it within `keep` (`"0s"` to 30 days) get it too.

        Raises:
            InvalidIdentifier: the key isn't 1 to 256 characters without control characters.
            DefinitionError: `keep` is no duration, or too long.
            LimitExceeded: the event is too large.
            NoAnswer, BrokerUnavailable: see `start`; to call again safely, give an `event_id`.
        """
        payload = encode(event)
        check_body(payload, field="event")
        keep_ms = milliseconds("keep", keep, zero_allowed=True)
        if keep_ms > EVENT_KEPT_MAX_MS:
            raise DefinitionError("keep", f"{keep!r} is longer than 30 days; what is kept longer belongs in a database")
        request = EventMessage(
            request_id=event_id or new_secret(),
            event=event_info(type(event)).name,
            key=checked_key("key", str(key)),
            payload=msgspec.Raw(payload),
            keep_ms=keep_ms,
            reply_to=self._correspondence.queue,
        )
        answer = await self._ask(request, target_of(request), RequestRefused)
        if isinstance(answer, EventAccepted):
            return answer
        raise _unexpected(answer)

    async def cancel(self, saga_id: str, reason: str) -> Accepted:
        """Asks that a saga be undone.

        Raises:
            RequestRefused: there is no such saga, or it can't be undone any more.
            NoAnswer, BrokerUnavailable: see `start`.
        """
        request = CancelMessage(new_secret(), checked_saga_id(saga_id), reason, self._correspondence.queue)
        return _accepted(await self._ask(request, saga_id, RequestRefused))

    @overload
    def handle(self, saga_id: str, saga: Saga[Any, Out]) -> SagaHandle[Out]: ...
    @overload
    def handle(self, saga_id: str, saga: None = None) -> SagaHandle[Any]: ...
    def handle(self, saga_id: str, saga: Saga[Any, Any] | None = None) -> SagaHandle[Any]:
        """A handle on a saga that was started elsewhere or before; `saga` gives its result a type."""
        return SagaHandle(self._watch, self._watch.saga(saga_id), saga, None)

    async def _ask(
        self, request: RequestMessage | EventMessage, shard_of: str, refusal: type[RequestRefused]
    ) -> Answered:
        answer = await self._correspondence.ask(request, shard_of=shard_of, timeout_s=self._timeout_s)
        if isinstance(answer, Refused):
            raise refusal(answer)
        return answer

    def _told(self, answer: Outcome | Answered) -> None:
        self._watch.told(answer)


def _accepted(answer: Answered) -> Accepted:
    if isinstance(answer, Accepted):
        return answer
    raise _unexpected(answer)


def _unexpected(answer: Answered) -> CountermandError:
    return CountermandError(f"the coordinator answered with {type(answer).__name__}, which is no answer to this")
