"""A check before a deploy: whether what sagas in motion may have to undo is still consumed by somebody.

A saga keeps its definition to the end, and a compensation goes to the participant and the action of the step that was
done. A release that drops a handler must wait for the sagas that may still need it. Undoing a saga undoes its child
sagas, also those that have completed: what they may need counts for their parent. What a saga asks of the coordinator
itself (child sagas and locks) is always served.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from countermand.coordinator.operate.definitions.meaning import Contract, undo_contracts, undoable_children
from countermand.coordinator.operate.participants import ALIVE_MS
from countermand.coordinator.ports import Announced
from countermand.schemas.definition import Definition

# In place of a definition: sagas that did the step under a version which they are no longer sagas of.
MIGRATED: Final = "migrated since"
# `served` by every process that lives, `partly` by some, `dropped` by all of them; `gone`: none lives any more;
# `silent`: the participant has never announced itself, so nothing is known.
Service = Literal["served", "partly", "dropped", "gone", "silent"]


class UndoContract(msgspec.Struct, frozen=True):
    """One compensation that sagas in motion may need. `sagas` says how many at most, by definition (name@version)."""

    participant: str
    action: str
    sagas: dict[str, int]
    service: Service

    @property
    def count(self) -> int:
        return sum(self.sagas.values())

    @property
    def missing(self) -> bool:
        """Whether a compensation may go unanswered."""
        return self.service in ("partly", "dropped", "gone")


class InFlight(msgspec.Struct, frozen=True):
    """All of them, and the definitions that sagas in motion have and the store doesn't."""

    contracts: tuple[UndoContract, ...]
    lost: dict[str, int]


def in_flight(
    definitions: Sequence[Definition],
    in_motion: Mapping[str, int],
    announced: Sequence[Announced],
    now_ms: int,
    undo_routes: Mapping[str, int] = MappingProxyType({}),
) -> InFlight:
    """Every undo contract of the definitions that have sagas in motion, and who serves it.

    `undo_routes` counts the sagas that may need a contract (`participant/action`) of a version that they came from.
    """
    by_label = {each.label: each for each in definitions}
    sagas: dict[Contract, dict[str, int]] = {}
    lost: dict[str, int] = {}
    for label, count in in_motion.items():
        if count <= 0:
            continue
        if (definition := by_label.get(label)) is None:
            lost[label] = count
            continue
        for each in _with_children(definition, definitions):
            for contract in undo_contracts(each):
                sagas.setdefault(contract, {})[label] = count
    for route, count in undo_routes.items():
        participant, _, action = route.partition("/")
        sagas.setdefault((participant, action), {})[MIGRATED] = count
    contracts = (
        UndoContract(participant, action, counts, _service(participant, action, announced, now_ms))
        for (participant, action), counts in sorted(sagas.items())
    )
    return InFlight(tuple(contracts), lost)


def in_flight_document(found: InFlight) -> dict[str, Any]:
    """What was found, ready for JSON."""
    return {
        "contracts": [{**msgspec.to_builtins(each), "count": each.count} for each in found.contracts],
        "missing": sum(each.missing for each in found.contracts),
        "lost_definitions": found.lost,
    }


def in_words(contract: UndoContract) -> str:
    """One line about a compensation that may go unanswered, or of which nothing is known."""
    definitions = ", ".join(contract.sagas)
    sagas = f"up to {contract.count:,} saga{'' if contract.count == 1 else 's'} in motion ({definitions})"
    what = f"{contract.participant}: the compensation of {contract.action}, which {sagas} may need"
    match contract.service:
        case "partly":
            return f"{what}, is announced by some of its processes only"
        case "dropped":
            return f"{what}, is announced by no process any more; keep its handler until they have ended"
        case "gone":
            return f"{what}: no process of this participant was heard of for minutes; start one"
        case "silent":
            return f"{what}: this participant has never announced itself, so nothing is known"
        case "served":
            return f"{what}, is served"


def _with_children(definition: Definition, definitions: Sequence[Definition]) -> Iterator[Definition]:
    """A definition and those of the child sagas that are undone with it, and of theirs; each once."""
    found: dict[str, Definition] = {}
    waiting = [definition]
    while waiting:
        parent = waiting.pop()
        if parent.label in found:
            continue
        found[parent.label] = parent
        for child in undoable_children(parent):
            # Which version was the newest when the child started is known to that saga alone: any may be in use.
            waiting += [
                each for each in definitions if each.name == child.definition and child.version in (None, each.version)
            ]
    return iter(found.values())


def _service(participant: str, action: str, announced: Sequence[Announced], now_ms: int) -> Service:
    own = [each for each in announced if each.announcement.participant == participant]
    living = [each.announcement for each in own if now_ms - each.seen_ms <= ALIVE_MS]
    if not living:
        return "gone" if own else "silent"
    able = [
        any(told.action == action and told.compensation for told in announcement.actions) for announcement in living
    ]
    if all(able):
        return "served"
    return "partly" if any(able) else "dropped"
