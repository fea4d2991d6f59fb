"""What travels: a message on its way out, what became of it, and a delivery on its way in."""

from collections.abc import Mapping

import msgspec


class Message(msgspec.Struct, frozen=True):
    """A message to publish.

    It has no `message_id`: the driver makes a fresh one for every publish, because the client library finds
    the confirm of a returned message by it. An id that means something to people belongs in a header.
    """

    exchange: str
    routing_key: str
    body: bytes
    headers: dict[str, str | int]
    content_type: str = "application/json"
    type: str = ""
    correlation_id: str | None = None
    reply_to: str | None = None
    mandatory: bool = True
    persistent: bool = True
    app_id: str = ""


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed"):
    """The broker has taken responsibility for the message."""


class Returned(msgspec.Struct, frozen=True, tag="returned"):
    """No queue takes messages with this exchange and routing key; the message is in no queue."""

    code: int
    text: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The message is not with the broker, and sending it again unchanged may not help.

    `for_good`: it never helps, because the protocol can't carry this message.
    """

    reason: str
    for_good: bool = False


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """Nobody knows whether the broker has the message: it may still arrive, once or, if sent again, twice."""

    reason: str


PublishOutcome = Confirmed | Returned | Refused | Unknown

CONFIRMED = Confirmed()


class Delivery:
    """A message that the broker delivered and still waits to hear about.

    It belongs to one life of one channel. When that channel is gone the broker delivers the message again,
    and settling this delivery does nothing.
    """

    __slots__ = (
        "_generation",
        "_settling",
        "app_id",
        "body",
        "content_type",
        "correlation_id",
        "delivery_tag",
        "exchange",
        "headers",
        "message_id",
        "queue",
        "redelivered",
        "reply_to",
        "routing_key",
        "type",
        "user_id",
    )

    def __init__(
        self,
        *,
        body: bytes,
        headers: Mapping[str, object],
        content_type: str,
        type: str,  # noqa: A002  The protocol's own word for this property.
        correlation_id: str | None,
        reply_to: str | None,
        message_id: str | None,
        app_id: str | None,
        user_id: str | None,
        exchange: str,
        routing_key: str,
        queue: str,
        redelivered: bool,
        delivery_tag: int,
        generation: int,
    ) -> None:
        self.body = body
        self.headers = headers
        self.content_type = content_type
        self.type = type
        self.correlation_id = correlation_id
        self.reply_to = reply_to
        self.message_id = message_id
        self.app_id = app_id
        self.user_id = user_id
        self.exchange = exchange
        self.routing_key = routing_key
        self.queue = queue
        self.redelivered = redelivered
        self.delivery_tag = delivery_tag
        self._generation = generation
        self._settling = False

    def __repr__(self) -> str:
        # The body stays out: what is printed ends up in logs.
        return f"<Delivery {self.delivery_tag} of {self.queue!r}, {len(self.body)} bytes>"
