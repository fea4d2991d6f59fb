"""One saga for people: where it stands, what happened to each step, why it is stuck, and what can be done about it.

A `Story` is made from a plan, a saga, the newest part of its journal and the moment, and from nothing else. The screen
and the JSON are both drawn from it, so they can't disagree.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from countermand.coordinator.core import Plan, wake_at
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.possible import Possible, possible_operations
from countermand.coordinator.core.state import Saga, SagaState
from countermand.coordinator.operate.node_stories import (
    ApprovalStory,
    NodeStory,
    decide_command,
    node_stories,
    open_approvals,
)
from countermand.coordinator.operate.sentences import because
from countermand.coordinator.operate.step_stories import StepStory, step_stories
from countermand.coordinator.operate.tree import Line, tree
from countermand.coordinator.operate.trouble import Trouble, trouble_of
from countermand.coordinator.operate.view import View
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Phase

HISTORY_PAGE: Final = 1_000  # Enough for every ordinary saga; of a longer journal the newest part is told.

_PHASES: Final[dict[Phase, str]] = {
    "running": "running",
    "compensating": "going back (compensating)",
    "completed": "completed",
    "compensated": "compensated: everything was undone",
    "compensated_with_exceptions": "compensated, with exceptions that an operator made",
    "abandoned": "abandoned where it stood",
}
# What the operator has to fill in, by operation.
_ARGUMENTS: Final = {
    "settle_compensation": " --evidence '…'",
    "extend": " --by 1h",
}
_VERBS: Final = {"approved": "approve", "denied": "deny"}

Hold = Literal["stuck", "paused"]


class Choice(msgspec.Struct, frozen=True):
    """An operation that would be accepted now, and the command line that asks for it."""

    operation: str
    step: str | None
    direction: Direction | None
    effect: str
    command: str


class Story(msgspec.Struct, frozen=True):
    """Everything about one saga but its payloads, told at `now_ms`. Moments are Unix time in milliseconds.

    `turned_back` says why, also when the saga is only about to. `more_history` says that `history` lacks older entries.
    `steps` and `nodes` are everything with a name, by name and place; `lines` are the same for a screen. `approvals`
    are those that wait for a decision, the one with the least time left first. `parent` is the saga that started this
    one, and `parent_step` where.
    """

    saga_id: str
    definition: str
    definition_hash: str
    version: int
    phase: Phase
    phase_words: str
    hold: Hold | None
    hold_since_ms: int | None
    paused_by: str | None
    now_ms: int
    started_ms: int
    updated_ms: int
    ended_ms: int | None
    deadline_ms: int | None
    wake_at_ms: int | None
    tags: tuple[str, ...]
    turned_back: str | None
    trouble: Trouble | None
    steps: tuple[StepStory, ...]
    nodes: tuple[NodeStory, ...]
    lines: tuple[Line, ...]
    approvals: tuple[ApprovalStory, ...]
    parent: str | None
    parent_step: str | None
    possible: tuple[Choice, ...]
    history: tuple[Record, ...]
    more_history: bool

    @property
    def ended(self) -> bool:
        return self.ended_ms is not None

    @property
    def age_ms(self) -> int:
        """How long it took, or has been taking."""
        return (self.ended_ms or self.now_ms) - self.started_ms

    def decide_command(self, approval: ApprovalStory, verb: str) -> str:
        """The command line that decides an approval: `verb` is approve or deny."""
        return decide_command(self.saga_id, approval, verb)


def tell(
    plan: Plan,
    saga: Saga,
    records: Sequence[Record],
    now_ms: int,
    *,
    more_history: bool = False,
    children: Mapping[str, SagaState] | None = None,
    items: bool = False,
) -> Story:
    """The story of a saga; `records` is its journal, or the newest part of it.

    `children` are states of child sagas by id, as far as they are known. With `items`, the lines tell of each item of a
    loop by itself.
    """
    view = View(plan, saga, records, now_ms, children)
    state = view.state
    steps, nodes = step_stories(view), node_stories(view)
    hold, since_ms = _hold(state)
    approvals = open_approvals(nodes)
    return Story(
        saga_id=state.saga_id,
        definition=state.definition,
        definition_hash=state.definition_hash,
        version=state.version,
        phase=state.phase,
        phase_words=_PHASES[state.phase],
        hold=hold,
        hold_since_ms=since_ms,
        paused_by=None if state.paused is None else state.paused.actor,
        now_ms=now_ms,
        started_ms=state.started_ms,
        updated_ms=state.updated_ms,
        ended_ms=state.ended_ms,
        deadline_ms=state.deadline_ms,
        wake_at_ms=wake_at(state),
        tags=state.tags,
        turned_back=_turned_back(state),
        trouble=trouble_of(plan, state),
        steps=tuple(steps.values()),
        nodes=tuple(nodes.values()),
        lines=tuple(tree(view, steps, nodes, items=items)),
        approvals=tuple(approvals),
        parent=None if state.parent is None else state.parent.saga_id,
        parent_step=None if state.parent is None else state.parent.step,
        possible=tuple(_choice(each, state.saga_id, approvals) for each in possible_operations(plan, state, now_ms)),
        history=tuple(records),
        more_history=more_history,
    )


def _hold(state: SagaState) -> tuple[Hold | None, int | None]:
    # Paused comes first: it says what has to be done before anything else.
    if state.paused is not None:
        return "paused", state.paused.since_ms
    return (None, None) if state.stuck is None else ("stuck", state.stuck.since_ms)


def _turned_back(state: SagaState) -> str | None:
    if state.failure is not None:
        return because(state.failure)
    return None if state.turn is None else f"{because(state.turn)} (as soon as the pivot has answered)"


def _choice(possible: Possible, saga_id: str, approvals: Sequence[ApprovalStory]) -> Choice:
    command = _command(possible, saga_id)
    if possible.decision is not None:
        approval = next(each for each in approvals if each.step == possible.step)
        command = decide_command(saga_id, approval, _VERBS[possible.decision])
    return Choice(possible.operation, possible.step, possible.direction, possible.effect, command)


def _command(possible: Possible, saga_id: str) -> str:
    # An item's place is in brackets, which mean something to a shell.
    step = "" if possible.step is None else f" --step {shlex.quote(possible.step)}"
    arguments = _ARGUMENTS.get(possible.operation, "")
    if possible.operation == "abandon":
        arguments = f" --confirm {shlex.quote(saga_id)}"
    if possible.operation == "skip" and possible.direction == "do":
        arguments = " --result '…'"
    name = possible.operation.replace("_", "-")
    return f"countermand {name} {shlex.quote(saga_id)}{step}{arguments} --reason '…'"
