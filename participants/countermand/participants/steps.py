"""The steps of a saga: actions of participants, and the one that decides it."""

import dataclasses
from typing import Any, TypeVar

import msgspec

from countermand.participants.author_lines import author_line
from countermand.participants.expressions import place
from countermand.participants.literals import template_of
from countermand.participants.regions import Leaf
from countermand.participants.shapes import shape_of
from countermand.participants.timing import Duration, Retry, duration_ms, policy_of
from countermand.participants.tracing import Trace, current_trace
from countermand.schemas.contract import CommandInfo, ResultsIn, command_info, is_command
from countermand.schemas.definition import STEP_TIMEOUT_MS, OnUnknown, StepKind, StepNode
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.identifiers import checked_name
from countermand.schemas.models import is_model
from countermand.schemas.stand_ins import is_stand_in
from countermand.schemas.template import key_text

R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class _Options:
    """What an author may say of a step beside its command."""

    name: str | None
    timeout: Duration | None
    retry: Retry | None
    on_unknown: OnUnknown
    undo_timeout: Duration | None = None
    undo_retry: Retry | None = None


def step(
    command: ResultsIn[R],
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    undo_timeout: Duration | None = None,
    undo_retry: Retry | None = None,
    on_unknown: OnUnknown = "compensate",
) -> R:
    """Asks for one action of a participant; what it gives stands for the result in later steps.

    `name` is the contract's name unless given; a contract that is used twice needs one. `timeout` (the saga's, or 30 s)
    is for one attempt. `undo_timeout` and `undo_retry` are for the compensation. With `on_unknown="probe"` an action
    that was given up in doubt is asked about before it is compensated. A step after the pivot can't be undone and is
    tried until it succeeds.

    Raises:
        DefinitionError: with the author's line.
    """
    options = _Options(name, timeout, retry, on_unknown, undo_timeout, undo_retry)
    result: R = _written("step()", command, kind_here("step()"), options)
    return result


def pivot(
    command: ResultsIn[R],
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    on_unknown: OnUnknown = "compensate",
) -> R:
    """The step that decides the saga: before it everything can be undone, after it everything must succeed.

    Raises:
        DefinitionError: with the author's line.
    """
    result: R = _written("pivot()", command, "pivot", _Options(name, timeout, retry, on_unknown))
    return result


def kind_here(word: str) -> StepKind:
    """What kind of step stands here, by whether the pivot is behind it."""
    return "retriable" if current_trace(word).pivot_passed else "compensatable"


def _written(word: str, command: Any, kind: StepKind, options: _Options) -> Any:
    trace = current_trace(word)
    contract = type(command)
    if not is_command(contract):
        raise DefinitionError(author_line(), f"{word} takes a command, not {_mistaken(command)}")
    try:
        info = command_info(contract)
        node = _node(trace, info, kind, options)
    except (DefinitionError, InvalidIdentifier) as error:
        raise DefinitionError(author_line(), f"{contract.__name__}: {error}") from None
    trace.claim(node.name)
    trace.result_types[node.name] = info.result_type
    body = template_of(command, shape_of(contract, author_line()), contract.__name__)
    trace.add(Leaf(msgspec.structs.replace(node, input=body)))
    trace.pivot_passed = trace.pivot_passed or kind == "pivot"
    shape = shape_of(info.result_type, author_line())
    return trace.value(place(f"steps{key_text(node.name)}", shape, trace.opened))


def _node(trace: Trace, info: CommandInfo, kind: StepKind, options: _Options) -> StepNode:
    undone = kind == "compensatable"
    retry = policy_of("retry", options.retry)
    if options.on_unknown not in ("compensate", "probe"):
        raise DefinitionError("on_unknown", f"{options.on_unknown!r} is neither 'compensate' nor 'probe'")
    return StepNode(
        name=checked_name("name", info.name if options.name is None else options.name),
        participant=info.participant,
        action=info.name,
        kind=kind,
        compensation=info.compensatable or not undone,
        because=info.because if undone else "",
        timeout_ms=duration_ms("timeout", options.timeout, trace.timeout_ms),
        retry=trace.retry if retry is None and kind != "retriable" else retry,
        undo_timeout_ms=duration_ms("undo_timeout", options.undo_timeout, STEP_TIMEOUT_MS),
        undo_retry=policy_of("undo_retry", options.undo_retry),
        on_unknown=options.on_unknown,
    )


def _mistaken(value: Any) -> str:
    if is_stand_in(value):
        return "a value of the saga: make a command of it"
    if is_command(value):
        return f"the class: write {value.__name__}(…) with its fields"
    if is_model(type(value)) or dataclasses.is_dataclass(type(value)):
        return f'{type(value).__name__}; write @command(participant="…") above its class'
    return type(value).__name__
