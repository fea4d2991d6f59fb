"""The definition document: a saga as data.

A definition is JSON. Its identity is the SHA-256 of its canonical form, and every saga is pinned to the identity that
it started with. Fields that have their default are left out of the canonical form, so a later release may add fields
without changing any identity; for the same reason no default may ever change.

In `input` and `outcome`, `{"$": "input.order.id"}` is an expression and everything else is a literal.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, assert_never

import msgspec

from countermand.schemas.codec import decode_checked
from countermand.schemas.errors import DefinitionError, LimitExceeded
from countermand.schemas.identifiers import Direction

FORMAT = 1

StepKind = Literal["compensatable", "pivot", "retriable"]
OnUnknown = Literal["compensate", "probe"]

# The participant that the coordinator itself is: child sagas and locks are asked of it. Nobody else may bear its name.
COORDINATOR = "countermand"

STEP_TIMEOUT_MS = 30_000
# How long a saga waits for its turn at a lock or a limit before it gives up, unless it says otherwise.
LOCK_TIMEOUT_MS = 3_600_000
# Enough to be quick, few enough not to flood a participant.
FOR_EACH_CONCURRENCY = 10


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
    """One action of one participant, with its compensation.

    `on_unknown` says what comes first when an action was given up in doubt: its compensation, or a question to the
    participant what became of it (`probe`).
    """

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
    on_unknown: OnUnknown = "compensate"

    @property
    def can_be_undone(self) -> bool:
        """Whether a done or unknown action of this step is compensated."""
        return self.kind == "compensatable" and self.compensation

    def retry_policy(self, direction: Direction) -> RetryPolicy:
        """The policy in force: the step's own, or its kind's. A probe has that of the action that it asks about."""
        if direction == "undo":
            return self.undo_retry or RETRY_COMPENSATION
        if self.retry is not None:
            return self.retry
        return {"compensatable": RETRY_ACTION, "pivot": RETRY_PIVOT, "retriable": RETRY_FORWARD}[self.kind]

    def timeout_for(self, direction: Direction) -> int:
        return self.undo_timeout_ms if direction == "undo" else self.timeout_ms


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


class WhenNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="when"
):
    """Runs `then` if the condition holds, else `otherwise`. It is looked at once, and what was found stands."""

    name: str
    condition: Any
    then: "Node"
    otherwise: "Node | None" = None


class ForEachNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="for_each"
):
    """Runs its body once for each item of a list, at most `concurrency` of them at a time.

    In the body, `each.<name>.item` and `each.<name>.index` are the item and its place, counted from 0. Outside,
    `steps.<step of the body>` is the list of that step's results, one for each item, in the list's order.
    """

    name: str
    items: Any
    body: "Node"
    concurrency: int = FOR_EACH_CONCURRENCY


class WaitNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="wait_for"
):
    """Waits for an event; its payload is `steps.<name>`.

    Without a `key` the event is a signal to this saga. With one it is any event of that name with the same business
    key. Events that came before the saga got here count. When nothing has come `deadline_ms` after it got here, the
    branch `on_timeout` is run; where there is none, the saga turns back.
    """

    name: str
    event: str
    deadline_ms: int | None = None
    key: Any = None
    on_timeout: "Node | None" = None


class SleepNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="sleep"
):
    """Does nothing for `duration_ms`, or `until` a moment: RFC 3339 text with a zone, or Unix time in milliseconds."""

    name: str
    duration_ms: int | None = None
    until: Any = None


class ApprovalNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="approval"
):
    """Waits for a person's decision about what `shows` says.

    Whoever has the `role`, or is one of the `assignees`, may decide; `requester` (an expression) may not. After
    `escalate_after_ms` the role `escalate_to` may decide as well. `steps.<name>` is
    `{"decision": "approved", "by": …, "comment": …}`. If it is denied, or nobody decides within `deadline_ms`, the
    branch `otherwise` is run; where there is none, the saga turns back.
    """

    name: str
    deadline_ms: int | None = None
    shows: Any = None
    role: str | None = None
    assignees: Any = ()
    requester: Any = None
    escalate_after_ms: int | None = None
    escalate_to: str | None = None
    otherwise: "Node | None" = None


class ChildNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="child"
):
    """Starts another saga and waits for its end; its outcome is `steps.<name>`.

    A child that was undone counts as rejected. Undoing this node undoes the child, also one that has completed.
    `version` null is the newest at the time. `timeout_ms` null waits as long as this saga does.
    """

    name: str
    definition: str
    version: int | None = None
    input: Any = None
    kind: StepKind = "compensatable"
    compensation: bool = True
    because: str = ""
    timeout_ms: int | None = None


class LockNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="lock"
):
    """Holds the lock named `lock` for one business key until the saga has ended; others wait in the order of asking.

    Whoever doesn't get it within `timeout_ms` turns back.
    """

    name: str
    lock: str
    key: Any
    timeout_ms: int = LOCK_TIMEOUT_MS
    kind: Literal["compensatable", "retriable"] = "compensatable"


class ScopeNode(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="node", tag="scope"
):
    """A savepoint: when something in its body fails, the body alone is undone, and the saga goes on after it.

    `steps.<name>` is `{"failed": false}`, or `{"failed": true, "code": …, "reason": …, "step": …}`.
    """

    name: str
    body: "Node"


Node = (
    StepNode
    | SequenceNode
    | ParallelNode
    | WhenNode
    | ForEachNode
    | WaitNode
    | SleepNode
    | ApprovalNode
    | ChildNode
    | LockNode
    | ScopeNode
)
# What has a name of its own, and a result or a record of its own under it.
NamedNode = StepNode | WhenNode | ForEachNode | WaitNode | SleepNode | ApprovalNode | ChildNode | LockNode | ScopeNode


class Concurrency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many sagas of a definition's name run at once; with a `key` (an expression), how many for each key.

    The others wait, before their first step, in the order of starting; after `timeout_ms` they give up.
    """

    at_once: int
    key: Any = None
    timeout_ms: int = LOCK_TIMEOUT_MS


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
    concurrency: Concurrency | None = None

    @property
    def label(self) -> str:
        """`name@version`, as people say it."""
        return f"{self.name}@{self.version}"

    def steps(self) -> Iterator[StepNode]:
        """Every step, in the order of writing."""
        return steps_of(self.root)


