"""The tables of protocol.md, from the code."""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, get_args

import msgspec

from countermand.coordinator.core.decide import SIGNALS_MAX, WATCHERS_MAX
from countermand.coordinator.core.retry import RETRY_AFTER_MAX_MS
from countermand.participants import barrier
from countermand.schemas import (
    announcing,
    codec,
    codes,
    coordination,
    envelope,
    headers,
    identifiers,
    messages,
    operations,
)
from countermand.schemas.headers import Kind
from countermand.schemas.topology import (
    DELIVERY_LIMIT,
    LISTENER_EVENTS_MAX,
    Declarations,
    Topology,
)
from countermand.wire import dead

TOPOLOGY: Final = Topology()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(value: object) -> str:
    return f"`{value}`"


def tables() -> dict[str, str]:
    """Every table by the name of its place in the document."""
    made: dict[str, Callable[[], str]] = {
        "exchanges": _exchanges,
        "queues": _queues,
        "kinds": _kinds,
        "forms": _forms,
        "limits": _limits,
        "barrier": _barrier,
        "operations": _operations,
        "answers": _answers,
        "announcement": _announcement,
        "lifecycle": _lifecycle,
        "refusals": _refusals,
    }
    plain: dict[str, Mapping[str, str]] = {
        "rejected": codes.REJECTED_CODES,
        "failed": codes.FAILED_CODES,
        "attempts": codes.ATTEMPT_CODES,
        "coordinator": codes.COORDINATOR_CODES,
        "failures": codes.FAILURE_CODES,
        "stuck": codes.STUCK_CAUSES,
    }
    return {
        **{name: make() for name, make in made.items()},
        **{name: table(("Code", "Meaning"), [(code(k), v) for k, v in found.items()]) for name, found in plain.items()},
        **{f"headers-{kind.name}": _headers(kind) for kind in headers.KINDS},
    }


# --- topology


def _exchanges() -> str:
    keys = {
        TOPOLOGY.commands_exchange: "the participant's name",
        TOPOLOGY.inbox_exchange: "the shard (rule T4)",
        TOPOLOGY.lifecycle_exchange: "`<definition>.<event>`, such as `order-fulfilment.saga.completed`",
        TOPOLOGY.dead_exchange: "any",
    }
    return table(
        ("Exchange", "Type", "Durable", "Routing key"),
        [(code(each.name), each.type, "yes", keys[each.name]) for each in TOPOLOGY.common().exchanges],
    )


def _queues() -> str:
    parts: tuple[tuple[Declarations, str], ...] = (
        (TOPOLOGY.common(), "everybody"),
        (TOPOLOGY.participant("<participant>"), "the participant, and the coordinators"),
        (TOPOLOGY.client("<id>"), "the client that it belongs to"),
        (TOPOLOGY.listener("<id>"), "the listener that it belongs to"),
    )
    rows = []
    for declared, who in parts:
        for queue in declared.queues:
            bound = [(each.exchange, each.routing_key) for each in declared.bindings if each.queue == queue.name]
            bindings = (
                "<br>".join(f"{code(exchange)}, {f'key `{key}`' if key else 'any key'}" for exchange, key in bound)
                or "none (the default exchange)"
            )
            arguments = "<br>".join(code(f"{name}: {value}") for name, value in queue.arguments.items()) or "none"
            kind = "exclusive, not durable" if queue.exclusive else "durable"
            rows.append((code(queue.name), kind, arguments, bindings, who))
    return table(("Queue", "Kind", "Arguments", "Bound to", "Declared by"), rows)


# --- messages


def _kinds() -> str:
    return table(
        ("Message", "`ce-type`", "From", "To", "Body"),
        [
            (
                f"[{kind.name}](#{kind.name})",
                code(kind.type + ("…" if kind.type.endswith(".") else "")),
                kind.sender,
                kind.receiver,
                kind.body,
            )
            for kind in headers.KINDS
        ],
    )


def _headers(kind: Kind) -> str:
    needs = {"required": "yes", "sent": "to send", "optional": "no"}
    return table(
        ("Header", "Form", "Needed", "Meaning"),
        [(code(each.name), each.form, needs[each.need], each.meaning) for each in kind.headers],
    )


