"""A definition made ready to run: a tree of spots, looked up by name, its templates compiled, once per definition."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from countermand.schemas.coordination import LOCK_ACTION, SAGA_ACTION
from countermand.schemas.definition import (
    COORDINATOR,
    ApprovalNode,
    ChildNode,
    Concurrency,
    Definition,
    ForEachNode,
    LockNode,
    Node,
    ParallelNode,
    RetryPolicy,
    ScopeNode,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
    children_of,
    definition_hash,
)
from countermand.schemas.identifiers import step_name, step_place
from countermand.schemas.template import Path, Template, compile_definition, compile_template

# The first step of a saga whose definition limits how many run at once.
LIMIT_STEP: Final = "countermand_limit"
# A state holds no more steps and other nodes that are over than this: beyond it they are put away beside it, so that
# what an event costs doesn't grow with what the saga has done.
OVER_MAX: Final = 32
# Children and locks answer by themselves, however late. Should a message of theirs be lost for good, asking again at
# this pace finds out.
OWN_TIMEOUT_MS: Final = 6 * 60 * 60 * 1000
_PATIENT: Final = RetryPolicy(attempts_max=None, backoff_max_ms=60_000)
_ONCE: Final = RetryPolicy(attempts_max=1)


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A node in its place. Immutable.

    `loops` are the names of the for-eachs around it, from the outside in: so many indexes has its place. `scopes` are
    those around it, each with the number of loops around it. `step` is what is asked of a participant here. `certain`
    says that a saga that goes forward to its end surely comes by.
    """

    node: Node
    number: int
    children: tuple["Spot", ...]
    loops: tuple[str, ...]
    scopes: tuple[tuple[str, int], ...]
    step: StepNode | None
    certain: bool

    @property
    def name(self) -> str:
        """The node's name; empty for a group, which has none."""
        return "" if isinstance(self.node, SequenceNode | ParallelNode) else self.node.name

    def ref(self, place: str) -> str:
        """The name with the place: which of its instances is meant."""
        return self.name + place

    def key(self, place: str) -> str:
        """Where the frame of a group's instance is kept."""
        return f"{self.number}{place}"


TEMPLATES: Final[Mapping[type[Node], tuple[str, ...]]] = {
    StepNode: ("input",),
    WhenNode: ("condition",),
    ForEachNode: ("items",),
    WaitNode: ("key",),
    SleepNode: ("until",),
    ApprovalNode: ("shows", "assignees", "requester"),
    ChildNode: ("input",),
    LockNode: ("key",),
}


class Plan:
    """A sound definition, compiled. Immutable; shared by all of its sagas.

    `steps` is everything that is asked for, by name: of participants, and (children, locks) of the coordinator itself.
    `over_max` is the size of a state, see `OVER_MAX`.
    """

    def __init__(self, definition: Definition, *, over_max: int = OVER_MAX) -> None:
        self.definition = definition
        self.over_max = over_max
        self.hash = definition_hash(definition)
        self.label = definition.label
        self.root = _grown(_with_limit(definition))
        self.spots: dict[str, Spot] = {spot.name: spot for spot in _spots(self.root) if spot.name}
        self.steps: dict[str, StepNode] = {
            name: spot.step for name, spot in self.spots.items() if spot.step is not None
        }
        self.pivot = next((step.name for step in self.steps.values() if step.kind == "pivot"), None)
        self.participants = frozenset(
            step.participant for step in self.steps.values() if step.participant != COORDINATOR
        )
        self._templates = compile_definition(definition)
        self._readers: list[tuple[Spot | None, Template]] = [
            (spot, self._templates.part(spot.name, field))
            for spot in self.spots.values()
            if spot.name != LIMIT_STEP
            for field in TEMPLATES.get(type(spot.node), ())
        ]
        self._readers.append((None, self._templates.outcome))
        certain = [template for spot, template in self._readers if spot is None or spot.certain]
        self._surely_read = _paths(certain, lambda path: path.root == "input")

    def spot(self, ref: str) -> Spot | None:
        """The spot of a node's instance; null if the definition has no such node, or not in such a place."""
        spot = self.spots.get(step_name(ref))
        return spot if spot is not None and len(places(step_place(ref))) == len(spot.loops) else None

    def step(self, ref: str) -> StepNode | None:
        """What is asked for at a step's instance."""
        spot = self.spot(ref)
        return None if spot is None else spot.step

    def scopes_around(self, ref: str) -> list[str]:
        """The instances of scopes around a node's instance, the innermost first."""
        spot = self.spot(ref)
        if spot is None:
            return []
        around = places(step_place(ref))
        return [name + "".join(around[:depth]) for name, depth in reversed(spot.scopes)]

    def template(self, name: str, field: str) -> Template:
        """A template of a node."""
        return self._templates.part(name, field)

    @property
    def outcome(self) -> Template:
        """The template of what a completed saga answers."""
        return self._templates.outcome

    @property
    def limit(self) -> Concurrency | None:
        return self.definition.concurrency

    @property
    def limit_key(self) -> Template | None:
        """The template of the key by which sagas are limited; null where all of them share one limit."""
        return None if self.limit is None or self.limit.key is None else self._templates.concurrency_key

    def check_input(self, saga_id: str, input_: msgspec.Raw) -> None:
        """Resolves what every saga of this definition reads of its input: a start that can't work is refused.

        Raises:
            UnresolvedPath: names the first missing field.
        """
        self._surely_read.render(saga_id=saga_id, input=msgspec.json.decode(input_), results={})

    def check_result(self, saga_id: str, ref: str, result: msgspec.Raw) -> None:
        """Resolves what others read of a step's result: one that they can't go on with is refused.

        Raises:
            UnresolvedPath: names the first missing field.
        """
        given = {step_name(ref): msgspec.json.decode(result)}
        self.reads_of(step_name(ref)).render(saga_id=saga_id, input=None, results=given)

    def reads_of(self, name: str, readers: Collection[str] | None = None) -> Template:
        """What others surely read of a node's result: all of them, or those that are named, and the outcome."""
        target = self.spots[name]
        # A reader outside of a loop around the step sees a list, of which this is one entry only.
        templates = [
            template
            for spot, template in self._readers
            if target.loops == (() if spot is None else spot.loops[: len(target.loops)])
            and (readers is None or spot is None or spot.name in readers)
        ]
        return _paths(templates, lambda path: path.root == "steps" and path.step == name)

    def input_reads_of(self, readers: Collection[str]) -> Template:
        """What the nodes that are named, where a saga surely comes by, and the outcome read of the input."""
        templates = [
            template for spot, template in self._readers if spot is None or (spot.certain and spot.name in readers)
        ]
        return _paths(templates, lambda path: path.root == "input")

    def results_read_by(self, readers: Collection[str]) -> set[str]:
        """The nodes whose results the nodes that are named, or the outcome, may read."""
        return {
            path.step
            for spot, template in self._readers
            if spot is None or spot.name in readers
            for _, path in template.references
            if path.root == "steps" and path.step is not None
        }


