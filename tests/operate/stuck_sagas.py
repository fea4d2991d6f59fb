"""Sagas that are really stuck: decided by the core, event after event, and committed to the store as they would be."""

from collections.abc import Sequence
from typing import Any

import msgspec

from countermand.coordinator.core import Plan, decide, pending_commands, wake_at
from countermand.coordinator.core.draft import Parts
from countermand.coordinator.core.events import ReplyReceived, SagaEvent, StartRequested
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga, StuckCause
from countermand.coordinator.ports import Commit, Committed, SagaStore
from countermand.participants.saga import Saga as Definition
from countermand.schemas.definition import decode_definition
from countermand.schemas.identifiers import new_secret
from countermand.schemas.messages import Failed, Rejected, ReplyOutcome, Succeeded
from system.world import RESULTS, reply_to, sale, trade

AT_MS = 1_700_000_000_000
ORDER = b'{"id":"o","moods":{}}'
FAILED = Failed("broken", retryable=False)

# For each cause: the saga, and how each step's participant answers; a step that isn't named succeeds.
ROADS: dict[StuckCause, tuple[Definition[Any, Any], dict[tuple[str, str], ReplyOutcome]]] = {
    "compensation_exhausted": (trade(), {("ship", "do"): Rejected("no"), ("pay", "undo"): FAILED}),
    "forward_rejected": (sale(), {("ship", "do"): Rejected("no")}),
    "pivot_unknown": (sale(), {("capture", "do"): FAILED}),
}


async def put_stuck(store: SagaStore, cause: StuckCause, saga_ids: Sequence[str]) -> None:
    """Stores sagas that are stuck by this cause."""
    definition, answers = ROADS[cause]
    document = decode_definition(definition.document)
    await store.save_definition(document)
    plan = Plan(document)
    commits = [_commit(*_stuck(plan, saga_id, answers)) for saga_id in saga_ids]
    assert all(isinstance(answer, Committed) for answer in await store.commit(commits))


def _stuck(plan: Plan, saga_id: str, answers: dict[tuple[str, str], ReplyOutcome]) -> tuple[Saga, list[Record]]:
    records: list[Record] = []
    saga: Saga | None = None
    event: SagaEvent = StartRequested("start", AT_MS, saga_id, msgspec.Raw(ORDER), new_secret(), "content")
    while True:
        decision = decide(plan, saga, event)
        saga, records = decision.saga, records + list(decision.records)
        assert saga is not None
        pending = pending_commands(plan, saga)
        if not pending:
            assert saga.state.stuck is not None
            return saga, records
        command = pending[0]
        usual = RESULTS.get(command.step, Succeeded()) if command.direction == "do" else Succeeded()
        outcome = answers.get((command.step, command.direction), usual)
        event = ReplyReceived("reply", AT_MS, reply_to(command, outcome))


def _commit(saga: Saga, records: list[Record]) -> Commit:
    return Commit(
        expected_version=0,
        token=new_secret(),
        saga=saga,
        records=tuple(records),
        parts=Parts(results=saga.results),
        wake_at_ms=wake_at(saga.state),
    )
