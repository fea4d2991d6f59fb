"""Operators, sensible and senseless: what they may ask for in whatever state a saga is in."""

from typing import Literal

import msgspec

from core.definitions import OTHER_ROLE, ROLE
from core.world import INPUT, RESULT, World
from countermand.coordinator.core.possible import Possible, possible_operations
from countermand.coordinator.core.state import Approval
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    DecideApproval,
    ExtendDeadline,
    Operation,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SettleCompensation,
    SkipStep,
)

ACTS = 240
LATER_MS = 3_000
ODD = msgspec.Raw(b'{"other":1}')


def ask(world: World, pick: int, act: int) -> None:
    """One request: mostly one of those that are offered, sometimes anything at all; at times one that was made before,
    or in view of a version that may be another one by now."""
    style, chosen = act % 6, act // 6
    known = world.saga is not None and not world.state.ended
    operations = sensible(world) if style < 4 and known else any_operations(world)
    operation = operations[chosen % len(operations)]
    version = None if world.saga is None else world.state.version
    request_id = f"r{pick % 3}" if pick < 3 else None
    if style == 4 and version is not None:
        world.operate(operation, request_id=request_id, expected_version=version - pick % 2)
    else:
        world.operate(operation, request_id=request_id, actor=f"operator {pick % 2}")


def sensible(world: World) -> list[Operation]:
    """What is offered, but for the end of everything."""
    offered = possible_operations(world.plan, world.state, world.now_ms)
    likely = [each for each in offered if each.operation not in ("abandon", "compensate")]
    return [suitable(each, world) for each in likely] or [PauseSaga()]


def suitable(possible: Possible, world: World) -> Operation:
    """An operation as it is offered, with the payload that it needs."""
    match possible.operation:
        case "retry":
            return RetryStep(possible.step)
        case "skip":
            return SkipStep(possible.step, RESULT.result if possible.direction == "do" else None)
        case "settle_compensation":
            return SettleCompensation("see ticket 7", possible.step)
        case "extend":
            # Not by much, so that deadlines still pass.
            return ExtendDeadline(max(world.now_ms, world.state.updated_ms, world.state.deadline_ms or 0) + LATER_MS)
        case "compensate":
            return CompensateSaga()
        case "pause":
            return PauseSaga()
        case "resume":
            return ResumeSaga()
        case "abandon":
            return AbandonSaga()
        case "decide":
            assert possible.step is not None
            decision: Literal["approved", "denied"] = "approved" if possible.effect.startswith("approves") else "denied"
            asked = world.state.marks[possible.step]
            assert isinstance(asked, Approval)
            return DecideApproval(possible.step, decision, asked.digest, roles=asked.roles)
        case other:
            raise AssertionError(f"offered what nobody can ask for: {other}")


def any_operations(world: World) -> list[Operation]:
    """Every operation, about every step and about none, with good payloads, odd ones and none."""
    operations: list[Operation] = [
        CompensateSaga(),
        PauseSaga(),
        ResumeSaga(),
        ResumeSaga(clock="ran"),
        ExtendDeadline(0),
        ExtendDeadline(),
        ExtendDeadline(by_ms=LATER_MS),
        ExtendDeadline(world.now_ms + LATER_MS),
        AbandonSaga(),
    ]
    known = {} if world.saga is None else {**world.state.steps, **world.state.marks}
    asked = {ref: mark for ref, mark in known.items() if isinstance(mark, Approval)}
    for ref, mark in asked.items():
        operations += [
            DecideApproval(ref, "approved", mark.digest, roles=(OTHER_ROLE,)),
            DecideApproval(ref, "denied", mark.digest, roles=(ROLE,)),
            DecideApproval(ref, "approved", "0" * 64, roles=(ROLE,)),
            DecideApproval(ref, "denied", mark.digest),
        ]
    for name in dict.fromkeys((None, *world.plan.steps, *known, "nowhere", "s1[7]")):
        operations += [
            RetryStep(name),
            RetryStep(name, INPUT),
            SkipStep(name),
            SkipStep(name, RESULT.result),
            SkipStep(name, ODD),
            SettleCompensation("see ticket 7", name),
        ]
    return operations
