"""Participants that answer by themselves, for stories that are told without real ones."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import msgspec

from countermand.coordinator.core.plan import Plan
from countermand.schemas.definition import decode_definition
from countermand.schemas.identifiers import step_name
from countermand.schemas.messages import CommandMessage, Rejected, ReplyMessage, ReplyOutcome, Succeeded
from countermand.schemas.template import Key, references, template_fields


class SagaDocument(Protocol):
    """A saga: whatever has its document. `Saga` of `countermand.participants.saga` does."""

    @property
    def document(self) -> bytes: ...


class Answering(Protocol):
    """A participant: whatever has a name and answers commands. `Participant` does."""

    name: str

    async def handle(self, command: CommandMessage) -> ReplyMessage: ...


@runtime_checkable
class ExampleResults(Protocol):
    """A saga that knows its steps' types can say what a result looks like."""

    def example_results(self) -> Mapping[str, bytes]: ...


@runtime_checkable
class Parent(Protocol):
    """A saga that knows the sagas that it starts."""

    @property
    def children(self) -> Sequence[SagaDocument]: ...


def with_children(saga: SagaDocument, children: Sequence[SagaDocument] | None) -> tuple[SagaDocument, ...]:
    """A saga and these children; null: those that it knows of, and theirs."""
    if children is not None:
        return (saga, *children)
    found = [saga]
    for each in found:
        # A child may be known by several parents.
        known = {other.document for other in found}
        found += [child for child in (each.children if isinstance(each, Parent) else ()) if child.document not in known]
    return tuple(found)


class ExampleParticipant:
    """Answers each action with its result in `results`, each compensation with success, and probes by what it did.

    The results stand under definition (name@version) and step: with the place of a for-each's item, or for all of them.
    """

    def __init__(self, name: str, results: Mapping[tuple[str, str], bytes]) -> None:
        self.name = name
        self._results = results
        self._done: set[str] = set()

    async def handle(self, command: CommandMessage) -> ReplyMessage:
        result = example_of(self._results, command.definition, command.step)
        match command.direction:
            case "do":
                self._done.add(command.key)
            case "undo":
                self._done.discard(command.key)
                result = b"null"
            case "probe":
                if command.key not in self._done:
                    return reply_to(command, Rejected("not_done"))
        return reply_to(command, Succeeded(msgspec.Raw(result)))


def reply_to(command: CommandMessage, outcome: ReplyOutcome) -> ReplyMessage:
    """The reply to a command that says this."""
    return ReplyMessage(
        saga_id=command.saga_id,
        step=command.step,
        direction=command.direction,
        attempt=command.attempt,
        key=command.key,
        command_id=command.command_id,
        saga_version=command.saga_version,
        participant=command.participant,
        outcome=outcome,
    )


def example_of(results: Mapping[tuple[str, str], bytes], definition: str, ref: str) -> bytes:
    """What a node's instance gives: what was said of it, or else of all of them."""
    return results.get((definition, ref)) or results.get((definition, step_name(ref))) or b"null"


def example_results(saga: SagaDocument) -> dict[str, bytes]:
    """A result for each node: of its contract's type where the saga knows it, else the fields that others read."""
    typed = dict(saga.example_results()) if isinstance(saga, ExampleResults) else {}
    return _sketched(saga.document) | typed


Tree = dict[Key, "Tree"]


@lru_cache(maxsize=64)  # An exhaustive test asks for the same ones in every case.
def _sketched(document: bytes) -> dict[str, bytes]:
    definition = decode_definition(document)
    plan = Plan(definition)
    trees: dict[str, Tree] = {}
    readers = [
        (spot.loops, template) for spot in plan.spots.values() for template in template_fields(spot.node).values()
    ]
    for loops, template in (*readers, ((), definition.outcome)):
        for _, path in references(template):
            if path.root != "steps" or path.step not in plan.spots:
                continue
            # From outside of a loop a result is read as one of a list.
            lists = sum(loop not in loops for loop in plan.spots[path.step].loops)
            branch = trees.setdefault(path.step, {})
            for key in path.keys[lists:]:
                branch = branch.setdefault(key, {})
    return {step: msgspec.json.encode(_value(tree, step)) for step, tree in trees.items()}


def _value(tree: Tree, name: str) -> Any:
    if not tree:
        return f"{name}-1"
    numbers = [key for key in tree if isinstance(key, int)]
    if numbers:
        return [_value(tree.get(number, {}), name) for number in range(max(numbers) + 1)]
    return {str(key): _value(branch, str(key)) for key, branch in tree.items()}
