"""Asks a participant as a coordinator would, and lets its process end at a bad moment."""

import itertools
from typing import Any, Literal

import msgspec

from countermand.participants.barrier import now_ms
from countermand.participants.participant import Participant
from countermand.participants.rehearsal import Moment
from countermand.schemas.codec import encode
from countermand.schemas.contract import Command, command_info
from countermand.schemas.identifiers import Direction, new_secret, step_key
from countermand.schemas.messages import CommandMessage, ReplyOutcome, UndoBody

# A check runs within a moment; a handler that takes longer than this is stuck.
DEADLINE_MS = 60_000


class ProcessEnded(BaseException):
    """The participant's process ends here. No `Exception`: nobody may catch it and go on."""


class Asker:
    """One step of one saga, from the coordinator's side: the same key for everything that it asks."""

    def __init__(self, participant: Participant, command: Command[Any], saga_id: str) -> None:
        self._participant = participant
        self._command = command
        self._saga_id = saga_id
        self._attempts = itertools.count(1)
        self._ends_at: Moment | None = None
        self.ran = 0
        participant.rehearse(clock=now_ms, interrupt=self._interrupt)

    async def do(self, *, ends: Literal["before", "after"] | None = None) -> ReplyOutcome | None:
        """Asks for the action: its outcome; null if the process ended at this moment."""
        return await self._ask("do", encode(self._command), ends)

    async def undo(
        self, result: msgspec.Raw | None = None, *, ends: Literal["before", "after"] | None = None
    ) -> ReplyOutcome | None:
        """Asks for the compensation; a null result says that the coordinator knows none."""
        known = msgspec.Raw(b"null") if result is None else result
        return await self._ask("undo", encode(UndoBody(msgspec.Raw(encode(self._command)), known)), ends)

    async def probe(self, *, ends: Literal["before", "after"] | None = None) -> ReplyOutcome | None:
        """Asks what became of the action."""
        return await self._ask("probe", encode(self._command), ends)

    async def _ask(self, direction: Direction, body: bytes, ends: Moment | None) -> ReplyOutcome | None:
        info = command_info(type(self._command))
        self._ends_at = ends
        attempt = next(self._attempts)
        message = CommandMessage(
            saga_id=self._saga_id,
            definition="check@1",
            step=info.name,
            participant=self._participant.name,
            action=info.name,
            direction=direction,
            attempt=attempt,
            key=step_key(self._saga_id, info.name),
            command_id=new_secret(),
            saga_version=attempt,
            deadline_ms=now_ms() + DEADLINE_MS,
            body=body,
        )
        try:
            return (await self._participant.handle(message)).outcome
        except ProcessEnded:
            return None
        finally:
            self._ends_at = None

    def _interrupt(self, command: CommandMessage, moment: Moment) -> None:
        if moment == "before":
            self.ran += 1
        if moment == self._ends_at:
            raise ProcessEnded
