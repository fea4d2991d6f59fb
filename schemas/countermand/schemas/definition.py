"""The definition document: a saga as data.

A definition is JSON. Its identity is the SHA-256 of its canonical form, and every saga is pinned to the identity that
it started with. Fields that have their default are left out of the canonical form, so a later release may add fields
without changing any identity; for the same reason no default may ever change.

In `input` and `outcome`, `{"$": "input.order.id"}` is an expression and everything else is a literal.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from countermand.schemas.codec import decode_checked
from countermand.schemas.errors import DefinitionError, LimitExceeded

FORMAT = 1

StepKind = Literal["compensatable", "pivot", "retriable"]

STEP_TIMEOUT_MS = 30_000


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often, and after what pause, an attempt that failed or timed out is made again.

    The pause before attempt n+1 is `backoff_ms * multiplier ** (n - 1)`, at most `backoff_max_ms`, of which up to
    `jitter_percent` is taken away. `attempts_max` counts the first attempt; null means without end.
    """

    attempts_max: int | None = 3
    backoff_ms: int = 1_000
    backoff_max_ms: int = 60_000
    multiplier: int = 2
    jitter_percent: int = 20


# An action before the pivot may give up soon: its saga can still be undone.
RETRY_ACTION = RetryPolicy()
# The pivot decides the saga and can't be undone: more patience before a person is asked.
RETRY_PIVOT = RetryPolicy(attempts_max=10)
# After the pivot the only way is forward.
RETRY_FORWARD = RetryPolicy(attempts_max=None, backoff_max_ms=300_000)
# About two and a half hours of trying before a compensation is declared stuck.
RETRY_COMPENSATION = RetryPolicy(attempts_max=40, backoff_max_ms=300_000)


class StepNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="step"
):
    """One action of one participant, with its compensation."""

    name: str
    participant: str
    action: str
    input: dict[str, Any] = {}
    kind: StepKind = "compensatable"
    compensation: bool = True
    because: str = ""
    timeout_ms: int = STEP_TIMEOUT_MS
    retry: RetryPolicy | None = None
    undo_timeout_ms: int = STEP_TIMEOUT_MS
    undo_retry: RetryPolicy | None = None

    @property
    def can_be_undone(self) -> bool:
        """Whether a done or unknown action of this step is compensated."""
        return self.kind == "compensatable" and self.compensation

    def retry_policy(self, direction: Literal["do", "undo"]) -> RetryPolicy:
        """The policy in force: the step's own, or its kind's."""
        if direction == "undo":
            return self.undo_retry or RETRY_COMPENSATION
        if self.retry is not None:
            return self.retry
        return {"compensatable": RETRY_ACTION, "pivot": RETRY_PIVOT, "retriable": RETRY_FORWARD}[self.kind]

    def timeout_for(self, direction: Literal["do", "undo"]) -> int:
        return self.timeout_ms if direction == "do" else self.undo_timeout_ms


class SequenceNode(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="node",
    tag="sequence",
):
    """Its nodes run one after another, in the order of writing."""

    nodes: tuple["Node", ...]


class ParallelNode(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="node",
    tag="parallel",
):
    """Its branches run side by side; it is done when all of them are."""

    branches: tuple["Node", ...]


Node = StepNode | SequenceNode | ParallelNode


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A saga: what runs, in which order, and what it answers.

    `deadline_ms` is counted from the start; when it passes before the pivot, the saga is compensated.
    """

    countermand: Literal[1]
    name: str
    version: int
    root: SequenceNode
    deadline_ms: int | None = None
    outcome: Any = None

    @property
    def label(self) -> str:
        """`name@version`, as people say it."""
        return f"{self.name}@{self.version}"

    def steps(self) -> Iterator[StepNode]:
        """Every step, in the order of writing."""
        return steps_of(self.root)


def steps_of(node: Node) -> Iterator[StepNode]:
    """Every step under a node, in the order of writing."""
    match node:
        case StepNode():
            yield node
        case SequenceNode(nodes=children) | ParallelNode(branches=children):
            for child in children:
                yield from steps_of(child)


_encoder = msgspec.json.Encoder(order="sorted")


def canonical(definition: Definition) -> bytes:
    """The one byte form of a definition: sorted keys, no spaces, defaults left out even if they were written."""
    return _encoder.encode(_without_defaults(definition))


def _without_defaults(value: Any) -> Any:
    # msgspec's own `omit_defaults` looks whether a value is the default itself, so it keeps one that was written out.
    if isinstance(value, tuple):
        return [_without_defaults(each) for each in value]
    if not isinstance(value, msgspec.Struct):
        return value
    tag = value.__struct_config__.tag
    fields = {} if tag is None else {"node": tag}
    for field in msgspec.structs.fields(value):
        own = getattr(value, field.name)
        default = {} if field.default_factory is dict else field.default
        if own != default:
            fields[field.name] = _without_defaults(own)
    return fields


def definition_hash(definition: Definition) -> str:
    """The definition's identity: 64 hexadecimal digits."""
    return hashlib.sha256(canonical(definition)).hexdigest()


def decode_definition(document: bytes) -> Definition:
    """Reads a document's shape; `lint` then reads its sense.

    Raises:
        DefinitionError: with the path of the first fault.
    """
    try:
        return decode_checked(document, Definition)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `")
        raise DefinitionError(path.rstrip("`") or "$", problem) from error
    except LimitExceeded as error:
        raise DefinitionError("$", error.problem) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DefinitionError("$", f"not a JSON document: {error}") from error
