"""Templates filled in from a saga's data: what each spot of the definition can see of it.

A step sees the input, the results before it, and the items of the loops around it. What stands in a loop that the
reader is outside of is a list, one entry for each item. What was not run, or was undone with its scope, isn't there.
"""

from typing import Any, Final

import msgspec

from countermand.coordinator.core.plan import Plan, Spot, places
from countermand.coordinator.core.state import Looped, NotLoaded, Saga, Scoped
from countermand.schemas.definition import ScopeNode
from countermand.schemas.template import Template

_ABSENT: Final = object()


def render(plan: Plan, saga: Saga, template: Template, spot: Spot | None = None, place: str = "") -> Any:
    """A template, filled in; JSON values. Without a spot it is read from the end of the definition.

    Raises:
        UnresolvedPath: the saga's data lacks what the template refers to.
        NotLoaded: of a large saga, something is needed that isn't here.
    """
    return _Reader(plan, saga, spot, place).render(template)


class _Reader:
    """Somebody at a spot who looks at a saga's data."""

    def __init__(self, plan: Plan, saga: Saga, spot: Spot | None, place: str) -> None:
        self._plan = plan
        self._saga = saga
        self._loops = () if spot is None else spot.loops
        self._scopes = () if spot is None else spot.scopes
        self._place = places(place)
        self._missing: NotLoaded | None = None

    def render(self, template: Template) -> Any:
        needs_input = False
        names: set[str] = set()
        loops: set[str] = set()
        for _, reference in template.references:
            needs_input = needs_input or reference.root == "input"
            if reference.root == "steps" and reference.step is not None:
                names.add(reference.step)
            elif reference.root == "each" and reference.step is not None:
                loops.add(reference.step)
        given = self._input() if needs_input else None
        results = {name: value for name in names if (value := self._seen(name)) is not _ABSENT}
        each = {name: value for name in loops if (value := self._item(name)) is not None}
        if self._missing is not None:
            raise self._missing
        return template.render(saga_id=self._saga.state.saga_id, input=given, results=results, each=each)

    def _input(self) -> Any:
        try:
            return msgspec.json.decode(self._saga.read_input())
        except NotLoaded as missing:
            self._missing = missing | self._missing
            return None

    def _item(self, loop: str) -> dict[str, Any] | None:
        if loop not in self._loops:
            return None
        around = self._place[: self._loops.index(loop) + 1]
        item = self._try_item(loop + "".join(around))
        return None if item is None else {"item": msgspec.json.decode(item), "index": int(around[-1][1:-1])}

    def _try_item(self, ref: str) -> msgspec.Raw | None:
        try:
            return self._saga.item(ref)
        except NotLoaded as missing:
            self._missing = missing | self._missing
            return None

    def _seen(self, name: str) -> Any:
        target = self._plan.spots.get(name)
        if target is None:
            return _ABSENT
        shared = 0
        while shared < min(len(target.loops), len(self._loops)) and target.loops[shared] == self._loops[shared]:
            shared += 1
        return self._from(target, self._place[:shared])

    def _from(self, target: Spot, around: list[str]) -> Any:
        """What a target says in a place; a list where there are loops around it that the place says nothing of."""
        place = "".join(around)
        try:
            if len(around) == len(target.loops):
                return self._value(target, place)
            loop = self._saga.mark(target.loops[len(around)] + place)
        except NotLoaded as missing:
            self._missing = missing | self._missing
            return _ABSENT
        if not isinstance(loop, Looped):
            return _ABSENT
        found = [self._from(target, [*around, f"[{index}]"]) for index in range(loop.count)]
        return [None if value is _ABSENT else value for value in found]

    def _value(self, target: Spot, place: str) -> Any:
        around = places(place)
        for name, depth in target.scopes:
            outside = (name, depth) not in self._scopes
            if outside and self._saga.mark(name + "".join(around[:depth])) is not None:
                return _ABSENT
        ref = target.ref(place)
        if isinstance(target.node, ScopeNode):
            mark = self._saga.mark(ref)
            failure = mark.failure if isinstance(mark, Scoped) else None
            if failure is None:
                return {"failed": False}
            told = {"code": failure.code, "reason": failure.reason, "step": failure.step}
            return {"failed": True, **{field: text for field, text in told.items() if text is not None}}
        result = self._saga.result(ref)
        return _ABSENT if result is None else msgspec.json.decode(result)