def _forms() -> str:
    words: dict[str, str] = {
        "text": "text that isn't empty",
        "whole": "a whole number from 0 on, at most 18 digits, in decimal",
        "positive": "a whole number from 1 on",
        "saga_id": code(_expression(identifiers._SAGA_ID)),
        "name": code(_expression(identifiers._NAME)),
        "step": f"a name, then at most {identifiers.LOOPS_MAX} places such as `[17]`: numbers of at most 5 digits",
        "slug": code(_expression(identifiers._SLUG)),
        "label": "`<slug>@<version>`",
        "direction": _either(identifiers.DIRECTIONS),
        "true": "`true`; anything else means the same as nothing",
        "tags": f"at most {identifiers.TAGS_MAX}, each {code(_expression(identifiers._TAG))}, separated by commas",
        "business_key": f"1 to {coordination.KEY_MAX} characters, no control characters",
        "moment": "RFC 3339",
        "protocol": code(messages.PROTOCOL),
    }
    return table(("Form", "What it is"), [(form, words[form]) for form in get_args(headers.Form)])


def _either(words: Sequence[str]) -> str:
    *first, last = (code(each) for each in words)
    return f"{', '.join(first)} or {last}"


def _expression(compiled: re.Pattern[str]) -> str:
    return compiled.pattern.removesuffix("\\Z").replace("\\-", "-")


def _limits() -> str:
    kibi = 1024
    announcement = (
        f"{announcing.ANNOUNCEMENT_BYTES_MAX // kibi} KiB, {announcing.ANNOUNCED_ACTIONS_MAX} actions, "
        f"{announcing.LIBRARY_MAX} characters of `library`"
    )
    operator = f"{operations.ACTOR_MAX}, {operations.WHY_MAX} and {operations.WHY_MAX} characters"
    return table(
        ("What", "Limit"),
        [
            ("a body", f"{codec.BODY_BYTES_MAX // kibi} KiB"),
            ("the body of an `undo`", f"{codec.UNDO_BYTES_MAX} bytes: a command and a result, each as large as a body"),
            ("an announcement", announcement),
            ("nesting of JSON", f"{codec.JSON_DEPTH_MAX} levels; {codec.UNDO_DEPTH_MAX} in the body of an `undo`"),
            ("headers", f"{codec.HEADERS_MAX}, and {codec.HEADERS_BYTES_MAX // kibi} KiB of names and values together"),
            ("a saga id", f"{identifiers.SAGA_ID_MAX} characters"),
            ("a name (step, action, signal) or slug (participant, definition)", f"{identifiers.NAME_MAX} characters"),
            ("a step with its places", f"{identifiers.STEP_MAX} characters"),
            ("a key", f"{identifiers.SAGA_ID_MAX + 1 + identifiers.STEP_MAX + identifiers.KEY_MARK_MAX} characters"),
            ("a code", f"{envelope.CODE_MAX} characters; what is longer is cut"),
            ("a reason", f"{envelope.REASON_MAX} characters; what is longer is cut"),
            ("an operator's name, reason and evidence", operator),
            ("deliveries of one message", f"{DELIVERY_LIMIT}, then it is dead-lettered"),
            ("what `retry_after_ms` can ask for", f"{RETRY_AFTER_MAX_MS // 3_600_000} hours"),
            ("the reason on a dead letter", f"{dead.REASON_MAX} characters"),
            ("shards of the coordinator inbox", identifiers.INBOX_SHARDS),
            ("queues that wait for the outcome of one saga", WATCHERS_MAX),
            ("signals kept for one saga", SIGNALS_MAX),
            ("events that wait for one listener", f"{LISTENER_EVENTS_MAX}; the oldest are dropped"),
        ],
    )  # fmt: skip


# --- the barrier

_DO_ROWS: Final[tuple[tuple[str, barrier.Row | None], ...]] = (
    ("none", None),
    ("begun", barrier.BEGUN),
    ("succeeded", messages.Succeeded(msgspec.Raw(b'"result"'))),
    ("rejected", messages.Rejected("code")),
    ("tombstone", barrier.TOMBSTONE),
)
_UNDO_ROWS: Final[tuple[tuple[str, barrier.Row | None], ...]] = (
    ("none", None),
    ("begun", barrier.BEGUN),
    ("succeeded", barrier.UNDONE),
)


