"""Sending until it is certain: a batch is published, and what is not confirmed is published again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import structlog

from countermand.coordinator.ports import MessagePublisher
from countermand.coordinator.telemetry import Counters
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Message, Refused, Returned

log = structlog.get_logger(__name__)

PAUSE_MIN_S: Final = 0.05
PAUSE_MAX_S: Final = 2.0


class Sender:
    """Publishes batches to the end. `declare` makes sure that a participant's queue exists."""

    def __init__(
        self,
        publisher: MessagePublisher,
        topology: Topology,
        counters: Counters,
        declare: Callable[[str], Awaitable[None]],
    ) -> None:
        self._publisher = publisher
        self._topology = topology
        self._counters = counters
        self._declare = declare

    async def send(self, messages: Sequence[Message]) -> list[int]:
        """Returns once each message is confirmed, or can't be: the places of those that no queue has.

        What is unknown is sent again: every consumer can tell a repeated message by its key. A command without a queue
        is tried once more after its queue has been declared anew. What the protocol can't carry is given up at once:
        tried for ever, it would keep everything behind it waiting.
        """
        nowhere: list[int] = []
        pending = list(range(len(messages)))
        declared: set[str] = set()
        pause_s = PAUSE_MIN_S
        while pending:
            outcomes = await self._publisher.publish([messages[index] for index in pending])
            again: list[int] = []
            returned: list[int] = []
            for index, outcome in zip(pending, outcomes, strict=True):
                match outcome:
                    case Confirmed():
                        self._counters.count("messages_confirmed")
                    case Returned():
                        returned.append(index)
                    case Refused(for_good=True, reason=reason):
                        self._counters.count("messages_unsendable")
                        log.error("message_unsendable", type=messages[index].type, reason=reason)
                        nowhere.append(index)
                    case _:
                        again.append(index)
            if again:
                self._counters.count("messages_unconfirmed", len(again))
                log.warning("publish_unconfirmed", messages=len(again))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
            once_more, gone = await self._redeclare(messages, returned, declared)
            nowhere += gone
            pending = again + once_more
        return nowhere

    async def declare_participants(self, participants: Iterable[str]) -> None:
        """Makes sure that commands for these participants can wait for them."""
        for participant in participants:
            await self._declare(participant)

    async def _redeclare(
        self, messages: Sequence[Message], returned: list[int], declared: set[str]
    ) -> tuple[list[int], list[int]]:
        once_more: list[int] = []
        gone: list[int] = []
        fresh = {messages[index].routing_key for index in returned if self._is_command(messages[index])} - declared
        for participant in fresh:
            log.error("participant_queue_missing", participant=participant)
            await self._declare(participant)
        declared |= fresh
        for index in returned:
            if self._is_command(messages[index]) and messages[index].routing_key in fresh:
                once_more.append(index)
            else:
                self._counters.count("messages_returned")
                gone.append(index)
        return once_more, gone

    def _is_command(self, message: Message) -> bool:
        return message.exchange == self._topology.commands_exchange
