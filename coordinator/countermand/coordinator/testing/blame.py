"""What is wrong with a case, and which step's fault it is, in words that name the mend."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from countermand.coordinator.testing.cast import Touch
from countermand.coordinator.testing.effects import Effects, in_words, together
from countermand.coordinator.testing.play import Played
from countermand.schemas.definition import StepNode
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Rejected, Succeeded

_STUCK: Final = {
    "forward_rejected": "it was rejected after the pivot, where there is no way back: put it before the pivot",
    "forward_exhausted": "it was given up after the pivot, where there is no way back: let it be tried without end",
    "pivot_unknown": "nobody knows whether the pivot was done: make its answer certain, or give it more attempts",
    "compensation_rejected": "its compensation was rejected: an undo has to succeed in the end",
}


class Fault(msgspec.Struct, frozen=True):
    """What was found, and for each step at fault why; empty where no step can be named."""

    found: str
    why: Mapping[str, str]


class Judge:
    """Knows what a saga does when all goes well: `all_done` are its effects then, `nets` those of each step."""

    def __init__(
        self, steps: Mapping[str, StepNode], all_done: Effects | None, nets: Mapping[str, Effects] | None
    ) -> None:
        self._steps = steps
        self._all_done = all_done
        self._nets = nets

    def fault(self, played: Played) -> Fault | None:
        """What is wrong; null if all is done, or all undone."""
        verdict = played.verdict
        if verdict is None:
            return Fault("never comes to rest", self._restless(played))
        if verdict.stuck_cause is not None:
            return self._stuck(played, verdict.stuck_cause, verdict.stuck_step)
        if not verdict.ended:
            return Fault(f"did not end: {verdict.words}", {})
        completed = verdict.phase == "completed"
        if completed and self._all_done is None:
            return None
        wanted = (self._all_done or {}) if completed else {}
        if played.changed == wanted:
            return None
        found = f"{verdict.phase}, but did {in_words(played.changed)}" + (
            f" instead of {in_words(wanted)}" if completed else " that was not undone"
        )
        return Fault(found, self._blamed(played, completed))

    def _blamed(self, played: Played, completed: bool) -> Mapping[str, str]:
        if not completed:
            return {step: self._left_behind(played, step) for step, net in played.nets.items() if net}
        if self._nets is None:
            return {}
        known = {step: self._nets.get(step, {}) for step in played.nets}
        return {
            step: _too_much_or_little(played, step, net, known[step])
            for step, net in played.nets.items()
            if net != known[step]
        }

    def _left_behind(self, played: Played, step: str) -> str:
        done, undone = _changed(played, step, "do"), _changed(played, step, "undo")
        rejected = [each for each in _touches(played, step, "do") if isinstance(each.answer, Rejected) and each.changed]
        undos = _touches(played, step, "undo")
        node = self._steps[step]
        if rejected:
            return (
                f"it said no after it had done {in_words(done)}: say no before the first effect, or do the effect in "
                "context.transaction"
            )
        if _repeated(played, step, "do"):
            return _RUN_AGAIN.format(what="its handler", effect=in_words(done))
        if not undos and not node.can_be_undone:
            return (
                f"it did {in_words(done)} and has no compensation, but the saga can still turn back after it: give it "
                "one, or put it after the pivot"
            )
        if not undos:
            return f"it did {in_words(done)}, and was not asked to undo it"
        if not any(each.ran for each in undos):
            return (
                f"it did {in_words(done)} outside the barrier: its inbox has no record of it, so there was nothing to "
                "undo; do the effect in context.transaction"
            )
        if _repeated(played, step, "undo"):
            return _RUN_AGAIN.format(what="its compensation", effect=in_words(undone))
        if not done:
            answered = any(isinstance(each.answer, Succeeded) for each in _touches(played, step, "do"))
            what = "it answered success having done nothing" if answered else "it did nothing"
            return f"{what}, and its compensation all the same did {in_words(undone)}"
        if not undone:
            return f"its compensation answered that all was undone, and undid nothing of {in_words(done)}"
        return f"its action did {in_words(done)}, and its compensation did {in_words(undone)}: that is no way back"

    def _stuck(self, played: Played, cause: str, step: str | None) -> Fault:
        words = "" if played.verdict is None else played.verdict.words
        if step is None:
            return Fault(words, {})
        if cause != "compensation_exhausted":
            return Fault(words, {step: _STUCK.get(cause, words)})
        known = any(isinstance(each.answer, Succeeded) for each in _touches(played, step, "do"))
        why = (
            "its compensation failed every time"
            if known
            else "its compensation failed every time, where nobody knows the action's result: it has to cope with None"
        )
        return Fault(words, {step: why})

    def _restless(self, played: Played) -> Mapping[str, str]:
        last = played.touches[-1] if played.touches else None
        return {} if last is None else {last.step: "it is asked again and again, and never succeeds"}


_RUN_AGAIN: Final = (
    "{what} ran more than once for one key, after a crash, and had its effect each time ({effect}): do the effect in "
    "context.transaction, or make it idempotent by context.key"
)


def _too_much_or_little(played: Played, step: str, net: Effects, wanted: Effects) -> str:
    if _repeated(played, step, "do"):
        return _RUN_AGAIN.format(what="its handler", effect=in_words(net))
    if not net and wanted:
        return f"it answered success without having done {in_words(wanted)}"
    if not wanted:
        return f"it did {in_words(net)} in the end, and nothing when all goes well"
    return f"it did {in_words(net)} in the end, and {in_words(wanted)} when all goes well"


def _touches(played: Played, step: str, direction: Direction) -> list[Touch]:
    return [each for each in played.touches if (each.step, each.direction) == (step, direction)]


def _changed(played: Played, step: str, direction: Direction) -> dict[str, Any]:
    return together(*(each.changed for each in _touches(played, step, direction)))


def _repeated(played: Played, step: str, direction: Direction) -> bool:
    return sum(each.ran and bool(each.changed) for each in _touches(played, step, direction)) > 1
