"""How a saga stands, as the stories compare it and as people read it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.journal import CompensationStarted, Record, ScopeUndone, StepSucceeded
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import Approval, Saga, Sleep, Wait
from countermand.coordinator.operate.reading import CAUSES_IN_WORDS
from countermand.coordinator.operate.sentences import because
from countermand.coordinator.testing.addresses import Library
from countermand.coordinator.testing.world import World
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.identifiers import step_name
from countermand.schemas.messages import Phase


class RolledBack(msgspec.Struct, frozen=True):
    """A scope that is undone: why it turned back, and the steps of it whose compensation succeeded, in that order."""

    code: str
    steps: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True):
    """A saga's standing. `undone` are the steps whose compensation succeeded, in the order of succeeding.

    `stuck_cause` and `stuck_step` say what it is stuck on, `code` why it turned back. `waiting` are the nodes at which
    it waits for an event, a decision, its time, a lock or a child saga; `rolled_back` its scopes that are undone.
    """

    phase: Phase
    ended: bool
    outcome: Any = None
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    stuck_cause: str | None = None
    stuck_step: str | None = None
    code: str | None = None
    waiting: tuple[str, ...] = ()
    rolled_back: Mapping[str, RolledBack] = {}
    words: str = ""


def verdict_on(saga: Saga, records: list[Record], plan: Plan) -> Verdict:
    """Reads it from the state and from the journal."""
    state = saga.state
    succeeded = [record.entry for record in records if isinstance(record.entry, StepSucceeded)]
    return Verdict(
        phase=state.phase,
        ended=state.ended,
        outcome=None if saga.outcome is None else msgspec.json.decode(saga.outcome),
        done=tuple(entry.step for entry in succeeded if entry.direction == "do"),
        undone=tuple(entry.step for entry in succeeded if entry.direction == "undo"),
        stuck_cause=None if state.stuck is None else state.stuck.cause,
        stuck_step=None if state.stuck is None else state.stuck.step,
        code=None if state.failure is None else state.failure.code,
        waiting=_waiting(saga, plan),
        rolled_back=_rolled_back(records, plan),
        words=_in_words(saga),
    )


async def verdict_of(world: World, root: str, library: Library) -> Verdict:
    """How a saga stands; if one of its children is stuck, so is the saga, at that child's step."""
    saga = await world.saga(root)
    if saga is None:
        raise InvariantViolated(f"saga {root} was accepted and is not there")
    verdict = verdict_on(saga, await world.history(root), library.plan)
    for member in world.family.members(root):
        child = None if verdict.ended or verdict.stuck_cause is not None else await world.saga(member)
        if child is not None and child.state.stuck is not None:
            stuck = child.state.stuck
            step = world.family.address(member, stuck.step or "")[1]
            verdict = replace(verdict, stuck_cause=stuck.cause, stuck_step=step, words=_in_words(child, step))
    return verdict


def _waiting(saga: Saga, plan: Plan) -> tuple[str, ...]:
    if saga.state.ended:
        return ()
    marks = [
        ref
        for ref, mark in saga.state.marks.items()
        if isinstance(mark, Wait | Sleep | Approval) and mark.status == "open"
    ]
    asked = [
        ref
        for ref, step in saga.state.steps.items()
        if step.newest[1].status == "asked" and plan.steps[step_name(ref)].participant == COORDINATOR
    ]
    return (*marks, *asked)


def _rolled_back(records: list[Record], plan: Plan) -> dict[str, RolledBack]:
    codes: dict[str, str] = {}
    undone: list[str] = []
    found: dict[str, RolledBack] = {}
    for entry in (record.entry for record in records):
        match entry:
            case CompensationStarted(scope=str() as scope, failure=failure):
                codes[scope] = failure.code
            case StepSucceeded(direction="undo", step=step):
                undone.append(step)
            case ScopeUndone(step=scope):
                steps = tuple(step for step in undone if scope in plan.scopes_around(step))
                found[scope] = RolledBack(codes[scope], steps)
            case _:
                pass
    return found


def _in_words(saga: Saga, stuck_step: str | None = None) -> str:
    state = saga.state
    turned = "" if state.failure is None else f" after {because(state.failure)}"
    if state.stuck is not None:
        step = stuck_step or state.stuck.step
        where = "" if step is None else f" (step {step})"
        detail = f": {state.stuck.detail}" if state.stuck.detail else ""
        return f"stuck as {state.stuck.cause}{where}{detail}: {CAUSES_IN_WORDS[state.stuck.cause]}"
    if state.ended:
        return f"{state.phase.replace('_', ' ')}{turned}"
    waiting = [
        f"{name} {step.do.status if step.undo is None else step.undo.status}" for name, step in state.steps.items()
    ]
    waiting += [
        f"{ref} {mark.status}" for ref, mark in state.marks.items() if isinstance(mark, Wait | Sleep | Approval)
    ]
    return f"still {state.phase}{turned} ({', '.join(waiting)})"
