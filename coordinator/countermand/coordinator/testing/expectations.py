"""What a story expects of its saga, judged: null if it is so, else what was expected and what was found."""

from typing import Final

import msgspec

from countermand.coordinator.testing.verdict import Verdict
from countermand.schemas.codec import encode

Difference = tuple[str, str]
# A step, or several of which the order doesn't matter.
Expected = str | set[str]


class _Anything:
    def __repr__(self) -> str:
        return "anything"


ANYTHING: Final = _Anything()


def completion(verdict: Verdict, outcome: object) -> Difference | None:
    """The saga has completed, with this outcome as a whole."""
    if verdict.phase != "completed":
        return "expected the saga to complete", f"it is {verdict.words}"
    if outcome is ANYTHING:
        return None
    wanted = msgspec.json.decode(encode(outcome))
    if verdict.outcome != wanted:
        return f"expected the outcome {wanted!r}", f"found {verdict.outcome!r}"
    return None


def compensation(verdict: Verdict, steps: tuple[Expected, ...], because: str | None) -> Difference | None:
    """The saga is undone: exactly these steps, in this order, for this reason. No steps given: whichever."""
    if verdict.phase != "compensated":
        return "expected the saga to be compensated", f"it is {verdict.words}"
    undone = ", ".join(verdict.undone) or "no step"
    if steps and sorted(names_of(steps)) != sorted(verdict.undone):
        return f"expected to be undone: {', '.join(names_of(steps)) or 'no step'}", f"undone were {undone}"
    if not _in_order(steps, list(verdict.undone)):
        return f"expected to be undone in this order: {', '.join(names_of(steps))}", f"the order was {undone}"
    if because is not None and verdict.code != because:
        return f"expected the saga to turn back because of {because}", f"it did because of {verdict.code}"
    return None


def names_of(steps: tuple[Expected, ...]) -> list[str]:
    """Every step that is named."""
    return [name for each in steps for name in ([each] if isinstance(each, str) else sorted(each))]


def _in_order(steps: tuple[Expected, ...], undone: list[str]) -> bool:
    for each in steps:
        group = {each} if isinstance(each, str) else each
        if set(undone[: len(group)]) != group:
            return False
        undone = undone[len(group) :]
    return True


def standstill(verdict: Verdict, cause: str, step: str | None) -> Difference | None:
    """The saga waits for a person, for this cause; null stands for any step."""
    if verdict.stuck_cause != cause or (step is not None and verdict.stuck_step != step):
        where = "" if step is None else f" on {step}"
        return f"expected the saga to be stuck{where}: {cause}", f"it is {verdict.words}"
    return None


def motion(verdict: Verdict) -> Difference | None:
    """The saga goes forward."""
    if verdict.phase != "running" or verdict.stuck_cause is not None:
        return "expected the saga to be running", f"it is {verdict.words}"
    return None
