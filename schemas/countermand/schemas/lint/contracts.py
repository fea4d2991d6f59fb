"""Compares a definition with what participants announce: that somebody does each action, and that the values fit.

Announcements are voluntary and come and go, so all that is found here is a warning. Of a participant that announces no
schemas, only the names are compared.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from countermand.schemas.definition import ApprovalNode, NamedNode, ScopeNode, StepNode
from countermand.schemas.errors import DefinitionError
from countermand.schemas.lint.json_schema import HINTS_MAX, SchemaReader
from countermand.schemas.lint.rules import Finding
from countermand.schemas.lint.schema_parts import Schema
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage
from countermand.schemas.template import parse_path, scan

# While a new release is rolled out there are two; more contracts than this for one action are not all compared.
VARIANTS_MAX: Final = 4
NAMES_COMPARED_MAX: Final = 256  # As many actions as a participant may announce.


class Contracts:
    """What participants announce: for each, its actions, each in as many variants as processes disagree on.

    `known` is false where nobody could be asked: then nothing is compared.
    """

    def __init__(self, announcements: Iterable[AnnounceMessage], *, known: bool = True) -> None:
        self.known = known
        self._actions: dict[str, dict[str, list[AnnouncedAction]]] = {}
        for announcement in announcements:
            actions = self._actions.setdefault(announcement.participant, {})
            for each in announcement.actions:
                variants = actions.setdefault(each.action, [])
                if len(variants) < VARIANTS_MAX and each not in variants:
                    variants.append(each)

    def participants(self) -> list[str]:
        return list(self._actions)

    def actions(self, participant: str) -> list[str]:
        return list(self._actions.get(participant, ()))

    def variants(self, participant: str, action: str) -> list[AnnouncedAction]:
        """What is announced of an action; empty if nobody announces it."""
        return self._actions.get(participant, {}).get(action, [])


_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
# What the coordinator itself gives.
_APPROVAL: Final = Schema(
    {
        "type": "object",
        "properties": {
            "decision": {"enum": ["approved", "denied", "timed_out"]},
            "by": _TEXT_OR_NULL,
            "comment": _TEXT,
        },
        "required": ["decision", "by", "comment"],
    },
    None,
)
_SCOPE: Final = Schema(
    {
        "type": "object",
        "properties": {
            "failed": {"type": "boolean"},
            "code": _TEXT_OR_NULL,
            "reason": _TEXT_OR_NULL,
            "step": _TEXT_OR_NULL,
        },
        "required": ["failed"],
    },
    None,
)

NOTHING_ANNOUNCED: Final = Contracts((), known=False)


class ContractCheck:
    """The comparison for one definition."""

    def __init__(
        self, nodes: Mapping[str, NamedNode], loops: Mapping[str, tuple[str, ...]], contracts: Contracts
    ) -> None:
        self._loops = loops
        self._contracts = contracts
        self._reader = SchemaReader()
        self._missing: set[str] = set()
        self._hints_left = HINTS_MAX
        self._results = {name: self._result(node) for name, node in nodes.items()} if contracts.known else {}

    def step(self, step: StepNode, path: str) -> Iterator[Finding]:
        """What of a step differs from what its participant announces."""
        if not self._contracts.known:
            return
        variants = self._contracts.variants(step.participant, step.action)
        if not variants:
            yield from self._nobody(step, path)
        elif step.can_be_undone and not all(each.compensation for each in variants):
            message = (
                f"{step.participant} announces no compensation for {step.action}; add a handler that compensates it, "
                "or say compensation: false and because: …"
            )
            yield Finding("compensation-unknown", f"{path}.compensation", message)
        if variants and step.on_unknown == "probe" and not all(each.probe for each in variants):
            message = (
                f"{step.participant} announces no probe for {step.action}: unless its inbox shares a transaction with "
                "the effect, a crash midway stays in doubt; add a handler that probes it, or remove on_unknown"
            )
            yield Finding("probe-unknown", f"{path}.on_unknown", message)
        found: dict[Finding, None] = {}
        for schema in self._schemas(step, "command"):
            lookup = partial(self._lookup, self._loops.get(step.name, ()))
            for misfit in self._reader.literal(step.input, schema, lookup):
                message = f"{misfit.problem} ({step.participant}.{step.action})"
                found[Finding(misfit.rule, f"{path}.input{misfit.place}", message)] = None
        yield from found

    def reads(self, template: Any, path: str, loops: tuple[str, ...]) -> Iterator[Finding]:
        """Fields of results that a template reads and that don't exist; `loops` are those around the reader."""
        if not self._contracts.known:
            return
        found: dict[Finding, None] = {}
        for place, reference in scan(template, at=path):
            if isinstance(reference, DefinitionError) or reference.root != "steps" or reference.step is None:
                continue
            problems = {
                problem
                for schema in self._seen_from(reference.step, loops)
                if isinstance(problem := self._reader.follow(schema, reference.keys, f"steps.{reference.step}"), str)
            }
            for problem in sorted(problems):
                found[Finding("field-unknown", place, f"{reference.text}: {problem}")] = None
        yield from found

    def _nobody(self, step: StepNode, path: str) -> Iterator[Finding]:
        names = self._contracts.participants()
        if step.participant not in names:
            # Once is enough, however many of its actions are used.
            if step.participant not in self._missing:
                self._missing.add(step.participant)
                message = f"nobody called {step.participant!r} has announced itself yet; start it"
                mend = self._near(step.participant, names) or ", or correct the name"
                yield Finding("participant-unknown", f"{path}.participant", message + mend)
            return
        message = f"{step.participant} announces no action {step.action!r}; deploy its handler first"
        mend = self._near(step.action, self._contracts.actions(step.participant)) or ", or correct the name"
        yield Finding("action-unknown", f"{path}.action", message + mend)

    def _near(self, name: str, names: list[str]) -> str:
        if self._hints_left <= 0:
            return ""
        self._hints_left -= 1
        near = difflib.get_close_matches(name, names[:NAMES_COMPARED_MAX], 1)
        return f"; or did you mean {near[0]!r}?" if near else ""

    def _lookup(self, loops: tuple[str, ...], expression: str) -> list[Schema]:
        """The schemas of what a path gives; of what is computed nothing is known, and faults are told elsewhere."""
        try:
            path = parse_path(expression)
        except DefinitionError:
            return []
        if path.root == "saga":
            return [Schema({"type": "string"}, None)]
        if path.root != "steps" or path.step is None:
            return []
        followed = (self._reader.follow(schema, path.keys, "") for schema in self._seen_from(path.step, loops))
        return [each for each in followed if not isinstance(each, str)]

    def _result(self, node: NamedNode) -> list[Schema]:
        match node:
            case StepNode():
                return self._schemas(node, "result")
            case ApprovalNode():
                return [_APPROVAL]
            case ScopeNode():
                return [_SCOPE]
            case _:
                return []

    def _seen_from(self, name: str, loops: tuple[str, ...]) -> list[Schema]:
        """What a result is to a reader in these loops: a list for each loop around it that the reader is outside of."""
        around = self._loops.get(name, ())
        shared = 0
        while shared < min(len(around), len(loops)) and around[shared] == loops[shared]:
            shared += 1
        schemas = self._results.get(name, [])
        for _ in around[shared:]:
            schemas = [Schema({"type": "array", "items": each.body}, each.definitions) for each in schemas]
        return schemas

    def _schemas(self, step: StepNode, part: str) -> list[Schema]:
        variants = self._contracts.variants(step.participant, step.action)
        schemas = (each.schema for each in variants if isinstance(each.schema, dict))
        return [Schema(each[part], each.get("$defs")) for each in schemas if part in each]
