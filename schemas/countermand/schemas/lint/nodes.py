"""What can be judged of one node other than a step, alone: names, keys, durations, who may decide."""

import datetime
import re
from collections.abc import Iterator
from typing import Any, Final

from countermand.schemas.coordination import AT_ONCE_MAX, KEY_MAX
from countermand.schemas.definition import (
    LOCK_TIMEOUT_MS,
    ApprovalNode,
    ChildNode,
    Concurrency,
    Definition,
    ForEachNode,
    LockNode,
    NamedNode,
    SleepNode,
    StepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.identifiers import NAME_MAX, checked_name, checked_slug
from countermand.schemas.lint.limits import (
    DAY_MS,
    DEADLINE_MS_MAX,
    INTEGER_MAX,
    identifier_findings,
)
from countermand.schemas.lint.rules import Finding
from countermand.schemas.moments import MOMENT_MAX_MS
from countermand.schemas.template import is_expression

FOR_EACH_CONCURRENCY_MAX: Final = 1_000  # Each of them is a command that is out, and a timer.
RESERVED_PREFIX: Final = "countermand_"  # Steps that the coordinator adds by itself.

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)\Z")


def own_name_findings(node: NamedNode, path: str) -> Iterator[Finding]:
    """A node's own name, which stands in expressions, and on the wire."""
    yield from identifier_findings("step-name", f"{path}.name", node.name, checked_name)
    if node.name.startswith(RESERVED_PREFIX):
        message = f"names that begin with {RESERVED_PREFIX!r} are the coordinator's own; choose another one"
        yield Finding("reserved-name", f"{path}.name", message)


def concurrency_findings(limit: Concurrency) -> Iterator[Finding]:
    """What is wrong with a definition's own limit."""
    if not 1 <= limit.at_once <= AT_ONCE_MAX:
        message = f"{limit.at_once} sagas at once; expected 1 to {AT_ONCE_MAX}"
        yield Finding("concurrency", "$.concurrency.at_once", message)
    yield from _duration("timeout", limit.timeout_ms, "$.concurrency.timeout_ms", DEADLINE_MS_MAX)
    yield from _key(limit.key, "$.concurrency.key", required=False)


def node_findings(node: NamedNode, path: str, definition: Definition, *, after_pivot: bool) -> Iterator[Finding]:
    """What is wrong with a node's own fields; steps have `limits`."""
    # After the pivot the saga's deadline turns nothing back.
    deadline_ms = None if after_pivot else definition.deadline_ms
    match node:
        case WhenNode():
            if not is_expression(node.condition):
                message = f'expected {{"$": "…"}}, found {_shown(node.condition)}; what is always true is no condition'
                yield Finding("condition", f"{path}.condition", message)
        case ForEachNode():
            yield from _for_each(node, path)
        case WaitNode():
            yield from _wait(node, path, deadline_ms, after_pivot=after_pivot)
        case SleepNode():
            yield from _sleep(node, path, deadline_ms)
        case ApprovalNode():
            yield from _approval(node, path, deadline_ms, after_pivot=after_pivot)
        case ChildNode():
            yield from _child(node, path, deadline_ms)
        case LockNode():
            yield from _lock(node, path, deadline_ms)
        case _:
            return


def step_findings(step: StepNode, path: str) -> Iterator[Finding]:
    """How an action that was given up in doubt is cleared up."""
    if step.on_unknown == "probe" and step.kind == "retriable":
        message = "a retriable step is tried until it is done, so there is never a doubt to clear up; remove on_unknown"
        yield Finding("probe-kind", f"{path}.on_unknown", message)


def _for_each(node: ForEachNode, path: str) -> Iterator[Finding]:
    if not is_expression(node.items) and not isinstance(node.items, list | tuple):
        message = f'expected {{"$": "input.lines"}} or a list, found {_shown(node.items)}'
        yield Finding("items", f"{path}.items", message)
    if not 1 <= node.concurrency <= FOR_EACH_CONCURRENCY_MAX:
        message = f"{node.concurrency} items at once; expected 1 to {FOR_EACH_CONCURRENCY_MAX}"
        yield Finding("for-each-concurrency", f"{path}.concurrency", message)


def _wait(node: WaitNode, path: str, deadline_ms: int | None, *, after_pivot: bool) -> Iterator[Finding]:
    yield from identifier_findings("event-name", f"{path}.event", node.event, checked_name)
    yield from _key(node.key, f"{path}.key", required=False)
    if node.deadline_ms is None and node.on_timeout is not None:
        message = "without deadline_ms the wait never times out, so this branch never runs; give it one"
        yield Finding("unreachable", f"{path}.on_timeout", message)
    else:
        yield from _ends(node.deadline_ms, path, deadline_ms)
    if after_pivot and node.on_timeout is None and node.deadline_ms is not None:
        message = "if nothing comes, there is no way back after the pivot, and a person must help; give it on_timeout"
        yield Finding("timeout-after-pivot", path, message)


def _approval(node: ApprovalNode, path: str, deadline_ms: int | None, *, after_pivot: bool) -> Iterator[Finding]:
    yield from _ends(node.deadline_ms, path, deadline_ms)
    if after_pivot and node.otherwise is None:
        message = "if it is denied, there is no way back after the pivot, and a person must help; give it otherwise"
        yield Finding("timeout-after-pivot", path, message)
    for field, role in (("role", node.role), ("escalate_to", node.escalate_to)):
        if role is not None and not 1 <= len(role) <= NAME_MAX:
            yield Finding("role", f"{path}.{field}", f"{len(role)} characters; expected 1 to {NAME_MAX}")
    listed = isinstance(node.assignees, list | tuple)
    if not is_expression(node.assignees) and not (
        listed and all(isinstance(each, str) or is_expression(each) for each in node.assignees)
    ):
        yield Finding("assignees", f"{path}.assignees", f"expected a list of text, found {_shown(node.assignees)}")
    elif node.role is None and listed and not node.assignees:
        yield Finding("approval-nobody", path, "nobody may decide this; give a role, or assignees")
    yield from _escalation(node, path)


