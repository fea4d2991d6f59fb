"""The definitions that a coordinator knows: plans by their identity, and the registering of new ones."""

from collections import OrderedDict
from typing import Final

import structlog

from countermand.coordinator.core import Plan
from countermand.coordinator.ports import DefinitionTaken, SagaStore
from countermand.schemas.definition import decode_definition
from countermand.schemas.errors import DefinitionError
from countermand.schemas.lint import lint
from countermand.schemas.messages import Answer, Defined, DefineMessage, Refused

log = structlog.get_logger(__name__)

# Plans are small; a system with more live definitions than this only reads some of them again.
PLANS_MAX: Final = 1_000


class Definitions:
    """Plans by identity. What is registered never changes, so what has been read once stays true."""

    def __init__(self, store: SagaStore) -> None:
        self._store = store
        self._plans: OrderedDict[str, Plan] = OrderedDict()
        self._hashes: dict[tuple[str, int], str] = {}

    async def plan(self, definition_hash: str) -> Plan | None:
        """The plan of a registered definition; null if the store doesn't have it."""
        plan = self._plans.get(definition_hash)
        if plan is None:
            definition = await self._store.definition(definition_hash)
            if definition is None:
                return None
            plan = self._keep(Plan(definition))
        self._plans.move_to_end(definition_hash)
        return plan

    async def plan_named(self, name: str, version: int | None) -> Plan | None:
        """The plan that a start names. The newest version is looked up each time, because it changes."""
        known = None if version is None else self._hashes.get((name, version))
        found = known or await self._store.definition_hash(name, version)
        if found is None:
            return None
        if version is not None:
            self._hashes[name, version] = found
        return await self.plan(found)

    async def register(self, message: DefineMessage) -> tuple[Answer, Plan | None]:
        """Checks and stores a document: the answer, and the plan if there is one now."""
        try:
            definition = decode_definition(message.document)
        except DefinitionError as error:
            return Refused(message.request_id, error.code, str(error)), None
        findings = lint(definition)
        if findings:
            texts = tuple(f"{each.path}: {each.message} [{each.rule}]" for each in findings)
            return Refused(message.request_id, "unsound_definition", texts[0], findings=texts), None
        saved = await self._store.save_definition(definition)
        if isinstance(saved, DefinitionTaken):
            problem = (
                f"version: {definition.label} is registered with other content ({saved.hash[:12]}…); "
                "raise the version: sagas in flight keep the one they started with"
            )
            return Refused(message.request_id, "version_taken", problem), None
        plan = self._keep(Plan(definition))
        log.info("definition_registered", definition=definition.label, hash=saved.hash)
        return Defined(message.request_id, definition.name, definition.version, saved.hash), plan

    async def restore_missing(self) -> int:
        """Saves again what is known here and no longer stored; how many those were.

        A store that was emptied, or restored from a time before, has lost definitions that sagas are still started
        from: without them no other coordinator could ever finish such a saga.
        """
        known = list(self._plans.values())  # Others go on using and adding plans while the store is asked.
        missing = [plan for plan in known if await self._store.definition(plan.hash) is None]
        for plan in missing:
            log.error("definition_missing", definition=plan.label, hash=plan.hash)
            await self._store.save_definition(plan.definition)
        return len(missing)

    def _keep(self, plan: Plan) -> Plan:
        self._plans[plan.hash] = plan
        if len(self._plans) > PLANS_MAX:
            self._plans.popitem(last=False)
        return plan
