"""What is different between two versions of one node, field by field."""

from collections.abc import Iterator

from countermand.coordinator.operate.definitions.changes import Change, changed, template_changed, value_changed
from countermand.coordinator.operate.definitions.words import asked_of, child_text, duration_text, sleep_text
from countermand.coordinator.operate.durations import written
from countermand.schemas.definition import (
    ApprovalNode,
    ChildNode,
    ForEachNode,
    LockNode,
    NamedNode,
    Node,
    RetryPolicy,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)


def field_changes(name: str, old: NamedNode, new: NamedNode) -> Iterator[Change]:
    """The differences of two nodes of the same sort, that of what is inside them left out."""
    match old, new:
        case StepNode(), StepNode():
            yield from _step(name, old, new)
        case WhenNode(), WhenNode():
            yield from value_changed("condition", name, "condition", old.condition, new.condition)
            yield from _branch(name, "otherwise", old.otherwise, new.otherwise)
        case ForEachNode(), ForEachNode():
            yield from value_changed("items", name, "items", old.items, new.items)
            yield from changed("concurrency", name, "at once", old.concurrency, new.concurrency)
        case WaitNode(), WaitNode():
            yield from _wait(name, old, new)
        case SleepNode(), SleepNode():
            yield from changed("pause", name, "pause", sleep_text(old), sleep_text(new))
        case ApprovalNode(), ApprovalNode():
            yield from _approval(name, old, new)
        case ChildNode(), ChildNode():
            yield from _child(name, old, new)
        case LockNode(), LockNode():
            yield from changed("lock", name, "lock", old.lock, new.lock)
            yield from value_changed("key", name, "key", old.key, new.key)
            yield from changed("timeout", name, "timeout", written(old.timeout_ms), written(new.timeout_ms))
            yield from changed("kind", name, "kind", old.kind, new.kind)
        case _:
            return  # A scope has nothing but its name and its body.


def _step(name: str, old: StepNode, new: StepNode) -> Iterator[Change]:
    yield from changed("route", name, "participant", old.participant, new.participant)
    yield from changed("contract", name, "action", old.action, new.action)
    yield from changed("kind", name, "kind", old.kind, new.kind)
    yield from changed("compensation", name, "compensation", _compensation(old), _compensation(new))
    yield from changed("in_doubt", name, "in doubt", old.on_unknown, new.on_unknown)
    yield from changed("timeout", name, "timeout", written(old.timeout_ms), written(new.timeout_ms))
    before, after = written(old.undo_timeout_ms), written(new.undo_timeout_ms)
    yield from changed("timeout", name, "timeout of the compensation", before, after)
    yield from changed("retry", name, "retry", _retry(old.retry_policy("do")), _retry(new.retry_policy("do")))
    before, after = _retry(old.retry_policy("undo")), _retry(new.retry_policy("undo"))
    yield from changed("retry", name, "retry of the compensation", before, after)
    yield from template_changed("input", name, "input", old.input, new.input)


def _wait(name: str, old: WaitNode, new: WaitNode) -> Iterator[Change]:
    yield from changed("event", name, "event", old.event, new.event)
    yield from value_changed("key", name, "key", old.key, new.key)
    yield from _deadline(name, old.deadline_ms, new.deadline_ms)
    yield from _branch(name, "on timeout", old.on_timeout, new.on_timeout)


def _approval(name: str, old: ApprovalNode, new: ApprovalNode) -> Iterator[Change]:
    yield from changed("approvers", name, "who decides", asked_of(old), asked_of(new))
    yield from value_changed("approvers", name, "who may not decide", old.requester, new.requester)
    yield from template_changed("shown", name, "what is shown", old.shows, new.shows)
    yield from _deadline(name, old.deadline_ms, new.deadline_ms)
    yield from changed("escalation", name, "escalation", _escalation(old), _escalation(new))
    yield from _branch(name, "otherwise", old.otherwise, new.otherwise)


def _child(name: str, old: ChildNode, new: ChildNode) -> Iterator[Change]:
    yield from changed("child", name, "child", child_text(old), child_text(new))
    yield from changed("kind", name, "kind", old.kind, new.kind)
    yield from changed("compensation", name, "compensation", _compensation(old), _compensation(new))
    yield from changed("timeout", name, "timeout", duration_text(old.timeout_ms), duration_text(new.timeout_ms))
    yield from template_changed("input", name, "input", old.input, new.input)


def _deadline(name: str, old_ms: int | None, new_ms: int | None) -> Iterator[Change]:
    yield from changed("deadline", name, "deadline", duration_text(old_ms), duration_text(new_ms))


def _branch(name: str, branch: str, old: Node | None, new: Node | None) -> Iterator[Change]:
    if (old is None) != (new is None):
        yield Change("branch", name, f"branch {branch}: {'removed' if new is None else 'added'}")


def _escalation(node: ApprovalNode) -> str:
    if node.escalate_after_ms is None:
        return "none"
    return f"after {written(node.escalate_after_ms)} to role {node.escalate_to or 'none'}"


def _retry(policy: RetryPolicy) -> str:
    attempts = "without end" if policy.attempts_max is None else f"{policy.attempts_max} attempts"
    pauses = (
        f"pauses {written(policy.backoff_ms)} growing {policy.multiplier}-fold up to {written(policy.backoff_max_ms)}"
    )
    return f"{attempts}, {pauses}, jitter {policy.jitter_percent}%"


def _compensation(node: StepNode | ChildNode) -> str:
    if node.kind != "compensatable":
        return "not needed"
    return "yes" if node.compensation else f"none ({node.because})"
