"""How a step is undone, and with what it is asked for again: by the version of the definition that did it."""

import msgspec

from countermand.coordinator.core.commands import command_body
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import DONE, Route, Saga, StepState
from countermand.schemas.definition import StepNode
from countermand.schemas.errors import LimitExceeded
from countermand.schemas.template import UnresolvedPath, template_fields


def route_of(step: StepNode, known: StepState | None = None) -> Route:
    """How a step is undone: as the version said that did it. A pivot that is given up is closed, see `frontier`."""
    if known is not None and known.route is not None:
        return known.route
    compensated = step.can_be_undone or step.kind == "pivot"
    return Route(step.participant, step.action, compensated, step.undo_timeout_ms)


def has_effect(step: StepNode, known: StepState) -> bool:
    """Whether something may have been done that is to be undone should the saga turn back."""
    return known.do.status != "rejected" and route_of(step, known).compensated


def routes_to_keep(plan: Plan, target: Plan, saga: Saga) -> dict[str, Route]:
    """By name, how steps are undone that the other version would undo otherwise."""
    kept: dict[str, Route] = {}
    for ref in saga.state.steps:
        old, new = plan.step(ref), target.step(ref)
        if old is not None and new is not None and route_of(old) != route_of(new):
            kept[old.name] = route_of(old)
    return kept


def inputs_to_keep(plan: Plan, target: Plan, saga: Saga) -> dict[str, bytes]:
    """What was sent, for steps that may be undone or asked for again, where the other version would send otherwise."""
    kept: dict[str, bytes] = {}
    for ref, known in saga.state.steps.items():
        old, new = plan.step(ref), target.step(ref)
        if old is None or new is None or known.do.status == "rejected" or saga.edit(ref) is not None:
            continue
        if known.do.status in DONE and not has_effect(old, known):
            continue
        sent = _body(plan, saga, ref)
        # The same today may be another tomorrow: what a template reads can still come.
        alike = _template(plan, old.name) == _template(target, new.name)
        if sent is not None and not (alike and sent == _body(target, saga, ref)):
            kept[ref] = sent
    return kept


def _template(plan: Plan, name: str) -> bytes:
    return msgspec.json.encode(template_fields(plan.spots[name].node), order="sorted")


def _body(plan: Plan, saga: Saga, ref: str) -> bytes | None:
    try:
        return command_body(plan, saga, ref, "do")
    except (UnresolvedPath, LimitExceeded):
        return None  # An operator went on without it: nothing was ever sent.