def children_of(node: Node) -> tuple[tuple[str, Node], ...]:
    """The nodes directly in a node, each with its place there (`.nodes[0]`), in the order of writing."""
    match node:
        case SequenceNode(nodes=children):
            return tuple((f".nodes[{index}]", child) for index, child in enumerate(children))
        case ParallelNode(branches=branches):
            return tuple((f".branches[{index}]", branch) for index, branch in enumerate(branches))
        case WhenNode(then=then, otherwise=otherwise):
            return ((".then", then), *_optional(".otherwise", otherwise))
        case ForEachNode(body=body) | ScopeNode(body=body):
            return ((".body", body),)
        case WaitNode(on_timeout=branch):
            return _optional(".on_timeout", branch)
        case ApprovalNode(otherwise=branch):
            return _optional(".otherwise", branch)
        case StepNode() | SleepNode() | ChildNode() | LockNode():
            return ()
        case _:
            assert_never(node)


def _optional(place: str, node: Node | None) -> tuple[tuple[str, Node], ...]:
    return () if node is None else ((place, node),)


def nodes_of(node: Node) -> Iterator[Node]:
    """A node and every node under it, in the order of writing."""
    yield node
    for _, child in children_of(node):
        yield from nodes_of(child)


def steps_of(node: Node) -> Iterator[StepNode]:
    """Every step of a participant under a node, in the order of writing."""
    return (each for each in nodes_of(node) if isinstance(each, StepNode))


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
    for field in _fields_of(type(value)):
        own = getattr(value, field.name)
        default = {} if field.default_factory is dict else field.default
        # A list from a document and a tuple from Python are the same value.
        if (tuple(own) if isinstance(own, list) else own) != default:
            fields[field.name] = _without_defaults(own)
    return fields


# Reading the annotations takes longer than all the rest, and every node asks for them.
_fields_of = cache(msgspec.structs.fields)


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
        path = path.rstrip("`") or "$"
        raise DefinitionError(path, problem + _kinds_expected(path, problem)) from error
    except LimitExceeded as error:
        raise DefinitionError("$", error.problem) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DefinitionError("$", f"not a JSON document: {error}") from error


def _kinds_expected(path: str, problem: str) -> str:
    if not path.endswith(".node") or not problem.startswith("Invalid value"):
        return ""
    if path == "$.root.node":
        return "; the root is a sequence, which holds the other nodes"
    return f"; expected {', '.join(str(kind.__struct_config__.tag) for kind in Node.__args__)}"
