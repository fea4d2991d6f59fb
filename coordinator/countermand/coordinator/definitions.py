"""The definitions that a coordinator knows: plans by their identity, and the registering of new ones."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import structlog

from countermand.coordinator.core import Plan
from countermand.coordinator.ports import Announced, DefinitionTaken, SagaStore
from countermand.schemas.definition import decode_definition
from countermand.schemas.errors import DefinitionError
from countermand.schemas.lint import Contracts, Finding, errors, lint, warnings
from countermand.schemas.messages import Answer, Defined, DefineMessage, Refused

log = structlog.get_logger(__name__)

# Plans are small; a system with more live definitions than this only reads some of them again.
PLANS_MAX: Final = 1_000
# Three announcements: a process that said nothing for so long, while others of its name spoke, is of an older release
# or gone.
SILENCE_MS: Final = 3 * 60 * 1000
# An answer is a message with a limit; whoever mends so many looks again anyway.
FINDINGS_MAX: Final = 100


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
        """Checks and stores a document: the answer, and the plan if there is one now.

        What participants announce never keeps a definition out: where it differs, the answer says so.
        """
        try:
            definition = decode_definition(message.document)
        except DefinitionError as error:
            return Refused(message.request_id, error.code, str(error)), None
        findings = lint(definition, current_contracts(await self._store.participants()))
        if unsound := _told(errors(findings)):
            return Refused(message.request_id, "unsound_definition", unsound[0], findings=unsound), None
        saved = await self._store.save_definition(definition)
        if isinstance(saved, DefinitionTaken):
            problem = (
                f"version: {definition.label} is registered with other content ({saved.hash[:12]}…); "
                "raise the version: sagas in flight keep the one they started with"
            )
            return Refused(message.request_id, "version_taken", problem), None
        plan = self._keep(Plan(definition))
        log.info("definition_registered", definition=definition.label, hash=saved.hash)
        told = _told(warnings(findings))
        return Defined(message.request_id, definition.name, definition.version, saved.hash, told), plan

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


def _told(findings: list[Finding]) -> tuple[str, ...]:
    more = [f"$: {len(findings) - FINDINGS_MAX} more findings"] if len(findings) > FINDINGS_MAX else []
    return (*map(str, findings[:FINDINGS_MAX]), *more)


def current_contracts(announced: Iterable[Announced]) -> Contracts:
    """What is to be expected of each participant: what its processes of late announce, or announced last."""
    by_name: dict[str, list[Announced]] = {}
    for each in announced:
        by_name.setdefault(each.announcement.participant, []).append(each)
    current = []
    for instances in by_name.values():
        latest_ms = max(each.seen_ms for each in instances)
        current += [each.announcement for each in instances if latest_ms - each.seen_ms <= SILENCE_MS]
    return Contracts(current)
