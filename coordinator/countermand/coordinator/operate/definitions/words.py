"""What each node of a definition does, in words: the same in pictures, in tables and in comparisons."""

from typing import Any, Final, assert_never

import msgspec

from countermand.coordinator.operate.durations import written
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    Concurrency,
    Definition,
    ForEachNode,
    LockNode,
    NamedNode,
    Node,
    ParallelNode,
    ScopeNode,
    SequenceNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.template import is_expression

VALUE_SHOWN_MAX: Final = 120  # A longer literal fills the screen and says no more.

TURNS_BACK: Final = "else turns back"


def value_text(value: Any) -> str:
    """The beginning of what `whole_text` gives, as much as is read at a glance."""
    text = whole_text(value)
    return text if len(text) <= VALUE_SHOWN_MAX else text[: VALUE_SHOWN_MAX - 1] + "…"


def whole_text(value: Any) -> str:
    """Expressions as they were written, literals as JSON."""
    if is_expression(value):
        return str(value["$"])
    if isinstance(value, dict):
        return "{" + ", ".join(f"{whole_text(key)}: {whole_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(whole_text, value)) + "]"
    return msgspec.json.encode(value).decode()


def duration_text(duration_ms: int | None) -> str:
    """A duration, or that there is none."""
    return "none" if duration_ms is None else written(duration_ms)


def kind_of(node: Node) -> str:
    """What sort of node it is, as people say it."""
    match node:
        case WaitNode():
            return "wait"
        case ForEachNode():
            return "for each"
        case ChildNode():
            return "child"
        case _:
            return str(node.__struct_config__.tag)


def what_of(node: Node) -> str:
    """What a node does, in one line."""
    match node:
        case StepNode():
            return f"{node.participant}.{node.action}"
        case SequenceNode():
            return "one after another"
        case ParallelNode():
            return "side by side"
        case WhenNode():
            return f"when {whole_text(node.condition)}"
        case ForEachNode():
            return f"for each of {whole_text(node.items)}, {node.concurrency} at once"
        case WaitNode():
            return f"waits for {node.event}" + (f", key {whole_text(node.key)}" if node.key is not None else "")
        case SleepNode():
            return sleep_text(node)
        case ApprovalNode():
            return "approval: " + ", ".join((asked_of(node), *_approval_notes(node)))
        case ChildNode():
            return f"child {child_text(node)}"
        case LockNode():
            return f"lock {node.lock}, key {whole_text(node.key)}"
        case ScopeNode():
            return "scope: undone alone"
        case _:
            assert_never(node)


def facts_of(node: NamedNode) -> tuple[str, ...]:
    """What stands below a node's name in a picture, a line each."""
    match node:
        case StepNode():
            route = node.participant if node.action == node.name else f"{node.participant} · {node.action}"
            return (route, "in doubt: asked what became of it") if node.on_unknown == "probe" else (route,)
        case WhenNode():
            return (value_text(node.condition),)
        case WaitNode():
            key = () if node.key is None else (f"key {value_text(node.key)}",)
            return (f"waits for {node.event}", *key, *_patience(node.deadline_ms, turns_back=node.on_timeout is None))
        case ApprovalNode():
            patience = _patience(node.deadline_ms, turns_back=node.otherwise is None)
            return (asked_of(node), *_approval_notes(node), *patience)
        case ChildNode():
            return (child_text(node), *_patience(node.timeout_ms, turns_back=False))
        case LockNode():
            key_line = f"lock {node.lock}, key {value_text(node.key)}"
            return (key_line, *_patience(node.timeout_ms, turns_back=True))
        case ForEachNode() | SleepNode() | ScopeNode():
            return (what_of(node),)
        case _:
            assert_never(node)


def waits_of(node: Node) -> str:
    """How long a node waits at most, and how often it is tried."""
    match node:
        case StepNode():
            attempts = node.retry_policy("do").attempts_max
            tries = "no end" if attempts is None else f"{attempts}x"
            return f"{written(node.timeout_ms)}, {tries}"
        case WaitNode(deadline_ms=wait_ms) | ApprovalNode(deadline_ms=wait_ms) | ChildNode(timeout_ms=wait_ms):
            return "" if wait_ms is None else written(wait_ms)
        case LockNode(timeout_ms=timeout_ms):
            return written(timeout_ms)
        case _:
            return ""


def role_of(node: Node) -> str:
    """The part that a node has in turning back: its kind, or that it may be the one that turns the saga back."""
    match node:
        case StepNode() | ChildNode():
            return kind_text(node)
        case LockNode(kind=kind):
            return "" if kind == "compensatable" else kind
        case WaitNode(on_timeout=None) | ApprovalNode(otherwise=None):
            return "or turns back"
        case _:
            return ""


def kind_text(node: StepNode | ChildNode) -> str:
    """The kind, or that what was done stays done."""
    return node.kind if node.kind != "compensatable" or node.compensation else "never undone"


def branch_text(node: Node, place: str) -> str:
    """When the branch at a place (`.then`) of a node is taken; nothing for what isn't a branch."""
    match node, place:
        case WhenNode(), ".then":
            return "then"
        case WhenNode(), _:
            return "otherwise"
        case WaitNode(), _:
            return "when nothing came"
        case ApprovalNode(), _:
            return "when not approved"
        case _:
            return ""


def sleep_text(node: SleepNode) -> str:
    if node.until is not None:
        return f"sleeps until {value_text(node.until)}"
    return f"sleeps for {duration_text(node.duration_ms)}"


def asked_of(node: ApprovalNode) -> str:
    """Who may decide."""
    assignees = node.assignees
    people = [value_text(assignees)] if is_expression(assignees) else _people(assignees)
    roles = [f"role {node.role}"] if node.role else []
    return f"asks {' or '.join((*roles, *people)) or 'nobody'}"


def child_text(node: ChildNode) -> str:
    return f"saga {node.definition}" + ("" if node.version is None else f"@{node.version}")


def limit_text(limit: Concurrency | None) -> str:
    """How many sagas run at once."""
    if limit is None:
        return "no limit"
    each = "" if limit.key is None else f" for each {value_text(limit.key)}"
    return f"{limit.at_once} at once{each}, waiting up to {written(limit.timeout_ms)}"


def saga_facts(definition: Definition) -> tuple[str, ...]:
    """What holds for the whole saga."""
    deadline = () if definition.deadline_ms is None else (f"deadline {written(definition.deadline_ms)}",)
    limit = () if definition.concurrency is None else (limit_text(definition.concurrency),)
    return (*deadline, *limit)


def _people(assignees: Any) -> list[str]:
    if not isinstance(assignees, list | tuple):
        return [value_text(assignees)]
    return [each if isinstance(each, str) else value_text(each) for each in assignees]


def _approval_notes(node: ApprovalNode) -> tuple[str, ...]:
    notes = () if node.requester is None else (f"not {value_text(node.requester)}",)
    if node.escalate_after_ms is not None:
        notes = (*notes, f"after {written(node.escalate_after_ms)} also role {node.escalate_to or 'none'}")
    return notes


def _patience(wait_ms: int | None, *, turns_back: bool) -> tuple[str, ...]:
    """How long, and what then, where no branch says it."""
    most = [] if wait_ms is None else [f"at most {written(wait_ms)}"]
    line = ", ".join((*most, *([TURNS_BACK] if turns_back else [])))
    return (line,) if line else ()
