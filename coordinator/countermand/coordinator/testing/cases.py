"""The cases of an exhaustive test: which troubles each step meets, in each direction."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from countermand.coordinator.testing.troubles import COORDINATOR_CRASHES, START, Kind, Trouble
from countermand.schemas.definition import StepNode

# What every command and its reply can meet, in either direction. Each ends in another attempt or in a copy.
# The first ones find the most.
_ONCE: Final[tuple[Kind, ...]] = (
    "crash_after_effect",
    "fails",
    "command_late",
    "command_duplicated",
    "command_overtaken",
    "reply_late",
    "reply_lost",
    "reply_duplicated",
    "crash_before_effect",
    "crash_after_commit",
    *COORDINATOR_CRASHES,
)
# What makes a step be given up although it, or a part of it, may have been done. Its compensation may know no result.
_FOR_GOOD: Final[tuple[Kind, ...]] = ("crash_after_effect", "fails", "reply_lost", "command_overtaken")


class Case(msgspec.Struct, frozen=True):
    """One case: the step that it is about, and the troubles that it is made of."""

    step: str
    troubles: tuple[Trouble, ...] = ()

    @property
    def words(self) -> str:
        """The troubles, for people: `reply lost`, or `undo: reply lost (after quote_shipping was rejected)`."""
        if not self.troubles:
            return "no trouble"
        *triggers, last = self.troubles
        undo = "undo: " if last.direction == "undo" else ""
        after = "".join(f" (after {each.step} was rejected)" for each in triggers)
        return f"{undo}{last.words}{after}"


def forward_cases(asked: Iterable[StepNode]) -> Iterator[Case]:
    """Each step that is asked for meets each trouble on its way forward."""
    steps = list(asked)
    for kind in _ONCE:
        for step in steps:
            yield Case(step.name, (Trouble(step.name, kind),))
    for step in steps:
        if step.kind == "pivot":
            # Given up for good it would need a person, unless every attempt vouches that it did nothing.
            yield Case(step.name, (Trouble(step.name, "fails", times=None, rolled_back=True),))
        elif step.kind == "compensatable":
            for kind in _FOR_GOOD:
                yield Case(step.name, (Trouble(step.name, kind, times=None),))
    for kind in COORDINATOR_CRASHES:
        yield Case(START, (Trouble(START, kind),))


def rejections(asked: Iterable[StepNode]) -> Iterator[Case]:
    """Each step that may say no says it. After the pivot none may."""
    for step in asked:
        if step.kind != "retriable":
            yield Case(step.name, (Trouble(step.name, "rejects"),))


def backward_cases(undone: Iterable[str], trigger: Case | None) -> Iterator[Case]:
    """Each compensation that this rejection leads to meets each trouble; null: the saga turns back by itself."""
    for step in undone:
        for kind in _ONCE:
            yield Case(step, (*(() if trigger is None else trigger.troubles), Trouble(step, kind, "undo")))
