"""What a story expects of its saga, judged: null if it is so, else what was expected and what was found."""

from typing import Final

import msgspec

from countermand.coordinator.testing.addresses import EVERY, is_meant
from countermand.coordinator.testing.verdict import Verdict
from countermand.schemas.codec import encode
from countermand.schemas.identifiers import step_name

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
    if (problem := _undone(verdict.undone, steps)) is not None:
        return problem
    if because is not None and verdict.code != because:
        return f"expected the saga to turn back because of {because}", f"it did because of {verdict.code}"
    return None


def rollback(verdict: Verdict, scope: str, steps: tuple[Expected, ...], because: str | None) -> Difference | None:
    """The scope is undone: exactly these steps of it, in this order, for this reason. No steps given: whichever."""
    found = verdict.rolled_back.get(scope)
    if found is None:
        others = ", ".join(verdict.rolled_back) or "none"
        return (
            f"expected the scope {scope} to be rolled back",
            f"rolled back were {others}; the saga is {verdict.words}",
        )
    if (problem := _undone(found.steps, steps)) is not None:
        return problem
    if because is not None and found.code != because:
        return f"expected the scope {scope} to turn back because of {because}", f"it did because of {found.code}"
    return None


def waiting(verdict: Verdict, nodes: tuple[str, ...]) -> Difference | None:
    """These are all the nodes at which the saga waits."""
    if sorted(nodes) == sorted(verdict.waiting):
        return None
    found = f"it waits at {', '.join(verdict.waiting)}" if verdict.waiting else f"it is {verdict.words}"
    return f"expected the saga to wait at {', '.join(nodes) or 'no node'}", found


def presence(verdict: Verdict, reached: tuple[str, ...], nodes: tuple[str, ...], *, wanted: bool) -> Difference | None:
    """Each of these nodes was reached, or none of them."""
    wrong = [node for node in nodes if any(is_meant(node, each) for each in reached) != wanted]
    if not wrong:
        return None
    expected = "to be reached" if wanted else "not to be reached"
    return f"expected {expected}: {', '.join(wrong)}", f"reached were {', '.join(reached)}; it is {verdict.words}"


def _undone(undone: tuple[str, ...], expected: tuple[Expected, ...]) -> Difference | None:
    if not expected:
        return None
    told = ", ".join(names_of(expected)) or "no step"
    steps = tuple(_spelt_out(each, undone) for each in expected)
    found = ", ".join(undone) or "no step"
    if sorted(names_of(steps)) != sorted(undone):
        return f"expected to be undone: {told}", f"undone were {found}"
    if not _in_order(steps, list(undone)):
        return f"expected to be undone in this order: {told}", f"the order was {found}"
    return None


def _spelt_out(expected: Expected, undone: tuple[str, ...]) -> Expected:
    """With every instance that was undone in the place of `[*]`; where none was, it stays and is missed."""
    names = {expected} if isinstance(expected, str) else expected
    if not any(name.endswith(EVERY) for name in names):
        return expected
    found: set[str] = set()
    for name in names:
        instances = [each for each in undone if name.endswith(EVERY) and step_name(each) == step_name(name)]
        found |= set(instances) or {name}
    return found


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
