"""Participants that answer by themselves, for stories that are told without real ones."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from countermand.schemas.definition import Definition
from countermand.schemas.messages import CommandMessage, ReplyMessage, ReplyOutcome, Succeeded
from countermand.schemas.template import Key, references


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


class ExampleParticipant:
    """Answers each action with its result in `results`, and each compensation with success.

    The results stand under definition (name@version) and step.
    """

    def __init__(self, name: str, results: Mapping[tuple[str, str], bytes]) -> None:
        self.name = name
        self._results = results

    async def handle(self, command: CommandMessage) -> ReplyMessage:
        known = self._results.get((command.definition, command.step), b"null")
        result = known if command.direction == "do" else b"null"
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


def example_results(saga: SagaDocument, definition: Definition) -> dict[str, bytes]:
    """A result for each step: of its contract's type where the saga knows it, else the fields that others read."""
    typed = dict(saga.example_results()) if isinstance(saga, ExampleResults) else {}
    return _sketched(definition) | typed


Tree = dict[Key, "Tree"]


def _sketched(definition: Definition) -> dict[str, bytes]:
    trees: dict[str, Tree] = {}
    for template in (*(step.input for step in definition.steps()), definition.outcome):
        for _, path in references(template):
            if path.step is None:
                continue
            branch = trees.setdefault(path.step, {})
            for key in path.keys:
                branch = branch.setdefault(key, {})
    return {step: msgspec.json.encode(_value(tree, step)) for step, tree in trees.items()}


def _value(tree: Tree, name: str) -> Any:
    if not tree:
        return f"{name}-1"
    numbers = [key for key in tree if isinstance(key, int)]
    if numbers:
        return [_value(tree.get(number, {}), name) for number in range(max(numbers) + 1)]
    return {str(key): _value(branch, str(key)) for key, branch in tree.items()}
