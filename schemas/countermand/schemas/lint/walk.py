"""One walk over a definition, in the order in which its nodes run.

The walk knows at each step which others have surely run before it: those written earlier in a sequence, never those of
a sibling branch, and all branches of a parallel once it is over.
"""

from collections.abc import Iterator
from typing import Any, Final

from countermand.schemas.definition import Definition, Node, ParallelNode, SequenceNode, StepNode
from countermand.schemas.errors import DefinitionError
from countermand.schemas.lint.contracts import NOTHING_ANNOUNCED, ContractCheck, Contracts
from countermand.schemas.lint.limits import (
    ATTEMPTS_MAX,
    DEADLINE_MS_MAX,
    INTEGER_MAX,
    TIMEOUT_MS_MAX,
    duration_findings,
    header_findings,
    literal_findings,
    name_findings,
)
from countermand.schemas.lint.rules import Finding, UnsoundDefinition, errors
from countermand.schemas.template import Path, scan

__all__ = [
    "lint",
    "require_sound",
    "STEPS_MAX",
    "DEPTH_MAX",
    "ATTEMPTS_MAX",
    "DEADLINE_MS_MAX",
    "INTEGER_MAX",
    "TIMEOUT_MS_MAX",
]

STEPS_MAX: Final = 1_000  # A saga's state holds a record per step and is loaded whole.
DEPTH_MAX: Final = 16  # Each level costs two of the codec's 32 levels of JSON.


def lint(definition: Definition, contracts: Contracts = NOTHING_ANNOUNCED) -> list[Finding]:
    """All findings, errors and warnings, in the order of the document. Never raises.

    With `contracts`, what participants announce, the definition is compared with them too.
    """
    return list(_Walk(definition, contracts).findings())


def require_sound(definition: Definition) -> None:
    """Passes a definition without errors; warnings pass.

    Raises:
        UnsoundDefinition: a DefinitionError that lists every error.
    """
    if findings := errors(lint(definition)):
        raise UnsoundDefinition(definition.label, tuple(findings))


class _Walk:
    """One pass over one definition."""

    def __init__(self, definition: Definition, contracts: Contracts) -> None:
        self._definition = definition
        self._names = frozenset(_names(definition.root, 1))
        self._contracts = ContractCheck(_steps(definition.root, 1), contracts)
        self._seen: dict[str, str] = {}
        self._pivot: str | None = None

    def findings(self) -> Iterator[Finding]:
        definition = self._definition
        yield from header_findings(definition)
        if not self._names:
            yield Finding("no-steps", "$.root", "a saga needs at least one step; add a node of kind step")
        elif (count := sum(1 for _ in _names(definition.root, 1))) > STEPS_MAX:
            yield Finding("too-many-steps", "$.root", f"{count} steps; at most {STEPS_MAX}: split the saga in two")
        visible: set[str] = set()
        yield from self._node(definition.root, "$.root", 1, visible, in_parallel=False)
        yield from self._template(definition.outcome, "$.outcome", visible, own=None)
        yield from self._contracts.outcome(definition.outcome)

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
        yield from name_findings(step, path)
        if (first := self._seen.setdefault(step.name, path)) != path:
            message = f"the name {step.name!r} is already used at {first}; give this step a name of its own"
            yield Finding("name-twice", f"{path}.name", message)
        yield from self._kind(step, path, in_parallel=in_parallel)
        yield from duration_findings(step, path, self._definition.deadline_ms)
        yield from self._template(step.input, f"{path}.input", visible, own=step.name)
        yield from self._contracts.step(step, path)

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
        yield from literal_findings(template, path)

    def _invisible(self, path: Path, place: str, step: str, own: str | None) -> Finding:
        if step == own:
            return Finding("own-result", place, f"{path.text}: a step can't read its own result")
        if step not in self._names:
            return Finding("unknown-step", place, f"{path.text}: there is no step {step[:64]!r} in this definition")
        message = f"{path.text}: step {step!r} has not surely run before; move it ahead, in sequence"
        return Finding("not-yet-run", place, message)


def _steps(node: Node, depth: int) -> Iterator[StepNode]:
    # Not `steps_of`: a document that is too deep is reported, not walked to its end.
    if depth > DEPTH_MAX:
        return
    match node:
        case StepNode():
            yield node
        case SequenceNode(nodes=children) | ParallelNode(branches=children):
            for child in children:
                yield from _steps(child, depth + 1)


def _names(node: Node, depth: int) -> Iterator[str]:
    return (step.name for step in _steps(node, depth))
