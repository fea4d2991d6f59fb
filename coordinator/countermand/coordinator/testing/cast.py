"""Who answers commands in a world, what it did to the effects, and the ends of its process that a test wants."""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from countermand.coordinator.testing.answering import Answering, ExampleParticipant, example_of
from countermand.coordinator.testing.effects import Effects, Look, difference, look
from countermand.coordinator.testing.troubles import Kind, Trouble
from countermand.schemas.definition import COORDINATOR, Definition
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import CommandMessage, ReplyMessage, ReplyOutcome

Moment = Literal["before", "after"]

_ENDS: Final[Mapping[Moment, Kind]] = {"before": "crash_before_effect", "after": "crash_after_effect"}


class ParticipantCrashed(BaseException):
    """A participant's process ends here. No `Exception`: nobody may catch it and go on."""


class Touch(msgspec.Struct, frozen=True):
    """What one command did to the effects: `ran` says that its handler was run, `answer` how it was answered, if so.

    `step` is the step's address.
    """

    step: str
    direction: Direction
    ran: bool
    changed: Effects
    answer: ReplyOutcome | None = None


class Cast:
    """The participants of a world. Those that can be rehearsed get its clock, and crash at the very moment.

    Raises:
        DefinitionError: one of them says that it isn't complete.
    """

    def __init__(self, participants: Sequence[Answering], effects: Look | None, now_ms: Callable[[], int]) -> None:
        self.touches: list[Touch] = []
        # What steps without a participant answer, where a story says it: by definition (name@version) and step.
        self.results: dict[tuple[str, str], bytes] = {}
        self._examples: dict[tuple[str, str], bytes] = {}
        self._all_results = ChainMap(self.results, self._examples)
        self.given = tuple(participants)
        self._participants = {each.name: each for each in participants}
        # A child saga whose definition nobody gave answers by itself, too.
        self._participants[COORDINATOR] = ExampleParticipant(COORDINATOR, self._all_results)
        self._effects = effects
        self._seen: Effects | None = None
        self._crash: Trouble | None = None
        self._ran = False
        for each in participants:
            _check(each)
            if (rehearse := getattr(each, "rehearse", None)) is not None:
                rehearse(clock=now_ms, interrupt=self._interrupt)

    def fill(self, definition: Definition, examples: Mapping[str, bytes]) -> None:
        """Lets the participants of a definition that nobody gave answer by themselves."""
        self._examples.update({(definition.label, step): example for step, example in examples.items()})
        for step in definition.steps():
            if step.participant not in self._participants:
                self._participants[step.participant] = ExampleParticipant(step.participant, self._all_results)

    def example(self, definition: str, ref: str) -> bytes:
        """What a node gives where nobody real does; JSON."""
        return example_of(self._all_results, definition, ref)

    async def handle(self, command: CommandMessage, address: str, crash: Trouble | None) -> ReplyMessage | None:
        """The reply to the step's command; null if the participant's process ended before it could send one."""
        before = await look(self._effects) if self._seen is None else self._seen
        self._ran, self._crash = False, crash
        try:
            reply = await self._attempt(self._participants[command.participant], command, crash)
        except ParticipantCrashed:
            reply = None
        finally:
            self._crash = None
        # Nobody but participants has effects, so what is seen now is what the next one finds.
        self._seen = await look(self._effects)
        changed = difference(before, self._seen)
        answer = None if reply is None else reply.outcome
        self.touches.append(Touch(address, command.direction, self._ran, changed, answer))
        return reply

    async def _attempt(self, participant: Answering, command: CommandMessage, crash: Trouble | None) -> ReplyMessage:
        # Whoever can't be rehearsed crashes around its handler: before everything, or when all is done.
        around = not hasattr(participant, "rehearse")
        if crash is not None and around and crash.kind == "crash_before_effect":
            raise ParticipantCrashed
        reply = await participant.handle(command)
        if crash is not None and (around or crash.kind == "crash_after_commit"):
            raise ParticipantCrashed
        return reply

    def _interrupt(self, command: CommandMessage, moment: Moment) -> None:
        self._ran = self._ran or moment == "before"
        if self._crash is not None and self._crash.kind == _ENDS[moment]:
            raise ParticipantCrashed


def _check(participant: Answering) -> None:
    """A participant that can say whether it is complete is asked."""
    check: Any = getattr(participant, "check", None)
    if check is not None:
        check()
