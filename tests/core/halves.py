"""Sagas of which only a part is loaded, as the store hands out large ones."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core import Decision, Plan, decide
from countermand.coordinator.core.events import SagaEvent
from countermand.coordinator.core.state import (
    EDIT,
    EVENT,
    EVERYTHING,
    INPUT,
    ITEM,
    MARK,
    RESULT,
    STEP,
    NotLoaded,
    Saga,
)

T = TypeVar("T")
KINDS = {"results": RESULT, "edits": EDIT, "items": ITEM, "events": EVENT, "steps": STEP, "marks": MARK}
# Every load finds something that is needed, so there are fewer than there are nodes.
LOADS_MAX = 200


def half_of(saga: Saga, parts: frozenset[str] = frozenset()) -> Saga:
    """The saga with nothing beside its state but these parts."""
    return replace(
        saga,
        input=saga.input if INPUT in parts else msgspec.Raw(b"null"),
        looked_for=parts,
        **{field: _some(getattr(saga, field), kind, parts) for field, kind in KINDS.items()},
    )


def _some(found: Mapping[str, T], kind: str, parts: frozenset[str]) -> dict[str, T]:
    return {ref: value for ref, value in found.items() if kind + ref in parts}


def decide_from_half(plan: Plan, saga: Saga, event: SagaEvent) -> tuple[Decision, int]:
    """Decides with as little as is needed, loading what is missed; and how often something was."""
    parts: frozenset[str] = frozenset()
    known = half_of(saga)
    for loads in range(LOADS_MAX):
        try:
            return decide(plan, known, event), loads
        except NotLoaded as missing:
            if missing.parts and missing.parts <= parts:
                raise AssertionError("what was loaded is missed again") from missing
            parts |= missing.parts
            known = saga if missing.parts == EVERYTHING else half_of(saga, parts)
    raise AssertionError("never has enough")
