"""Where a saga waits: for an event, for a moment, and for a person."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

import msgspec
from msgspec import inspect

from countermand.participants.author_lines import author_line
from countermand.participants.expressions import place
from countermand.participants.groups import claimed
from countermand.participants.literals import template_of
from countermand.participants.regions import Leaf, Pending
from countermand.participants.shapes import ANY, Shape, shape_of, variants
from countermand.participants.timing import Duration, milliseconds
from countermand.participants.tracing import current_trace, is_traced, readable
from countermand.schemas.contract import Event, event_info
from countermand.schemas.definition import ApprovalNode, SleepNode, WaitNode
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.identifiers import checked_name
from countermand.schemas.stand_ins import is_stand_in
from countermand.schemas.template import key_text

E = TypeVar("E", bound=Event)
R = TypeVar("R")


class Decision(msgspec.Struct, frozen=True):
    """What became of an approval: who decided, with which comment, and what."""

    by: str | None
    comment: str
    decision: Literal["approved", "denied", "timed_out"]


@overload
def wait_for(event: type[E], *, deadline: Duration, key: str | int | None = None, name: str | None = None) -> E: ...
@overload
def wait_for(
    event: str, *, payload: type[R], deadline: Duration, key: str | int | None = None, name: str | None = None
) -> R: ...
@overload
def wait_for(event: str, *, deadline: Duration, key: str | int | None = None, name: str | None = None) -> Any: ...
def wait_for(
    event: Any,
    *,
    payload: Any = Any,
    deadline: Duration,
    key: str | int | None = None,
    name: str | None = None,
) -> Any:
    """Waits for an event; what it gives stands for the event.

    Without a `key` it is a signal to this saga; with one, any event of that name and business key. An event that came
    before the saga got here counts. If none has come after `deadline`, what is in `with timed_out(…):` directly after
    it runs; without that the saga turns back. `name` is the event's unless given.

    Raises:
        DefinitionError: with the author's line.
    """
    trace, line = current_trace("wait_for()"), author_line()
    event_name, type_ = _event(event, payload)
    deadline_ms = duration_at("wait_for()", "deadline", deadline)
    key_template = None if key is None else template_of(key, shape_of(str | int, line), "wait_for().key")
    node = WaitNode(claimed(trace, "wait_for()", name or event_name), event_name, deadline_ms, key_template)
    trace.result_types[node.name] = type_
    pending = Pending(node, line)
    trace.add(pending)
    home = (*trace.opened, pending.outcome)
    return trace.value(place(f"steps{key_text(node.name)}", shape_of(type_, line), home))


def sleep(duration: Duration, *, name: str | None = None) -> None:
    """Does nothing for a while."""
    trace = current_trace("sleep()")
    duration_ms = duration_at("sleep()", "duration", duration)
    named = claimed(trace, "sleep()", name or trace.counted_name("sleep"))
    trace.add(Leaf(SleepNode(named, duration_ms=duration_ms)))


def sleep_until(moment: datetime | str | int, *, name: str | None = None) -> None:
    """Does nothing until a moment: a datetime, its RFC 3339 text, or Unix time in milliseconds. It must have a zone."""
    trace, line = current_trace("sleep_until()"), author_line()
    without_zone = "has no zone, so nobody knows which moment it is; write datetime(…, tzinfo=UTC)"
    if not is_traced(moment) and isinstance(moment, datetime) and moment.tzinfo is None:
        raise DefinitionError(line, f"sleep_until(): {moment} {without_zone}")
    if is_traced(moment) and any(_is_naive(variant) for variant in variants(readable(moment).shape)):
        raise DefinitionError(line, f"sleep_until(): {readable(moment).text} is declared without a zone")
    until = template_of(moment, shape_of(datetime | int, line) if _is_moment(moment) else _TEXT_OR_MS, "sleep_until()")
    trace.add(Leaf(SleepNode(claimed(trace, "sleep_until()", name or trace.counted_name("sleep")), until=until)))


def approval(
    name: str,
    *,
    deadline: Duration,
    role: str | None = None,
    assignees: Sequence[str] = (),
    shows: Any = None,
    requester: str | None = None,
    escalate_after: Duration | None = None,
    escalate_to: str | None = None,
) -> Decision:
    """Waits for a person's decision about what `shows` says: a mapping, a list or a Struct.

    Whoever has the `role` or is one of the `assignees` may decide; the `requester` may not. After `escalate_after` the
    role `escalate_to` may decide as well. If it is denied, or nobody decides before the `deadline`, what is in
    `with denied(…):` directly after it runs; without that the saga turns back.

    Raises:
        DefinitionError: with the author's line.
    """
    trace, line, word = current_trace("approval()"), author_line(), "approval()"
    text = shape_of(str, line)
    escalate_after_ms = None if escalate_after is None else duration_at(word, "escalate_after", escalate_after)
    node = ApprovalNode(
        name,
        deadline_ms=duration_at(word, "deadline", deadline),
        shows=None if shows is None else template_of(shows, ANY, "approval().shows"),
        role=role,
        assignees=_assignees(assignees, line),
        requester=None if requester is None else template_of(requester, text, "approval().requester"),
        escalate_after_ms=escalate_after_ms,
        escalate_to=escalate_to,
    )
    claimed(trace, word, name)
    pending = Pending(node, line)
    trace.add(pending)
    home = (*trace.opened, pending.outcome)
    decision: Decision = trace.value(place(f"steps{key_text(name)}", shape_of(Decision, line), home))
    return decision


def duration_at(word: str, field: str, duration: Duration) -> int:
    """The duration in milliseconds.

    Raises:
        DefinitionError: with the author's line.
    """
    try:
        return milliseconds(field, duration)
    except DefinitionError as error:
        raise DefinitionError(author_line(), f"{word}: {error}") from None


_TEXT_OR_MS = inspect.UnionType((inspect.StrType(), inspect.IntType()))


def _event(event: Any, payload: Any) -> tuple[str, Any]:
    """The name of an event and the type of what it tells."""
    if not is_stand_in(event) and isinstance(event, type) and issubclass(event, Event) and event is not Event:
        return event_info(event).name, event
    if is_stand_in(event) or not isinstance(event, str):
        problem = "takes the class of an Event, or an event's name"
        raise DefinitionError(author_line(), f"wait_for() {problem}, not {_kind(event)}")
    try:
        return checked_name("event", event), payload
    except InvalidIdentifier as error:
        raise DefinitionError(author_line(), f"wait_for(): {error}") from None


def _kind(value: object) -> str:
    return "a value of the saga" if is_stand_in(value) else getattr(value, "__name__", type(value).__name__)


def _assignees(assignees: Any, line: str) -> Any:
    if is_traced(assignees) or assignees:
        return template_of(assignees, shape_of(list[str], line), "approval().assignees")
    return ()


def _is_moment(value: Any) -> bool:
    if not is_traced(value):
        return isinstance(value, datetime | int)
    return not any(isinstance(variant, inspect.StrType) for variant in variants(readable(value).shape))


def _is_naive(shape: Shape) -> bool:
    return isinstance(shape, inspect.DateTimeType) and shape.tz is False
