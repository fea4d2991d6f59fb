"""The test kit of a participant: whether its handlers keep the rules that sagas rely on. No server is needed.

Whole sagas are played with `countermand.coordinator.testing`.
"""

from countermand.participants.testing.check import BrokenRule, RuleBroken, check_participant, examine_participant

__all__ = ["check_participant", "examine_participant", "BrokenRule", "RuleBroken"]
