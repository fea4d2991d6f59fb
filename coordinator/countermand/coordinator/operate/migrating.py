"""What moving sagas to another version of their definition would mean, by the coordinator's own rules."""

from typing import Any

import msgspec

from countermand.coordinator.core import Plan
from countermand.coordinator.core.compatibility import Comparison
from countermand.coordinator.core.migrating import Incompatible, weigh_migration
from countermand.coordinator.core.refusal import Refusal
from countermand.coordinator.core.state import Saga
from countermand.coordinator.ports import SagaStore


class Versions:
    """The definitions of a store, made ready to run; each is read once."""

    def __init__(self, store: SagaStore) -> None:
        self._store = store
        self._plans: dict[str, Plan | None] = {}
        self._named: dict[tuple[str, int], Plan | None] = {}

    async def plan(self, definition_hash: str) -> Plan | None:
        if definition_hash not in self._plans:
            definition = await self._store.definition(definition_hash)
            self._plans[definition_hash] = None if definition is None else Plan(definition)
        return self._plans[definition_hash]

    async def named(self, name: str, version: int) -> Plan | None:
        if (name, version) not in self._named:
            found = await self._store.definition_hash(name, version)
            self._named[name, version] = None if found is None else await self.plan(found)
        return self._named[name, version]

    async def weigh(self, saga: Saga, version: int) -> Comparison | Refusal:
        """What moving a saga would mean, or why the coordinator would refuse it as it is now."""
        state = saga.state
        if state.ended:
            return Refusal("wrong_phase", f"the saga is {state.phase}; nothing can be changed any more")
        plan = await self.plan(state.definition_hash)
        if plan is None:
            return Refusal("unknown_definition", f"the definition {state.definition} is not in the store")
        return weigh_migration(plan, await self.named(plan.definition.name, version), saga.whole(), version)


def migration_document(saga: Saga, version: int, weighed: Comparison | Refusal) -> dict[str, Any]:
    """A saga's way to another version, ready for JSON."""
    state = saga.state
    refused = weighed if isinstance(weighed, Refusal) else None
    obstacles = weighed.obstacles if isinstance(weighed, Incompatible | Comparison) else ()
    return {
        "saga_id": state.saga_id,
        "version": state.version,
        "from": state.definition,
        "to": f"{state.definition.partition('@')[0]}@{version}",
        "possible": refused is None,
        "refusal": None if refused is None else {"code": refused.code, "problem": refused.problem},
        "obstacles": [msgspec.to_builtins(each) for each in obstacles],
        "notes": [msgspec.to_builtins(each) for each in weighed.notes] if isinstance(weighed, Comparison) else [],
    }
