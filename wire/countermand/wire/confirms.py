"""What became of a batch: one outcome per message, one waiter for all of them.

The library keeps a future per publish and resolves it when the broker's confirm comes. A `Confirm` stands in
that place: it answers the few methods the library calls, and counts its batch down, so that a batch of any
size wakes its publisher once.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

from aiormq.channel import Channel
from aiormq.exceptions import ChannelNotFoundEntity, DeliveryError, PublishError
from pamqp.commands import Basic

from countermand.wire.message import CONFIRMED, Message, PublishOutcome, Refused, Returned, Unknown
from countermand.wire.session import Session, describe

# What `Confirm` and the publisher rely on inside the library, beyond its documented methods.
RELIED_ON = {
    "delivery_tag": int,
    "confirmations": dict,
    "message_id_delivery_tag": dict,
    "write_queue": asyncio.Queue,
    "number": int,
}
METHODS_RELIED_ON = ("_on_return_frame", "_on_confirm_frame", "_confirm_delivery")


def can_register_confirms(channel: Channel) -> bool:
    """Whether this version of the library has the insides that grouped confirms need."""
    return (
        type(channel) is Channel
        and all(isinstance(getattr(channel, name, None), kind) for name, kind in RELIED_ON.items())
        and all(callable(getattr(channel, name, None)) for name in METHODS_RELIED_ON)
        and channel.publisher_confirms
    )


class Batch:
    """Messages published together, and their outcomes as they become known."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._outcomes: list[PublishOutcome | None] = [None] * len(messages)
        self._open = len(messages)
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def settled(self) -> bool:
        return self._settled.done()

    def settle(self, index: int, outcome: PublishOutcome) -> None:
        """Note an outcome. The first one stays: what comes after the batch was given up is too late."""
        if self._outcomes[index] is not None or self._settled.done():
            return
        self._outcomes[index] = outcome
        self._open -= 1
        if self._open == 0:
            self._settled.set_result(None)

    async def wait_settled(self) -> None:
        # The shield keeps the future usable for the confirms when the waiter is cancelled.
        await asyncio.shield(self._settled)

    def abandon(self, reason: str) -> None:
        """Everything that isn't known yet stays unknown."""
        for index, outcome in enumerate(self._outcomes):
            if outcome is None:
                self.settle(index, Unknown(reason))

    def session_ended(self, session: Session) -> None:
        """The channel is gone, and with it what it could still have told."""
        for index, message in enumerate(self.messages):
            if self._outcomes[index] is None and session.cause is not None:
                self.settle(index, outcome_of(session.cause, message))
        self.abandon(session.reason)

    def outcomes(self) -> list[PublishOutcome]:
        """One per message. A message that nobody spoke of is unknown."""
        return [outcome or Unknown("never settled") for outcome in self._outcomes]


class Confirm:
    """Stands where the library keeps the future of one publish."""

    __slots__ = ("_batch", "_ids", "_index", "_message_id")

    def __init__(self, batch: Batch, index: int, message_id: str, ids: dict[str, int]) -> None:
        self._batch = batch
        self._index = index
        self._message_id = message_id
        self._ids = ids

    def done(self) -> bool:
        # Never: a late confirm must still remove the message id below, and the batch ignores it.
        return False

    def cancelled(self) -> bool:
        return False

    def set_result(self, frame: object) -> None:
        self._settle(CONFIRMED if isinstance(frame, Basic.Ack) else Unknown("an answer nobody knows"))

    def set_exception(self, error: BaseException) -> None:
        self._settle(outcome_of(error, self._batch.messages[self._index]))

    def _settle(self, outcome: PublishOutcome) -> None:
        self._ids.pop(self._message_id, None)
        self._batch.settle(self._index, outcome)


def outcome_of(error: BaseException, message: Message) -> PublishOutcome:
    """What an error means for one message."""
    if isinstance(error, PublishError):
        returned = cast("Basic.Return", error.frame)
        return Returned(code=returned.reply_code or 0, text=returned.reply_text or "")
    if isinstance(error, DeliveryError):
        return Refused("the broker answered with basic.nack")
    if isinstance(error, ChannelNotFoundEntity) and f"no exchange '{message.exchange}' in" in str(error):
        # The only end of a channel that says something about a message: what goes there went nowhere.
        return Refused(f"no exchange {message.exchange!r}")
    return Unknown(describe(error))
