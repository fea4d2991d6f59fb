"""What can go wrong with one step, as data: the world looks here at every message that it carries.

A trouble belongs to one direction of one step and happens a number of times, or always. For the coordinator's crashes
the step may be a wait or an approval: then it is the event, or the decision, that the coordinator takes.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from countermand.coordinator.testing.addresses import is_meant
from countermand.schemas.identifiers import Direction

Kind = Literal[
    # The participant isn't asked; the answer is made up.
    "rejects",
    "fails",
    # What becomes of the command on its way.
    "command_duplicated",
    "command_late",
    "command_overtaken",
    # What becomes of the participant's process.
    "crash_before_effect",
    "crash_after_effect",
    "crash_after_commit",
    # What becomes of the reply on its way.
    "reply_lost",
    "reply_late",
    "reply_delayed",
    "reply_duplicated",
    # What becomes of the coordinator that takes the reply.
    "coordinator_crash_before_commit",
    "coordinator_crash_after_commit",
    "coordinator_crash_after_publish",
]

# What the coordinator takes when a saga begins, in the place of a step.
START: Final = "start"

ANSWERS: Final[tuple[Kind, ...]] = ("rejects", "fails")
PARTICIPANT_CRASHES: Final[tuple[Kind, ...]] = ("crash_before_effect", "crash_after_effect", "crash_after_commit")
COORDINATOR_CRASHES: Final[tuple[Kind, ...]] = (
    "coordinator_crash_before_commit",
    "coordinator_crash_after_commit",
    "coordinator_crash_after_publish",
)
COMMAND_WAYS: Final[tuple[Kind, ...]] = ("command_duplicated", "command_late", "command_overtaken")
REPLY_WAYS: Final[tuple[Kind, ...]] = ("reply_lost", "reply_late", "reply_delayed", "reply_duplicated")

_WORDS: Final[dict[Kind, str]] = {
    "rejects": "rejected",
    "fails": "failed",
    "command_duplicated": "command delivered twice",
    "command_late": "command delivered too late",
    "command_overtaken": "command overtaken by what came after it",
    "crash_before_effect": "participant crashed before its effect",
    "crash_after_effect": "participant crashed after its effect",
    "crash_after_commit": "participant crashed before its reply",
    "reply_lost": "reply lost",
    "reply_late": "timed out: reply too late",
    "reply_delayed": "reply delayed",
    "reply_duplicated": "reply delivered twice",
    "coordinator_crash_before_commit": "coordinator crashed before its commit",
    "coordinator_crash_after_commit": "coordinator crashed after its commit",
    "coordinator_crash_after_publish": "coordinator crashed after publishing",
}


class Trouble(msgspec.Struct, frozen=True):
    """One trouble. `times` null means always; `delay_ms` is for a reply that is delayed; `code` for an answer.

    `step` is an address, seen from the saga `saga_id`; null means any saga.
    """

    step: str
    kind: Kind
    direction: Direction = "do"
    times: int | None = 1
    code: str = ""
    reason: str = ""
    delay_ms: int = 0
    rolled_back: bool = False
    saga_id: str | None = None

    @property
    def once(self) -> str:
        """What happens each time, for people."""
        return _WORDS[self.kind]

    @property
    def words(self) -> str:
        """What happens, for people."""
        if self.times == 1:
            return _WORDS[self.kind] + (", then well" if self.kind == "fails" else "")
        return f"{_WORDS[self.kind]} {'every time' if self.times is None else f'{self.times} times'}"


class Troubles:
    """The troubles that are still to come."""

    def __init__(self, troubles: Iterable[Trouble] = ()) -> None:
        self._left: list[tuple[Trouble, int | None]] = [(each, each.times) for each in troubles]
        self.unused: list[Trouble] = [each for each, _ in self._left]

    def add(self, trouble: Trouble) -> None:
        self._left.append((trouble, trouble.times))
        self.unused.append(trouble)

    def take(self, saga_id: str, step: str, direction: Direction, kinds: Iterable[Kind]) -> Trouble | None:
        """The first trouble of these kinds that hits this step now, which it uses up."""
        for place, (trouble, left) in enumerate(self._left):
            if left == 0 or trouble.direction != direction or trouble.kind not in kinds:
                continue
            if trouble.saga_id not in (None, saga_id) or not is_meant(trouble.step, step):
                continue
            self._left[place] = (trouble, None if left is None else left - 1)
            if trouble in self.unused:
                self.unused.remove(trouble)
            return trouble
        return None
