"""What a handler sees of the command that it runs, and what a participant has for a contract."""

from collections.abc import Callable
from typing import Any

import msgspec

from countermand.participants.logging import bound_logger
from countermand.schemas.identifiers import Direction, step_place
from countermand.schemas.messages import CommandMessage


class Context:
    """What a handler may know about the command that it runs.

    `key` is the idempotency key: the same for every attempt of the step, for its compensation and for its probe.
    `step` is the step's name in the saga, and inside a for-each the item's place too: `ask_quote[17]`. `transaction`
    is the inbox's transaction, or None where it has none. `deadline_ms` is the moment (Unix time) at which the
    coordinator stops waiting for this attempt. `action_was_done` is for compensations: whether the action is known to
    have been done; if not, an attempt began and nobody knows how far it came.
    """

    __slots__ = ("_command", "_log", "action_was_done", "transaction")

    def __init__(self, command: CommandMessage, *, transaction: Any = None, action_was_done: bool = False) -> None:
        self._command = command
        self._log: Any = None
        self.transaction = transaction
        self.action_was_done = action_was_done

    @property
    def saga_id(self) -> str:
        return self._command.saga_id

    @property
    def step(self) -> str:
        return self._command.step

    @property
    def item_index(self) -> int | None:
        """Which item of its for-each this is, counted from 0; of the innermost one, if there are several."""
        place = step_place(self._command.step)
        return int(place[place.rindex("[") + 1 : -1]) if place else None

    @property
    def key(self) -> str:
        return self._command.key

    @property
    def direction(self) -> Direction:
        return self._command.direction

    @property
    def attempt(self) -> int:
        return self._command.attempt

    @property
    def deadline_ms(self) -> int:
        return self._command.deadline_ms

    @property
    def definition(self) -> str:
        return self._command.definition

    @property
    def log(self) -> Any:
        """A structlog logger that names the saga, the step, the direction and the attempt."""
        if self._log is None:
            self._log = bound_logger(self._command)
        return self._log


class Handler(msgspec.Struct, frozen=True):
    """A function that was registered, and whether it is awaited or run in a thread."""

    function: Callable[..., Any]
    is_async: bool


class Contract(msgspec.Struct):
    """What a participant has for one command contract."""

    type: Any
    result_type: Any
    compensatable: bool
    action: Handler | None = None
    compensation: Handler | None = None
    probe: Handler | None = None
