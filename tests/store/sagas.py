"""Sagas to store: the core makes them, so that what is stored is what is ever stored."""

import itertools
from collections.abc import Sequence

import msgspec

from countermand.coordinator.core import Plan, decide, wake_at
from countermand.coordinator.core.draft import Parts
from countermand.coordinator.core.events import (
    OperationRequested,
    ReplyReceived,
    SagaEvent,
    SignalReceived,
    StartRequested,
    WatchRequested,
)
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga, SagaState
from countermand.coordinator.ports import Commit
from countermand.schemas.definition import Definition, RetryPolicy, SequenceNode, StepNode
from countermand.schemas.identifiers import Direction, command_id, new_secret, step_key
from countermand.schemas.messages import Failed, Rejected, ReplyMessage, ReplyOutcome, Succeeded
from countermand.schemas.operations import Operation, PauseSaga

_count = itertools.count(1)

NOW_MS = 1_700_000_000_000


def definition(name: str = "order", version: int = 1, *, timeout_ms: int = 10_000) -> Definition:
    """Two steps, one after the other; the second one is not patient with its compensation."""
    reserve = StepNode("reserve", "inventory", "reserve", {"sku": {"$": "input.sku"}}, timeout_ms=timeout_ms)
    charge = StepNode("charge", "payments", "charge", undo_retry=RetryPolicy(attempts_max=1))
    root = SequenceNode((reserve, charge, StepNode("ship", "shipping", "ship")))
    return Definition(1, name, version, root, outcome={"stock": {"$": "steps.reserve"}})


PLAN = Plan(definition())


def decided(
    saga: Saga | None, events: Sequence[SagaEvent], *, plan: Plan = PLAN, guard_ms: int | None = None
) -> Commit:
    """The commit of everything that events do to a saga, as the one path makes it."""
    expected = 0 if saga is None else saga.state.version
    records: list[Record] = []
    parts = Parts()
    for event in events:
        decision = decide(plan, saga, event)
        saga = decision.saga
        records += decision.records
        parts |= decision.parts
    assert saga is not None
    return Commit(expected, new_secret(), saga, tuple(records), parts, wake_at(saga.state), guard_ms)


def started(
    saga_id: str,
    *,
    at_ms: int = NOW_MS,
    tags: tuple[str, ...] = (),
    plan: Plan = PLAN,
    guard_ms: int | None = None,
) -> Commit:
    """The first commit of a saga: its start, and the first command."""
    start = StartRequested(
        event_id=f"start:{saga_id}",
        at_ms=at_ms,
        saga_id=saga_id,
        input=msgspec.Raw(b'{"sku": "A-1"}'),
        secret=new_secret(),
        content="content",
        tags=tags,
    )
    return decided(None, [start], plan=plan, guard_ms=guard_ms)


def answered(
    state: SagaState,
    step: str,
    outcome: ReplyOutcome,
    *,
    at_ms: int = NOW_MS + 1,
    undo: bool = False,
    version: int | None = None,
) -> ReplyReceived:
    """The reply to a step's first attempt."""
    direction: Direction = "undo" if undo else "do"
    reply = ReplyMessage(
        saga_id=state.saga_id,
        step=step,
        direction=direction,
        attempt=1,
        key=step_key(state.saga_id, step),
        command_id=command_id(state.secret, step, direction, 1),
        saga_version=state.version if version is None else version,
        participant=PLAN.steps[step].participant,
        outcome=outcome,
    )
    return ReplyReceived(f"reply:{step}/{direction}", at_ms, reply)


def reserved(saga: Saga, *, at_ms: int = NOW_MS + 1, guard_ms: int | None = None) -> Commit:
    """The second commit: the stock is reserved, the charge is asked for."""
    reply = answered(saga.state, "reserve", Succeeded(msgspec.Raw(b'{"id":7}')), at_ms=at_ms)
    return decided(saga, [reply], guard_ms=guard_ms)


def refused(saga: Saga, *, at_ms: int = NOW_MS + 1, guard_ms: int | None = None) -> Commit:
    """The second commit of a saga without luck: nothing can be reserved, so it ends at once."""
    return decided(saga, [answered(saga.state, "reserve", Rejected("sold_out"), at_ms=at_ms)], guard_ms=guard_ms)


def completed(saga: Saga, *, at_ms: int = NOW_MS + 3) -> Commit:
    """Everything that was still missing, in one batch."""
    return decided(
        saga,
        [
            answered(saga.state, name, Succeeded(msgspec.Raw(b"%d" % index)), at_ms=at_ms)
            for index, name in enumerate(PLAN.steps)
        ],
    )


def stuck(saga: Saga, *, at_ms: int = NOW_MS + 2, code: str = "bank_closed") -> Commit:
    """From the start to a compensation that can't be made, and with nothing else to do."""
    state = saga.state
    events = [
        answered(state, "reserve", Succeeded(), at_ms=at_ms),
        answered(state, "charge", Succeeded(), at_ms=at_ms),
        answered(state, "ship", Rejected("no_carrier"), at_ms=at_ms),
        answered(state, "charge", Failed(code), at_ms=at_ms, undo=True),
    ]
    return decided(saga, events)


def paused(saga: Saga, *, at_ms: int = NOW_MS + 2) -> Commit:
    """An operator holds it."""
    return operated(saga, PauseSaga(), at_ms=at_ms)


def operated(saga: Saga, operation: Operation, *, at_ms: int = NOW_MS + 2) -> Commit:
    """What an operator asks for is done."""
    request = f"r{next(_count)}"
    event = OperationRequested(
        f"request:{request}", at_ms, request, operation, "ada", "because", request, saga.state.version
    )
    return decided(saga, [event])


def signalled(saga: Saga, *, at_ms: int = NOW_MS + 2) -> Commit:
    """A commit that changes little: a signal is kept."""
    request = f"r{next(_count)}"
    event = SignalReceived(f"request:{request}", at_ms, request, "hello", msgspec.Raw(b"null"))
    return decided(saga, [event])


def watched(saga: Saga, *, at_ms: int = NOW_MS + 2) -> Commit:
    """A commit that every rival can make, each its own: somebody wants to know the outcome."""
    request = f"r{next(_count)}"
    return decided(saga, [WatchRequested(f"request:{request}", at_ms, request, f"clients.{request}")])
