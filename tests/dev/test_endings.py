"""How `countermand dev` deals with a process that ends again and again."""

import pytest

from countermand.coordinator.dev.endings import PAUSE_MAX_S, STEADY_S, Endings


class Crashes:
    """A process with a clock of its own; it lives for a while each time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.endings = Endings(now_s=lambda: self.now_s)

    def end(self, code: int = 7, *, lived_s: float = 1.0) -> str:
        self.endings.started()
        self.now_s += lived_s
        said = self.endings.ended(code)
        self.now_s += self.endings.pause_s
        return said


@pytest.mark.parametrize(("code", "words"), [(7, "exit code 7"), (-9, "killed by SIGKILL")])
def test_one_end_is_news(code: int, words: str) -> None:
    """With the reason, and a start soon after."""
    crashes = Crashes()
    assert crashes.end(code) == f"has ended ({words}); starting it again"
    assert crashes.endings.pause_s < 1


def test_a_crash_loop_is_a_number() -> None:
    """How often, in which time, and when it is tried again; each pause is longer, up to some seconds."""
    crashes = Crashes()
    said = [crashes.end() for _ in range(5)]
    assert said[4] == "ended 5 times in 12 s (exit code 7); next start in 8 s"
    pauses = [(crashes.end(), crashes.endings.pause_s)[1] for _ in range(2000)]
    assert set(pauses) == {PAUSE_MAX_S}


def test_whoever_has_recovered_begins_anew() -> None:
    """A crash after a steady time is the first one again."""
    crashes = Crashes()
    for _ in range(5):
        crashes.end()
    assert crashes.end(lived_s=STEADY_S + 1) == "has ended (exit code 7); starting it again"
