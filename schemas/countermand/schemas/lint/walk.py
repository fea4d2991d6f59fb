"""One walk over a definition, in the order in which its nodes run.

The walk knows at each node which others have surely run before it: those written earlier in a sequence, never those of
a sibling branch, all branches of a parallel once it is over, and of a loop's body the lists. Of a branch that may not
be taken, and of a scope that may be undone, it knows only that they may have run.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from countermand.schemas.codec import JSON_DEPTH_MAX
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    Definition,
    ForEachNode,
    LockNode,
    NamedNode,
    Node,
    ParallelNode,
    ScopeNode,
    SequenceNode,
    StepNode,
    WaitNode,
    WhenNode,
    children_of,
)
from countermand.schemas.errors import DefinitionError
from countermand.schemas.expression import parse_expression
from countermand.schemas.identifiers import LOOPS_MAX
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
from countermand.schemas.lint.nodes import concurrency_findings, node_findings, own_name_findings, step_findings
from countermand.schemas.lint.rules import Finding, UnsoundDefinition, errors
from countermand.schemas.lint.seen import Reader, Seen, reading_finding
from countermand.schemas.template import is_expression, scan, template_fields

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


class _Around(msgspec.Struct, frozen=True):
    """What a node stands in: the innermost enclosure, sequences aside, and the loops from the outside in."""

    inside: Literal["nothing", "parallel", "branch", "for_each", "scope"] = "nothing"
    loops: tuple[str, ...] = ()

    def within(self, inside: Literal["parallel", "branch", "scope"]) -> "_Around":
        return _Around(inside, self.loops)


class _Walk:
    """One pass over one definition."""

    def __init__(self, definition: Definition, contracts: Contracts) -> None:
        self._definition = definition
        self._nodes: dict[str, NamedNode] = {}
        loops: dict[str, tuple[str, ...]] = {}
        self._count = 0
        for node, around in _named(definition.root, 1, ()):
            self._count += 1
            self._nodes.setdefault(node.name, node)
            loops.setdefault(node.name, around)
        self._contracts = ContractCheck(self._nodes, loops, contracts)
        self._seen: dict[str, str] = {}
        self._pivot: str | None = None

    def findings(self) -> Iterator[Finding]:
        definition = self._definition
        yield from header_findings(definition)
        if definition.concurrency is not None:
            yield from concurrency_findings(definition.concurrency)
            yield from self._template(definition.concurrency.key, "$.concurrency.key", Reader(None, ()), Seen())
        if not self._count:
            yield Finding("no-steps", "$.root", "a saga needs at least one step; add a node of kind step")
        elif self._count > STEPS_MAX:
            message = f"{self._count} steps and other nodes; at most {STEPS_MAX}: split the saga in two"
            yield Finding("too-many-steps", "$.root", message)
        seen = Seen()
        yield from self._node(definition.root, "$.root", 1, seen, _Around())
        yield from self._template(definition.outcome, "$.outcome", Reader(None, ()), seen)

    def _node(self, node: Node, path: str, depth: int, seen: Seen, around: _Around) -> Iterator[Finding]:
        """Findings under a node; adds to `seen` what has run when the node is over."""
        if depth > DEPTH_MAX:
            yield Finding("too-deep", path, f"nested deeper than {DEPTH_MAX} levels; flatten the sequences")
            return
        match node:
            case SequenceNode(nodes=children):
                if not children and depth > 1:
                    yield Finding("empty-group", f"{path}.nodes", "an empty sequence does nothing; remove it")
                for place, child in children_of(node):
                    yield from self._node(child, path + place, depth + 1, seen, around)
            case ParallelNode(branches=branches):
                if not branches:
                    yield Finding("empty-group", f"{path}.branches", "an empty parallel does nothing; remove it")
                after: list[Seen] = []
                for place, branch in children_of(node):
                    after.append(seen.copy())
                    yield from self._node(branch, path + place, depth + 1, after[-1], around.within("parallel"))
                seen.add(*after)
            case _:
                yield from self._own(node, path, seen, around)
                yield from self._inside(node, path, depth + 1, seen, around)

    def _inside(self, node: NamedNode, path: str, depth: int, seen: Seen, around: _Around) -> Iterator[Finding]:
        """What stands under a node with a name, and what is known once the node is over."""
        branches = [(path + place, child, seen.copy()) for place, child in children_of(node)]
        match node:
            case ForEachNode(name=name):
                around = _Around("for_each", (*around.loops, name))
                if len(around.loops) > LOOPS_MAX:
                    message = (
                        f"for_each in for_each, deeper than {LOOPS_MAX} levels; let a child saga do the inner loop"
                    )
                    yield Finding("loops-too-deep", path, message)
            case ScopeNode():
                around = around.within("scope")
            case _:
                around = around.within("branch")
        for place, child, own in branches:
            if isinstance(node, ApprovalNode):
                own.sure.add(node.name)
            yield from self._node(child, place, depth, own, around)
        match node:
            case ForEachNode():
                for _, _, own in branches:
                    seen.collect(own)
            case WaitNode(on_timeout=branch) if branch is not None:
                # Either the event came, or the branch was run.
                seen.perhaps.add(node.name)
            case _:
                seen.sure.add(node.name)
        if not isinstance(node, ForEachNode):
            for _, _, own in branches:
                seen.doubt(own)

    def _own(self, node: NamedNode, path: str, seen: Seen, around: _Around) -> Iterator[Finding]:
        yield from own_name_findings(node, path)
        if (first := self._seen.setdefault(node.name, path)) != path:
            message = f"the name {node.name!r} is already used at {first}; give this one a name of its own"
            yield Finding("name-twice", f"{path}.name", message)
        if isinstance(node, StepNode):
            yield from name_findings(node, path)
            yield from step_findings(node, path)
        if isinstance(node, StepNode | ChildNode | LockNode):
            yield from self._kind(node, path, around)
        if isinstance(node, ScopeNode) and self._pivot is not None:
            message = (
                f"after the pivot ({self._pivot}) nothing is undone, so a scope means nothing; write its body alone"
            )
            yield Finding("scope-after-pivot", path, message)
        if isinstance(node, StepNode):
            yield from duration_findings(node, path, self._definition.deadline_ms)
        yield from node_findings(node, path, self._definition, after_pivot=self._pivot is not None)
        sound = True
        for field, template in template_fields(node).items():
            found = list(self._template(template, f"{path}.{field}", Reader(node.name, around.loops), seen))
            sound = sound and not any(each.rule == "too-deep" for each in found)
            yield from found
        if isinstance(node, WhenNode):
            yield from _constant(node, path)
        if isinstance(node, StepNode) and sound:
            yield from self._contracts.step(node, path)

    def _kind(self, node: StepNode | ChildNode | LockNode, path: str, around: _Around) -> Iterator[Finding]:
        place = f"{path}.kind"
        if node.kind == "pivot":
            if self._pivot is not None:
                yield Finding("pivot-twice", place, f"the pivot is {self._pivot}; a saga has at most one")
            else:
                yield from _pivot_place(place, around)
            self._pivot = self._pivot or f"{node.name} at {path}"
        elif self._pivot is not None and node.kind != "retriable":
            message = f"after the pivot ({self._pivot}) nothing can be undone; say kind retriable, or move it before"
            yield Finding("undo-after-pivot", place, message)
        elif self._pivot is None and node.kind == "retriable":
            message = "a retriable step is never undone, so it stands after the pivot; move it, or say compensatable"
            yield Finding("retriable-before-pivot", place, message)
        if isinstance(node, LockNode):
            return
        if node.kind == "compensatable" and not node.compensation and not node.because.strip():
            message = "a step that is never undone before the pivot says why nothing remains: because: …"
            yield Finding("compensation-missing", f"{path}.compensation", message)

    def _template(self, template: Any, path: str, reader: Reader, seen: Seen) -> Iterator[Finding]:
        if _is_too_deep(template):
            yield Finding("too-deep", path, f"a literal nested deeper than {JSON_DEPTH_MAX} levels; flatten it")
            return
        found: dict[Finding, None] = {}
        for place, reference in scan(template, at=path):
            if isinstance(reference, DefinitionError):
                found[Finding("expression", place, reference.problem)] = None
            elif finding := reading_finding(reference, place, reader, seen, self._nodes):
                found[finding] = None
        yield from found
        # What a sleep lasts until is judged as a moment.
        if not path.endswith(".until"):
            yield from literal_findings(template, path)
        yield from self._contracts.reads(template, path, reader.loops)


def _constant(node: WhenNode, path: str) -> Iterator[Finding]:
    if is_expression(node.condition):
        try:
            constant = not parse_expression(node.condition["$"]).paths
        except DefinitionError:
            return  # Already told.
        if constant:
            message = "this reads nothing, so it is always the same, and one branch never runs; remove the when"
            yield Finding("unreachable", f"{path}.condition", message)


def _pivot_place(place: str, around: _Around) -> Iterator[Finding]:
    match around.inside:
        case "nothing":
            return
        case "parallel":
            message = "a pivot inside a parallel can't tell what its sibling branches have done; move it after"
            yield Finding("pivot-in-parallel", place, message)
        case "branch":
            message = "in a branch that may not be taken, nobody can say from where on nothing is undone"
            yield Finding("pivot-misplaced", place, f"{message}; move it to the outermost sequence")
        case "for_each":
            message = "in a for_each it would run once for each item, and a saga is decided once"
            yield Finding("pivot-misplaced", place, f"{message}; move it after the loop")
        case "scope":
            message = "a scope can be undone, and a pivot can't"
            yield Finding("pivot-misplaced", place, f"{message}; move it after the scope")


def _is_too_deep(template: Any) -> bool:
    # Documents that were read are within the codec's limit; those that were built in memory may be anything.
    level = [template]
    for _ in range(JSON_DEPTH_MAX):
        level = [inner for each in level for inner in _entries(each)]
        if not level:
            return False
    return True


def _entries(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [each for each in value.values() if isinstance(each, dict | list | tuple)]
    if isinstance(value, list | tuple):
        return [each for each in value if isinstance(each, dict | list | tuple)]
    return []


def _named(node: Node, depth: int, loops: tuple[str, ...]) -> Iterator[tuple[NamedNode, tuple[str, ...]]]:
    # Not `nodes_of`: a document that is too deep is reported, not walked to its end.
    if depth > DEPTH_MAX:
        return
    if not isinstance(node, SequenceNode | ParallelNode):
        yield node, loops
    inner = (*loops, node.name) if isinstance(node, ForEachNode) else loops
    for _, child in children_of(node):
        yield from _named(child, depth + 1, inner)
