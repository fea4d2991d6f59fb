"""A participant whose handlers a test steers."""

from collections.abc import Awaitable, Callable
from typing import Any

from countermand.participants import Context, Participant
from countermand.schemas.messages import CommandMessage, ReplyOutcome
from participants.orders import Reserve, Reserved


class Stock:
    """A participant, what its handlers were called with, and what they do next."""

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        self.reserved: list[tuple[Reserve, Context]] = []
        self.released: list[tuple[Reserve, Reserved | None, Context]] = []
        self.error: BaseException | None = None
        # Anything, because Python lets a handler return what its contract doesn't name.
        self.result: Any = Reserved("r-1", pieces=2)
        self.effect: Callable[[Context], Awaitable[None]] | None = None
        participant.handles(Reserve)(self.reserve)
        participant.compensates(Reserve)(self.release)

    async def reserve(self, command: Reserve, context: Context) -> Reserved:
        self.reserved.append((command, context))
        if self.effect is not None:
            await self.effect(context)
        if self.error is not None:
            raise self.error
        result: Reserved = self.result
        return result

    async def release(self, command: Reserve, reserved: Reserved | None, context: Context) -> None:
        self.released.append((command, reserved, context))
        if self.error is not None:
            raise self.error

    async def answer(self, asked: CommandMessage) -> ReplyOutcome:
        return (await self.participant.handle(asked)).outcome
