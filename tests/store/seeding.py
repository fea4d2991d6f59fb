"""Stuck sagas by the thousand, put into a store through its port and without being run."""

from collections.abc import Sequence

from msgspec.structs import replace

from countermand.coordinator.core.state import StepState, Stuck, StuckCause, Track
from countermand.coordinator.ports import Committed, SagaStore
from store.sagas import NOW_MS, PLAN, started

PART = 500  # Commits of one round trip.


async def seed_stuck(store: SagaStore, causes: Sequence[tuple[StuckCause, str, str, int]]) -> None:
    """For each (cause, step, error code, count) so many sagas of `order@1`, called `<cause>-<number>`."""
    await store.save_definition(PLAN.definition)
    commits = []
    for cause, step, code, count in causes:
        undoing = cause.startswith("compensation")
        track = Track("exhausted", 3, error=code or None)
        steps = {step: StepState(Track("succeeded", 1), track) if undoing else StepState(track)}
        for number in range(count):
            made = started(f"{cause}-{number}", at_ms=NOW_MS + number)
            state = replace(
                made.saga.state,
                phase="compensating" if undoing else "running",
                steps=steps,
                stuck=Stuck(cause, NOW_MS + 10 + number, step, code),
            )
            commits.append(replace(made, saga=replace(made.saga, state=state), wake_at_ms=None))
    for first in range(0, len(commits), PART):
        part = commits[first : first + PART]
        assert await store.commit(part) == [Committed()] * len(part)
