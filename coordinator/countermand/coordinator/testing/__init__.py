"""The test kit: sagas in memory, on virtual time; the core, the one path and participants' handlers are the real ones.

`given` tells the story of one saga; `exhaustive` lets every step meet every trouble. No server is needed.
"""

from countermand.coordinator.testing.advice import SagaWarning
from countermand.coordinator.testing.exhaustive import exhaustive, exhaustive_async
from countermand.coordinator.testing.expectations import ANYTHING
from countermand.coordinator.testing.report import Finding, Report
from countermand.coordinator.testing.story import Story, StoryFailed, given

__all__ = [
    "given",
    "Story",
    "StoryFailed",
    "ANYTHING",
    "exhaustive",
    "exhaustive_async",
    "Report",
    "Finding",
    "SagaWarning",
]
