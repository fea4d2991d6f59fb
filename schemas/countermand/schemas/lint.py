"""The lint: reads the sense of a definition whose shape is already in order.

Every finding has a stable rule id, the place in the document, and a message that says the mend. One walk visits the
nodes in the order in which they run and knows at each step which others have surely run before it: those written
earlier in a sequence, never those of a sibling branch, and all branches of a parallel once it is over.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from countermand.schemas.definition import (
    Definition,
    Node,
    ParallelNode,
    RetryPolicy,
    SequenceNode,
    StepNode,
)
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.identifiers import checked_name, checked_slug
from countermand.schemas.template import Path, scan

DAY_MS: Final = 24 * 60 * 60 * 1000

STEPS_MAX: Final = 1_000  # A saga's state holds a record per step and is loaded whole.
DEPTH_MAX: Final = 16  # Each level costs two of the codec's 32 levels of JSON.
TIMEOUT_MS_MAX: Final = 30 * DAY_MS  # A longer wait for a machine's reply is a mistake of units.
DEADLINE_MS_MAX: Final = 366 * DAY_MS
ATTEMPTS_MAX: Final = 1_000_000
MULTIPLIER_MAX: Final = 10
INTEGER_MAX: Final = 2**53 - 1  # What every language's JSON parser reads exactly.


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: `rule` is stable, `path` is the place, `message` says the mend."""

    rule: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.rule}]"


class UnsoundDefinition(DefinitionError):
    """A definition with lint findings, all of which are in `findings`."""

    def __init__(self, label: str, findings: tuple[Finding, ...]) -> None:
        if len(findings) == 1:
            super().__init__(findings[0].path, f"{findings[0].message} [{findings[0].rule}]")
        else:
            listed = "".join(f"\n  {finding}" for finding in findings)
            super().__init__(findings[0].path, f"the first of {len(findings)} findings in {label}:{listed}")
        self.findings = findings


def lint(definition: Definition) -> list[Finding]:
    """All findings, in the order of the document; empty for a sound definition. Never raises."""
    walk = _Walk(definition)
    return list(walk.findings())


def require_sound(definition: Definition) -> None:
    """Passes a sound definition.

    Raises:
        UnsoundDefinition: a DefinitionError that lists every finding.
    """
    if findings := lint(definition):
        raise UnsoundDefinition(definition.label, tuple(findings))