def places(place: str) -> list[str]:
    """The indexes of a place, one by one: `[3]` and `[2]` of `[3][2]`."""
    return [each + "]" for each in place.split("]")[:-1]]


def _spots(spot: Spot) -> Iterator[Spot]:
    yield spot
    for child in spot.children:
        yield from _spots(child)


def _with_limit(definition: Definition) -> SequenceNode:
    limit = definition.concurrency
    if limit is None:
        return definition.root
    # Before anything else, and given up with nothing to undo.
    lock = LockNode(LIMIT_STEP, f"definition:{definition.name}", limit.key, limit.timeout_ms)
    return SequenceNode((lock, *definition.root.nodes))


def _grown(root: Node) -> Spot:
    count = 0

    def grow(node: Node, loops: tuple[str, ...], scopes: tuple[tuple[str, int], ...], *, certain: bool) -> Spot:
        nonlocal count
        count += 1
        number = count
        match node:
            case ForEachNode(name=name):
                inner, around, sure = (*loops, name), scopes, False
            case ScopeNode(name=name):
                inner, around, sure = loops, (*scopes, (name, len(loops))), False
            case WhenNode() | WaitNode() | ApprovalNode():
                inner, around, sure = loops, scopes, False
            case _:
                inner, around, sure = loops, scopes, certain
        children = tuple(grow(child, inner, around, certain=sure) for _, child in children_of(node))
        return Spot(node, number, children, loops, scopes, _asked_at(node), certain)

    return grow(root, (), (), certain=True)


def _asked_at(node: Node) -> StepNode | None:
    match node:
        case StepNode():
            return node
        case ChildNode(timeout_ms=timeout_ms):
            return StepNode(
                name=node.name,
                participant=COORDINATOR,
                action=SAGA_ACTION,
                kind=node.kind,
                compensation=node.compensation,
                because=node.because,
                timeout_ms=OWN_TIMEOUT_MS if timeout_ms is None else timeout_ms,
                retry=_PATIENT if timeout_ms is None or node.kind == "retriable" else _ONCE,
                undo_timeout_ms=OWN_TIMEOUT_MS,
                undo_retry=_PATIENT,
            )
        case LockNode(timeout_ms=timeout_ms):
            return StepNode(
                name=node.name,
                participant=COORDINATOR,
                action=LOCK_ACTION,
                kind=node.kind,
                compensation=False,
                because="released when the saga has ended",
                timeout_ms=timeout_ms,
                retry=_PATIENT if node.kind == "retriable" else _ONCE,
            )
        case _:
            return None


def _paths(templates: Iterable[Template], wanted: Callable[[Path], bool]) -> Template:
    """One template of all the plain paths in others that are wanted."""
    found: set[str] = set()
    for template in templates:
        for _, reference in template.references:
            # An expression that asks first, or branches, may do without.
            if not reference.guarded and wanted(reference):
                found.add(reference.text)
    return compile_template([{"$": text} for text in sorted(found)], at="$")
