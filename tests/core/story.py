"""Sagas told step by step. Everything in a story stands before the judge too."""

from typing import Any

import msgspec

from core.world import World
from countermand.coordinator.core.journal import JournalEntry
from countermand.schemas.definition import Definition, Node, ParallelNode, RetryPolicy, SequenceNode, StepNode
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Answer, CommandMessage, Failed, Refused, Rejected, ReplyOutcome, Succeeded

ONCE = RetryPolicy(attempts_max=1)
TWICE = RetryPolicy(attempts_max=2, backoff_ms=1_000, jitter_percent=0)


def step(name: str, **more: Any) -> StepNode:
    """A step with short patience: two attempts forward, two back, each with a second to answer."""
    settings = {"timeout_ms": 1_000, "retry": TWICE, "undo_timeout_ms": 1_000, "undo_retry": TWICE, **more}
    return StepNode(name, "shop", name, {"order": {"$": "input.order"}}, **settings)


def pivot(name: str, **more: Any) -> StepNode:
    return step(name, kind="pivot", **more)


def forward(name: str, **more: Any) -> StepNode:
    return step(name, kind="retriable", **more)


def both(*branches: Node) -> ParallelNode:
    return ParallelNode(branches)


def saga(*nodes: Node, deadline_ms: int | None = None) -> Definition:
    return Definition(1, "story", 1, SequenceNode(nodes), deadline_ms=deadline_ms)


class Story(World):
    """A world in which the steps' names are enough. It has begun, unless it is said to begin in another way."""

    def __init__(self, *nodes: Node, deadline_ms: int | None = None, begun: bool = True) -> None:
        super().__init__(saga(*nodes, deadline_ms=deadline_ms))
        if begun:
            self.start(reply_to="clients.1")

    # --- what is told

    def succeeds(self, *names: str, result: object = None) -> None:
        for name in names:
            self.answers(name, Succeeded(msgspec.Raw(msgspec.json.encode(result))))

    def rejects(self, name: str, code: str = "no") -> None:
        self.answers(name, Rejected(code))

    def fails(self, name: str, **more: Any) -> None:
        self.answers(name, Failed("broken", **more))

    def answers(self, name: str, outcome: ReplyOutcome) -> None:
        """The participant answers the attempt that is out."""
        self.reply(self.command(name), outcome)

    def late(self, name: str, outcome: ReplyOutcome, *, attempt: int = 1, direction: Direction = "do") -> None:
        """The participant answers an attempt that may be long over."""
        self.reply(self.sent[name, direction, attempt], outcome)

    def waits(self, ms: int) -> None:
        """Time goes by, and the saga is woken up at every moment that it asked for."""
        end_ms = self.now_ms + ms
        while (due := self.decisions[-1].wake_at_ms) is not None and due <= end_ms:
            self.wake()
        self.now_ms = end_ms

    # --- what is seen

    def command(self, name: str) -> CommandMessage:
        (found,) = (each for each in self.pending if each.step == name)
        return found

    @property
    def asked(self) -> set[str]:
        """The steps whose command is out: `name` for an action, `~name` for a compensation."""
        return {f"~{each.step}" if each.direction == "undo" else each.step for each in self.pending}

    @property
    def phase(self) -> str:
        return self.state.phase

    @property
    def cause(self) -> str | None:
        """What the saga is stuck on: `cause:step`."""
        stuck = self.state.stuck
        return None if stuck is None else f"{stuck.cause}:{stuck.step}"

    @property
    def answered(self) -> list[Answer]:
        """What the last event told anybody."""
        return [each.answer for each in self.decisions[-1].answers]

    @property
    def last(self) -> list[JournalEntry]:
        """The entries of the last event."""
        return [record.entry for record in self.decisions[-1].records]

    def said(self, kind: type[JournalEntry]) -> list[JournalEntry]:
        """Every entry of a kind."""
        return [record.entry for record in self.records if isinstance(record.entry, kind)]

    @property
    def refused(self) -> Refused:
        """The last request was refused, and changed nothing."""
        (answer,) = self.answered
        assert isinstance(answer, Refused), answer
        assert self.last == []
        return answer
