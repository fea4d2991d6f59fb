"""What is wrong with a case, and which step's fault it is, in words that name the mend."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from countermand.coordinator.testing.addresses import Library
from countermand.coordinator.testing.cast import Touch
from countermand.coordinator.testing.effects import Effects, in_words, reverse, together
from countermand.coordinator.testing.play import Played
from countermand.schemas.definition import ApprovalNode, ChildNode, Node, StepNode, WaitNode
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Rejected, Succeeded

_STUCK: Final = {
    "forward_rejected": "it was rejected after the pivot, where there is no way back: put it before the pivot",
    "forward_exhausted": "it was given up after the pivot, where there is no way back: let it be tried without end",
    "pivot_unknown": "nobody knows whether the pivot was done: make its answer certain, give it more attempts, or ask "
    'its participant what became of it (on_unknown="probe", and a handler that finds out)',
    "compensation_rejected": "its compensation was rejected: an undo has to succeed in the end",
}


class Fault(msgspec.Struct, frozen=True):
    """What was found, and for each step at fault why; empty where no step can be named."""

    found: str
    why: Mapping[str, str]


class Judge:
    """Knows what a saga does when all goes well: `all_done` are its effects then.

    It learns what each step does from the plays in which nothing happens to it.
    """

    def __init__(self, library: Library, all_done: Effects | None) -> None:
        self._library = library
        self._all_done = all_done
        self._base: frozenset[str] | None = None
        self._nets: dict[str, Effects] = {}

    def learn(self, played: Played) -> None:
        """Takes what its steps did for what they do. What is known already stands."""
        if played.verdict is None or played.verdict.phase != "completed":
            return
        if self._all_done is None:
            self._all_done = played.changed
        if self._base is None:
            self._base = played.standing
        for step, net in played.nets.items():
            if step in played.standing:
                self._nets.setdefault(step, net)

    def fault(self, played: Played) -> Fault | None:
        """What is wrong; null if all is done, or all undone. A scope that failed is undone for itself."""
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
        wanted = self._wanted(played) if completed else {}
        if played.changed == wanted:
            return None
        found = f"{verdict.phase}, but did {in_words(played.changed)}" + (
            f" instead of {in_words(wanted)}" if completed else " that was not undone"
        )
        return Fault(found, self._blamed(played, completed))

    def _wanted(self, played: Played) -> Effects:
        """All that is done when all goes well, but for the steps that this saga did not do, and those it did beside."""
        base = played.standing if self._base is None else self._base
        missing = (reverse(self._nets.get(step, {})) for step in sorted(base - played.standing))
        nets = played.nets
        more = (self._nets.get(step, nets.get(step, {})) for step in sorted(played.standing - base))
        return together(self._all_done or {}, *missing, *more)

    def _blamed(self, played: Played, completed: bool) -> Mapping[str, str]:
        standing = played.standing if completed else frozenset()
        blamed: dict[str, str] = {}
        for step, net in played.nets.items():
            if step not in standing and net:
                blamed[step] = self._left_behind(played, step)
            elif step in standing and net != self._nets.get(step, net):
                blamed[step] = _too_much_or_little(played, step, net, self._nets[step])
        return blamed

    def _left_behind(self, played: Played, step: str) -> str:
        done, undone = _changed(played, step, "do"), _changed(played, step, "undo")
        rejected = [each for each in _touches(played, step, "do") if isinstance(each.answer, Rejected) and each.changed]
        undos = _touches(played, step, "undo")
        known = self._library.find(step)
        if rejected:
            return (
                f"it said no after it had done {in_words(done)}: say no before the first effect, or do the effect in "
                "context.transaction"
            )
        if _repeated(played, step, "do"):
            return _RUN_AGAIN.format(what="its handler", effect=in_words(done))
        if not undos and known is not None and not _can_be_undone(known.node):
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
        known = self._library.find(step)
        if cause == "forward_rejected" and known is not None and isinstance(known.node, WaitNode | ApprovalNode):
            why = "it came to nothing after the pivot, where there is no way back: give it a branch for that case"
            return Fault(words, {step: why})
        if cause != "compensation_exhausted":
            return Fault(words, {step: _STUCK.get(cause, words)})
        answered = any(isinstance(each.answer, Succeeded) for each in _touches(played, step, "do"))
        why = (
            "its compensation failed every time"
            if answered
            else "its compensation failed every time, where nobody knows the action's result: it has to cope with None"
        )
        return Fault(words, {step: why})

    def _restless(self, played: Played) -> Mapping[str, str]:
        last = played.touches[-1] if played.touches else None
        return {} if last is None else {last.step: "it is asked again and again, and never succeeds"}


def _can_be_undone(node: Node) -> bool:
    return isinstance(node, StepNode | ChildNode) and node.kind == "compensatable" and node.compensation


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
