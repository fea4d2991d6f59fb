"""The indexes that a saga stands in, and what a query asks of them.

Two kinds. The score of a *listing* index is the moment at which the saga was started: it never changes, so a saga has
the same place, (moment, id), in every one of them, and a listing may walk any and check the others. A *counted* index
stands in its partition's catalogue while it has members: a catalogue says which exist, and counting is asking for
their size. No saga that has ended stands in a counted one, so retirement need not know of the catalogue.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, get_args
from urllib.parse import quote, unquote

import msgspec

from countermand.coordinator.core.state import Approval, SagaState, Stuck, StuckCause
from countermand.coordinator.ports import SagaQuery
from countermand.schemas.identifiers import step_name
from countermand.schemas.messages import Phase

PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
PHASES_IN_MOTION: Final[tuple[Phase, ...]] = ("running", "compensating")
CAUSES: Final[tuple[StuckCause, ...]] = get_args(StuckCause)

PAUSED: Final = "hold:paused"
STUCK_ANY: Final = "stuck:any"
APPROVAL_ANY: Final = "approval:any"
GROUP: Final = "group:"
MOTION: Final = "motion:"
UNDO: Final = "undo:"

# A code is chosen by a participant; the protocol cuts it at this length, and so does everything that is named by it.
CODE_MAX: Final = 64

# What the step's own error says nothing about: the cause is not that an attempt of it failed.
_CAUSES_OF_OUR_OWN: Final = ("unresolvable", "state_lost")
_CODE_FIRST = re.compile(r"([^\s:]{1,64})(?::|\Z)")


class Entry(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A saga's place in one index. As JSON it is what the scripts read: [name, score] or [name, score, true]."""

    name: str
    score: int
    counted: bool = False


class GroupName(msgspec.Struct, frozen=True):
    """What the stuck sagas of one group have in common; `step` and `code` are empty where there is none."""

    definition: str
    cause: str
    step: str
    code: str

    @property
    def index(self) -> str:
        return GROUP + "|".join((self.definition, self.cause, self.step, quote(self.code, safe="")))


def group_named(index: str) -> GroupName:
    """The group of an index."""
    definition, cause, step, code = index.removeprefix(GROUP).split("|")
    return GroupName(definition, cause, step, unquote(code))


def stuck_code(state: SagaState, stuck: Stuck) -> str:
    """The error code on which a saga is stuck: its step's, or the one with which the detail begins; may be empty."""
    step = None if stuck.step is None else state.steps.get(stuck.step)
    if step is not None and stuck.cause not in _CAUSES_OF_OUR_OWN:
        # Also in a saga that goes forward: a scope of it may be on its way back.
        track = step.do if step.undo is None else step.undo
        if track.error:
            return track.error[:CODE_MAX]
    first = _CODE_FIRST.match(stuck.detail)
    return "" if first is None or stuck.cause in _CAUSES_OF_OUR_OWN else first[1]


def index_entries(state: SagaState) -> list[Entry]:
    """Every index that a saga stands in, and its place there."""
    started_ms = state.started_ms
    names = [f"phase:{state.phase}", f"definition:{state.definition}", *(f"tag:{tag}" for tag in state.tags)]
    entries = [Entry(name, started_ms) for name in names]
    if state.ended:
        return entries
    entries.append(Entry(f"{MOTION}{state.definition}", started_ms, counted=True))
    entries += [Entry(f"{UNDO}{route}", started_ms, counted=True) for route in state.undo_routes]
    if state.paused is not None:
        entries.append(Entry(PAUSED, started_ms))
    if state.stuck is not None:
        entries += _stuck_entries(state, state.stuck)
    return [*entries, *(Entry(name, started_ms) for name in _approval_names(state))]


def approval_for_role(role: str) -> str:
    """The index of the sagas in which an approval is open that somebody with this role may decide."""
    return f"approval-role:{quote(role, safe='')}"


def approval_for_person(person: str) -> str:
    """The index of the sagas in which an approval is open that this person may decide, whatever their role."""
    return f"approval-to:{quote(person, safe='')}"


def _approval_names(state: SagaState) -> list[str]:
    asked = [mark for mark in state.marks.values() if isinstance(mark, Approval) and mark.status == "open"]
    if not asked:
        return []
    roles = {role for mark in asked for role in mark.roles}
    people = {person for mark in asked for person in mark.assignees}
    return [APPROVAL_ANY, *map(approval_for_role, sorted(roles)), *map(approval_for_person, sorted(people))]


def _stuck_entries(state: SagaState, stuck: Stuck) -> list[Entry]:
    # By the definition's name for it: of a loop, not each item is a group of its own.
    group = GroupName(state.definition, stuck.cause, step_name(stuck.step or ""), stuck_code(state, stuck))
    names = (STUCK_ANY, f"stuck:{stuck.cause}", f"stuck-step:{group.step}", f"stuck-error:{quote(group.code, safe='')}")
    return [*(Entry(name, state.started_ms) for name in names), Entry(group.index, stuck.since_ms, counted=True)]


# What must hold, in words of the filter language, and the indexes: a saga that matches stands in one of them.
Conditions = dict[str, tuple[str, ...]]


def conditions(query: SagaQuery, labels: Iterable[str] = ()) -> Conditions:
    """What a query asks of the indexes. `labels` (name@version) are all versions of a definition given without one."""
    found: Conditions = {}
    if query.phase is not None:
        found[f"phase:{query.phase}"] = (f"phase:{query.phase}",)
    if query.definition is not None:
        versions = (query.definition,) if "@" in query.definition else tuple(sorted(labels))
        found[f"definition:{query.definition}"] = tuple(f"definition:{label}" for label in versions)
    if query.stuck is not None:
        found[f"stuck:{query.stuck}"] = (f"stuck:{query.stuck}",)
    if query.stuck_step is not None:
        found[f"step:{query.stuck_step}"] = (f"stuck-step:{query.stuck_step}",)
    if query.stuck_error is not None:
        found[f"error:{query.stuck_error}"] = (f"stuck-error:{quote(query.stuck_error[:CODE_MAX], safe='')}",)
    if query.approval is not None:
        index = APPROVAL_ANY if query.approval == "any" else approval_for_role(query.approval)
        found[f"approval:{query.approval}"] = (index,)
    if query.assignee is not None:
        found[f"assignee:{query.assignee}"] = (approval_for_person(query.assignee),)
    if query.paused:
        found[PAUSED] = (PAUSED,)
    if query.in_motion:
        found["in motion"] = tuple(f"phase:{phase}" for phase in PHASES_IN_MOTION)
    for tag in query.tags:
        found[f"tag:{tag}"] = (f"tag:{tag}",)
    return found


def satisfied(state: SagaState, asked: Sequence[tuple[str, ...]]) -> bool:
    """Whether a saga stands in one index at least of each condition."""
    names = {entry.name for entry in index_entries(state)}
    return all(any(name in names for name in condition) for condition in asked)