def _escalation(node: ApprovalNode, path: str) -> Iterator[Finding]:
    after_ms, to = node.escalate_after_ms, node.escalate_to
    if (after_ms is None) != (to is None):
        missing = "escalate_after_ms" if after_ms is None else "escalate_to"
        yield Finding("escalation", path, f"an escalation has a time and a role; {missing} is missing")
    elif after_ms is not None:
        if after_ms <= 0:
            yield Finding("escalation", f"{path}.escalate_after_ms", f"{after_ms} ms; a time is above 0")
        elif node.deadline_ms is not None and after_ms >= node.deadline_ms:
            message = f"after {after_ms} ms the deadline, {node.deadline_ms} ms, has passed; escalate before it"
            yield Finding("escalation", f"{path}.escalate_after_ms", message)


def _sleep(node: SleepNode, path: str, deadline_ms: int | None) -> Iterator[Finding]:
    if (node.duration_ms is None) == (node.until is None):
        found = "neither is" if node.until is None else "both are"
        yield Finding("sleep", path, f"a sleep has either duration_ms or until; {found} given")
    elif node.duration_ms is not None:
        if not 0 < node.duration_ms <= DEADLINE_MS_MAX:
            message = f"{node.duration_ms} ms; a sleep is above 0 and at most {DEADLINE_MS_MAX // DAY_MS} days"
            yield Finding("sleep", f"{path}.duration_ms", message)
        else:
            yield from _over_deadline(node.duration_ms, f"{path}.duration_ms", deadline_ms)
    elif not is_expression(node.until) and not _is_moment(node.until):
        message = f"{_shown(node.until)} is no moment; write 2026-01-31T12:00:00Z, or Unix time in milliseconds"
        yield Finding("sleep", f"{path}.until", message)


def _child(node: ChildNode, path: str, deadline_ms: int | None) -> Iterator[Finding]:
    yield from identifier_findings("child-definition", f"{path}.definition", node.definition, checked_slug)
    if node.version is not None and not 1 <= node.version <= INTEGER_MAX:
        yield Finding("child-definition", f"{path}.version", "versions are whole numbers that begin with 1")
    if node.timeout_ms is not None:
        found = list(_duration("timeout", node.timeout_ms, f"{path}.timeout_ms", DEADLINE_MS_MAX))
        yield from found or _over_deadline(node.timeout_ms, f"{path}.timeout_ms", deadline_ms)


def _lock(node: LockNode, path: str, deadline_ms: int | None) -> Iterator[Finding]:
    yield from identifier_findings("lock-name", f"{path}.lock", node.lock, checked_slug)
    yield from _key(node.key, f"{path}.key", required=True)
    found = list(_duration("timeout", node.timeout_ms, f"{path}.timeout_ms", DEADLINE_MS_MAX))
    yield from found
    # Nobody wrote the default with this deadline in mind.
    if not found and node.timeout_ms != LOCK_TIMEOUT_MS:
        yield from _over_deadline(node.timeout_ms, f"{path}.timeout_ms", deadline_ms)


def _ends(own_ms: int | None, path: str, deadline_ms: int | None) -> Iterator[Finding]:
    if own_ms is None:
        if deadline_ms is None:
            message = "this may wait for ever, and nobody is told; give it deadline_ms"
            yield Finding("wait-without-deadline", path, message)
        return
    found = list(_duration("wait-deadline", own_ms, f"{path}.deadline_ms", DEADLINE_MS_MAX))
    yield from found or _over_deadline(own_ms, f"{path}.deadline_ms", deadline_ms)


def _over_deadline(own_ms: int, path: str, deadline_ms: int | None) -> Iterator[Finding]:
    if deadline_ms is not None and 0 < deadline_ms <= own_ms:
        message = f"{own_ms} ms, and the whole saga has {deadline_ms} ms: its deadline comes first; raise deadline_ms"
        yield Finding("wait-over-deadline", path, message)


def _duration(rule: str, value_ms: int, path: str, max_ms: int) -> Iterator[Finding]:
    if not 0 < value_ms <= max_ms:
        yield Finding(rule, path, f"{value_ms} ms; expected more than 0 and at most {max_ms // DAY_MS} days")


def _key(key: Any, path: str, *, required: bool) -> Iterator[Finding]:
    if is_expression(key) or (key is None and not required):
        return
    if isinstance(key, str) and 1 <= len(key) <= KEY_MAX:
        return
    if isinstance(key, int) and not isinstance(key, bool):
        return
    message = f'expected {{"$": "input.order_id"}}, a whole number, or 1 to {KEY_MAX} characters; found {_shown(key)}'
    yield Finding("key", path, message)


def _is_moment(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 <= value <= MOMENT_MAX_MS
    if not isinstance(value, str) or not _MOMENT.match(value):
        return False
    try:
        datetime.datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    match value:
        case str():
            return repr(value if len(value) <= 32 else value[:32] + "…")
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return str(value)
        case int():
            return str(value) if abs(value) <= INTEGER_MAX else "a very large number"
        case list() | tuple():
            return "a list"
        case _:
            return "an object"
