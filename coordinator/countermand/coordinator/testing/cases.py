"""The cases of an exhaustive test: which troubles each step meets, in each direction, on which way."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from countermand.coordinator.testing.attendant import WORDS, Turn
from countermand.coordinator.testing.troubles import COORDINATOR_CRASHES, START, Kind, Trouble
from countermand.schemas.definition import ApprovalNode, ChildNode, LockNode, Node, StepNode, WaitNode

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
# What the command and the reply meet that the coordinator sends to itself, for a child saga or a lock.
_OWN: Final[tuple[Kind, ...]] = ("command_duplicated", "reply_lost", "reply_duplicated", *COORDINATOR_CRASHES)
# What makes a step be given up although it, or a part of it, may have been done. Its compensation may know no result.
_FOR_GOOD: Final[tuple[Kind, ...]] = ("crash_after_effect", "fails", "reply_lost", "command_overtaken")
# What makes a step be given up in doubt, so that it is asked about.
_IN_DOUBT: Final[tuple[Kind, ...]] = ("reply_lost", "crash_after_effect")


class Setting(msgspec.Struct, frozen=True):
    """What a case begins with: how waits and approvals turn out, and which steps say no."""

    turns: tuple[tuple[str, Turn], ...] = ()
    troubles: tuple[Trouble, ...] = ()


PLAIN: Final = Setting()


class Case(msgspec.Struct, frozen=True):
    """One case: the node that it is about, the troubles that it is made of, and how waits and approvals turn out."""

    step: str
    troubles: tuple[Trouble, ...] = ()
    turns: tuple[tuple[str, Turn], ...] = ()

    @property
    def weight(self) -> int:
        """How much is out of the ordinary."""
        return len(self.troubles) + len(self.turns)

    @property
    def words(self) -> str:
        """The troubles, for people: `reply lost`, or `undo: reply lost (after quote_shipping was rejected)`."""
        own = next((WORDS[turn] for address, turn in self.turns if address == self.step), None)
        others = [f"{address}: {WORDS[turn]}" for address, turn in self.turns if address != self.step]
        mine = [each for each in self.troubles if each.step == self.step]
        rejected = [f"{each.step} was {each.words}" for each in self.troubles if each not in mine[-1:]]
        told = [_spoken(each) for each in mine[-1:]] + ([own] if own else [])
        after = "".join(f" (after {each})" for each in (*rejected, *others))
        return (", ".join(told) or "no trouble") + after


def _spoken(trouble: Trouble) -> str:
    direction = "" if trouble.direction == "do" else f"{trouble.direction}: "
    return direction + trouble.words


class Place(msgspec.Struct, frozen=True):
    """A node that is reached, its address, and the setting in which it first was."""

    address: str
    node: Node
    setting: Setting = PLAIN

    def case(self, *troubles: Trouble, turn: Turn | None = None) -> Case:
        """This node meets that, in its setting."""
        turns = self.setting.turns if turn is None else (*self.setting.turns, (self.address, turn))
        return Case(self.address, (*self.setting.troubles, *troubles), turns)


def forward_cases(reached: Iterable[Place]) -> Iterator[Case]:
    """Each node that is reached meets each trouble on its way forward."""
    places = list(reached)
    for kind in _ONCE:
        for each in places:
            if kind in _kinds(each.node):
                yield each.case(Trouble(each.address, kind))
    for each in places:
        yield from _given_up(each)
    for each in places:
        for turn in _harmless(each.node):
            yield each.case(turn=turn)
    for kind in COORDINATOR_CRASHES:
        yield Case(START, (Trouble(START, kind),))


def _kinds(node: Node) -> tuple[Kind, ...]:
    match node:
        case StepNode():
            return _ONCE
        case ChildNode() | LockNode():
            return _OWN
        case WaitNode() | ApprovalNode():
            return COORDINATOR_CRASHES
        case _:
            return ()


def _harmless(node: Node) -> tuple[Turn, ...]:
    """What may become of the event or the decision without making a difference."""
    match node:
        case WaitNode():
            return ("early", "twice")
        case ApprovalNode():
            return ("twice",)
        case _:
            return ()


def _given_up(place: Place) -> Iterator[Case]:
    address, node = place.address, place.node
    match node:
        case StepNode(kind="pivot"):
            # Given up for good it would need a person, unless every attempt vouches that it did nothing.
            yield place.case(Trouble(address, "fails", times=None, rolled_back=True))
        case StepNode(kind="compensatable"):
            for kind in _FOR_GOOD:
                yield place.case(Trouble(address, kind, times=None))
        case LockNode(kind="compensatable"):
            # As if others held it for too long.
            yield place.case(Trouble(address, "reply_lost", times=None))
        case _:
            pass
    if isinstance(node, StepNode) and node.on_unknown == "probe" and node.kind != "retriable":
        for kind in _IN_DOUBT if node.kind == "pivot" else ():
            yield place.case(Trouble(address, kind, times=None))
        for kind in _ONCE:
            yield place.case(Trouble(address, "reply_lost", times=None), Trouble(address, kind, "probe"))


def rejections(reached: Iterable[Place]) -> Iterator[tuple[Place, Case]]:
    """Each step that may say no says it. After the pivot none may."""
    for each in reached:
        if isinstance(each.node, StepNode | ChildNode | LockNode) and each.node.kind != "retriable":
            yield each, each.case(Trouble(each.address, "rejects"))


def turns_of(node: Node) -> tuple[Turn, ...]:
    """The other ways on from a node."""
    match node:
        case WaitNode():
            return ("missed",)
        case ApprovalNode():
            return ("denied", "undecided")
        case _:
            return ()


def backward_cases(undone: Iterable[Place], setting: Setting) -> Iterator[Case]:
    """Each compensation that a setting leads to meets each trouble."""
    for each in undone:
        for kind in _ONCE if isinstance(each.node, StepNode) else _OWN:
            yield Case(each.address, (*setting.troubles, Trouble(each.address, kind, "undo")), setting.turns)