class _Walk:
    """One pass over one definition."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._names = frozenset(_names(definition.root, 1))
        self._seen: dict[str, str] = {}
        self._pivot: str | None = None

    def findings(self) -> Iterator[Finding]:
        definition = self._definition
        yield from _header(definition)
        if not self._names:
            yield Finding("no-steps", "$.root", "a saga needs at least one step; add a node of kind step")
        elif (count := _count(definition.root, 1)) > STEPS_MAX:
            yield Finding("too-many-steps", "$.root", f"{count} steps; at most {STEPS_MAX}: split the saga in two")
        visible: set[str] = set()
        yield from self._node(definition.root, "$.root", 1, visible, in_parallel=False)
        yield from self._template(definition.outcome, "$.outcome", visible, own=None)

    def _node(self, node: Node, path: str, depth: int, visible: set[str], *, in_parallel: bool) -> Iterator[Finding]:
        """Findings under a node; adds to `visible` the steps that have surely run when the node is over."""
        if depth > DEPTH_MAX:
            yield Finding("too-deep", path, f"nested deeper than {DEPTH_MAX} levels; flatten the sequences")
            return
        match node:
            case StepNode():
                yield from self._step(node, path, visible, in_parallel=in_parallel)
                visible.add(node.name)
            case SequenceNode(nodes=children):
                if not children and depth > 1:
                    yield Finding("empty-group", f"{path}.nodes", "an empty sequence does nothing; remove it")
                for index, child in enumerate(children):
                    place = f"{path}.nodes[{index}]"
                    yield from self._node(child, place, depth + 1, visible, in_parallel=in_parallel)
            case ParallelNode(branches=branches):
                if not branches:
                    yield Finding("empty-group", f"{path}.branches", "an empty parallel does nothing; remove it")
                after: set[str] = set()
                for index, branch in enumerate(branches):
                    own = set(visible)
                    yield from self._node(branch, f"{path}.branches[{index}]", depth + 1, own, in_parallel=True)
                    after |= own
                visible |= after

    def _step(self, step: StepNode, path: str, visible: set[str], *, in_parallel: bool) -> Iterator[Finding]:
        yield from _identifier("step-name", f"{path}.name", step.name, checked_name)
        yield from _identifier("participant-name", f"{path}.participant", step.participant, checked_slug)
        yield from _identifier("action-name", f"{path}.action", step.action, checked_name)
        if (first := self._seen.setdefault(step.name, path)) != path:
            message = f"the name {step.name!r} is already used at {first}; give this step a name of its own"
            yield Finding("name-twice", f"{path}.name", message)
        yield from self._kind(step, path, in_parallel=in_parallel)
        yield from _limits(step, path)
        yield from self._template(step.input, f"{path}.input", visible, own=step.name)

    def _kind(self, step: StepNode, path: str, *, in_parallel: bool) -> Iterator[Finding]:
        place = f"{path}.kind"
        if step.kind == "pivot":
            if self._pivot is not None:
                yield Finding("pivot-twice", place, f"the pivot is at {self._pivot}; a saga has at most one")
            elif in_parallel:
                message = "a pivot inside a parallel can't tell what its sibling branches have done; move it after"
                yield Finding("pivot-in-parallel", place, message)
            self._pivot = self._pivot or path
        elif self._pivot is not None and step.kind != "retriable":
            message = f"after the pivot ({self._pivot}) nothing can be undone; say kind retriable, or move it before"
            yield Finding("undo-after-pivot", place, message)
        elif self._pivot is None and step.kind == "retriable":
            message = "a retriable step is never undone, so it stands after the pivot; move it, or say compensatable"
            yield Finding("retriable-before-pivot", place, message)
        if step.kind == "compensatable" and not step.compensation and not step.because.strip():
            message = "a step that is never undone before the pivot says why nothing remains: because: …"
            yield Finding("compensation-missing", f"{path}.compensation", message)

    def _template(self, template: Any, path: str, visible: set[str], *, own: str | None) -> Iterator[Finding]:
        for place, found in scan(template, at=path):
            if isinstance(found, DefinitionError):
                yield Finding("expression", place, found.problem)
            elif found.step is not None and found.step not in visible:
                yield self._invisible(found, place, found.step, own)
        yield from _literals(template, path)

    def _invisible(self, path: Path, place: str, step: str, own: str | None) -> Finding:
        if step == own:
            return Finding("own-result", place, f"{path.text}: a step can't read its own result")
        if step not in self._names:
            return Finding("unknown-step", place, f"{path.text}: there is no step {step[:64]!r} in this definition")
        message = f"{path.text}: step {step!r} has not surely run before; move it ahead, in sequence"
        return Finding("not-yet-run", place, message)


def _names(node: Node, depth: int) -> Iterator[str]:
    # Not `steps_of`: a document that is too deep is reported, not walked to its end.
    if depth > DEPTH_MAX:
        return
    match node:
        case StepNode(name=name):
            yield name
        case SequenceNode(nodes=children) | ParallelNode(branches=children):
            for child in children:
                yield from _names(child, depth + 1)


def _count(node: Node, depth: int) -> int:
    return sum(1 for _ in _names(node, depth))


def _header(definition: Definition) -> Iterator[Finding]:
    yield from _identifier("definition-name", "$.name", definition.name, checked_slug)
    if not 1 <= definition.version <= INTEGER_MAX:
        yield Finding("definition-version", "$.version", "versions are whole numbers that begin with 1")
    deadline = definition.deadline_ms
    if deadline is not None and not 0 < deadline <= DEADLINE_MS_MAX:
        message = f"{deadline} ms; a deadline is above 0 and at most {DEADLINE_MS_MAX // DAY_MS} days"
        yield Finding("deadline", "$.deadline_ms", message)


def _identifier(rule: str, path: str, value: str, check: Callable[[str, str], str]) -> Iterator[Finding]:
    try:
        check(path, value)
    except InvalidIdentifier as error:
        yield Finding(rule, path, str(error).removeprefix(f"{path}: "))


def _limits(step: StepNode, path: str) -> Iterator[Finding]:
    for field, timeout in (("timeout_ms", step.timeout_ms), ("undo_timeout_ms", step.undo_timeout_ms)):
        if not 0 < timeout <= TIMEOUT_MS_MAX:
            message = f"{timeout} ms; a timeout is above 0 and at most {TIMEOUT_MS_MAX // DAY_MS} days"
            yield Finding("timeout", f"{path}.{field}", message)
    if step.retry is not None:
        yield from _retry(step.retry, f"{path}.retry", unbounded=step.kind == "retriable")
    if step.undo_retry is not None:
        yield from _retry(step.undo_retry, f"{path}.undo_retry", unbounded=True)


def _retry(retry: RetryPolicy, path: str, *, unbounded: bool) -> Iterator[Finding]:
    if retry.attempts_max is None:
        if not unbounded:
            message = "only a retriable step and a compensation may be tried without end; give a number"
            yield Finding("retry-unbounded", f"{path}.attempts_max", message)
    elif not 1 <= retry.attempts_max <= ATTEMPTS_MAX:
        message = f"{retry.attempts_max}; the first attempt counts too, so at least 1 and at most {ATTEMPTS_MAX}"
        yield Finding("retry", f"{path}.attempts_max", message)
    if not 0 <= retry.backoff_ms <= retry.backoff_max_ms:
        message = f"{retry.backoff_ms} ms; expected 0 to backoff_max_ms, which is {retry.backoff_max_ms}"
        yield Finding("retry", f"{path}.backoff_ms", message)
    if retry.backoff_max_ms > TIMEOUT_MS_MAX:
        message = f"{retry.backoff_max_ms} ms; at most {TIMEOUT_MS_MAX // DAY_MS} days"
        yield Finding("retry", f"{path}.backoff_max_ms", message)
    if not 1 <= retry.multiplier <= MULTIPLIER_MAX:
        yield Finding("retry", f"{path}.multiplier", f"{retry.multiplier}; expected 1 to {MULTIPLIER_MAX}")
    if not 0 <= retry.jitter_percent <= 100:
        yield Finding("retry", f"{path}.jitter_percent", f"{retry.jitter_percent}; expected 0 to 100")


def _literals(template: Any, path: str) -> Iterator[Finding]:
    """Numbers that some language's parser would change on the way."""
    if isinstance(template, dict):
        for key, value in template.items():
            yield from _literals(value, f"{path}.{key}")
    elif isinstance(template, list | tuple):
        for index, value in enumerate(template):
            yield from _literals(value, f"{path}[{index}]")
    elif isinstance(template, int) and not isinstance(template, bool) and abs(template) > INTEGER_MAX:
        message = "a whole number beyond 2^53 is not exact in every language; write it as text"
        yield Finding("number-too-large", path, message)
