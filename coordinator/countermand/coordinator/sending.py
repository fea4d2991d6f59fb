"""Sending until it is certain: a batch is published, and what is not confirmed is published again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import msgspec
import structlog

from countermand.coordinator.ports import MessagePublisher
from countermand.coordinator.telemetry import Counters
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Message, Refused, Returned

log = structlog.get_logger(__name__)

PAUSE_MIN_S: Final = 0.05
PAUSE_MAX_S: Final = 2.0


# A full queue, or one without a leader, may take a message a moment later. Whoever waits behind it waits no longer.
REFUSALS_MAX: Final = 3


class Unsent(msgspec.Struct, frozen=True):
    """A message that was given up, by its place. `certain`: no copy of it can be on its way."""

    index: int
    certain: bool


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

    async def send(self, messages: Sequence[Message]) -> list[Unsent]:
        """Returns once each message is confirmed or given up; those that were given up.

        What is unknown is sent again: every consumer can tell a repeated message by its key. A command without a queue
        is tried once more after its queue has been declared anew. What a queue refuses is tried a few times, and what
        the protocol can't carry not at all: tried for ever, either would keep everything behind it waiting.
        """
        unsent: list[Unsent] = []
        pending = list(range(len(messages)))
        refusals: Counter[int] = Counter()
        doubtful: set[int] = set()
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
                    case Refused(for_good=for_good, reason=reason):
                        refusals[index] += 1
                        if for_good or refusals[index] >= REFUSALS_MAX:
                            self._give_up(messages[index], reason)
                            unsent.append(Unsent(index, certain=index not in doubtful))
                        else:
                            again.append(index)
                    case _:
                        doubtful.add(index)
                        again.append(index)
            if again:
                self._counters.count("messages_unconfirmed", len(again))
                log.warning("publish_unconfirmed", messages=len(again))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
            once_more, gone = await self._redeclare(messages, returned, declared)
            unsent += [Unsent(index, certain=index not in doubtful) for index in gone]
            pending = again + once_more
        return unsent

    def _give_up(self, message: Message, reason: str) -> None:
        self._counters.count("messages_refused")
        log.error("message_refused", type=message.type, exchange=message.exchange, reason=reason)

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