def _barrier() -> str:
    rows = []
    for (do_name, do), (undo_name, undo) in itertools.product(_DO_ROWS, _UNDO_ROWS):
        if do is None and undo is not None:
            continue  # The rows of a key are written together.
        found = barrier.Rows(do, undo)
        rows.append((do_name, undo_name, *(_verdicts(found, direction) for direction in identifiers.DIRECTIONS)))
    return table(("`do` row", "`undo` row", "a `do` comes", "an `undo` comes", "a `probe` comes"), rows)


def _verdicts(found: barrier.Rows, direction: identifiers.Direction) -> str:
    in_time = _verdict(barrier.admit(found, direction, expired=False), found, direction)
    late = _verdict(barrier.admit(found, direction, expired=True), found, direction)
    return in_time if late == in_time else f"{in_time}; too late: {late}"


def _verdict(admission: barrier.Admission, found: barrier.Rows, direction: identifiers.Direction) -> str:
    written = _written(admission.rows, found)
    match admission.verdict:
        case barrier.Proceed(begun_before=begun) if direction == "probe":
            return "**ask**" + (" after an attempt that began" if begun else "") + written
        case barrier.Proceed(action_was_done=done, result=result, begun_before=begun):
            detail = (
                "with the result" if done and result is not None else "after an attempt that began" if begun else ""
            )
            return f"**run** {detail}".strip() + written
        case barrier.Duplicate():
            return "**replay** the outcome on record" + written
        case barrier.RefusedCompensated():
            return "**refuse**: `rejected`, `compensated`" + written
        case barrier.NothingToUndo():
            return "**nothing to undo**: `succeeded`" + written
        case barrier.NotDone():
            return "`rejected`, `not_done`" + written
        case barrier.InProgress():
            return "**wait**: `failed`, `in_progress`" + written
        case barrier.Expired(untouched=untouched):
            return "`failed`, `expired`" + (", `rolled_back`" if untouched else "") + written


def _written(rows: barrier.Rows | None, found: barrier.Rows) -> str:
    if rows is None:
        return ""
    names = {barrier.Begun: "begun", barrier.Tombstone: "tombstone", messages.Succeeded: "succeeded"}
    new = [
        f"`{direction}` {names[type(row)]}"
        for direction, row, old in (("do", rows.do, found.do), ("undo", rows.undo, found.undo))
        if row is not None and row != old
    ]
    return f"; write {' and '.join(new)}" if new else ""


# --- requests, answers, events


def _fields(type_: type[msgspec.Struct]) -> str:
    fields = msgspec.structs.fields(type_)
    return ", ".join(code(each.name) + ("" if each.required else "?") for each in fields) or "none"


def _sentence(type_: type) -> str:
    return (type_.__doc__ or "").split(".")[0].replace("\n", " ").strip() + "."


def _operations() -> str:
    return table(
        ("`operation`", "Other fields", "What it asks for"),
        [(code(each.__struct_config__.tag), _fields(each), _sentence(each)) for each in get_args(operations.Operation)],
    )


def _answers() -> str:
    return table(
        ("`answer`", "Other fields", "Meaning"),
        [(code(each.__struct_config__.tag), _fields(each), _sentence(each)) for each in get_args(messages.Answer)],
    )


def _announcement() -> str:
    return table(
        ("Object", "Fields"),
        [("the body", _fields(messages.AnnounceMessage)), ("each of `actions`", _fields(messages.AnnouncedAction))],
    )


def _lifecycle() -> str:
    return table(
        ("Event", "Fields of the body"),
        [
            (code(name), ", ".join(code(field) for field in fields) or "none")
            for name, fields in codes.LIFECYCLE_FIELDS.items()
        ],
    )


def _refusals() -> str:
    return table(
        ("Code", "Answers", "Meaning"),
        [(code(name), requests, meaning) for name, (requests, meaning) in codes.REFUSAL_CODES.items()],
    )
