"""The test kit in pytest: the fixture `saga_world`. pytest loads this by itself; nothing happens until a test asks.

It stands beside the kit and not in it, because every run of pytest imports it: the kit itself is imported when it is
used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from countermand.coordinator.testing.shared import SagaWorld


@pytest.fixture
def saga_world() -> "Iterator[SagaWorld]":
    """A world that several sagas share: its participants, its clock and its effects.

    `saga_world.plays(*participants)` brings the participants, `saga_world.given(saga, input)` begins a saga's story.
    The timelines of all stories are shown with a test that fails.
    """
    from countermand.coordinator.testing.shared import SagaWorld

    with SagaWorld() as world:
        yield world


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> "Iterator[None]":
    """Shows the timeline of a test's world with its failure, unless the failure itself tells it."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    world = getattr(item, "funcargs", {}).get("saga_world")
    if report.when == "call" and report.failed and world is not None and world.timeline:
        report.sections.append(("saga timeline", world.timeline))
