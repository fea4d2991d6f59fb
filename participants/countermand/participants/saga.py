"""Sagas, written as functions.

    @saga("order-fulfilment", version=3, deadline="2h")
    def fulfil(order: Order) -> Receipt:
        stock = step(ReserveStock(order_id=order.id, lines=order.lines))
        with parallel():
            payment = step(AuthorisePayment(order_id=order.id, amount=order.total), timeout="10s")
            quote = step(QuoteShipping(address=order.address))
        pivot(CapturePayment(payment_id=payment.id))
        step(DispatchOrder(reservation_id=stock.reservation_id, quote_id=quote.id))
        return Receipt(order_id=order.id, payment_id=payment.id)

The function runs once, at import, and is written down as a document; `fulfil` is a `Saga[Order, Receipt]`. No worker
ever runs it again, so it needs no care about determinism. See `tracing` for what its values can and can't do.
"""

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType, NoneType
from typing import Any, Generic, TypeVar

import msgspec

from countermand.participants.examples import example
from countermand.participants.literals import template_of
from countermand.participants.reading import unseen_mistake
from countermand.participants.shapes import shape_of
from countermand.participants.timing import Duration, Retry, milliseconds
from countermand.participants.tracing import Group, Trace, author_line, current_trace, line_shown
from countermand.schemas.codec import check_body, decode_body, encode
from countermand.schemas.contract import ResultsIn, command_info, is_command
from countermand.schemas.definition import (
    STEP_TIMEOUT_MS,
    Definition,
    Node,
    ParallelNode,
    RetryPolicy,
    SequenceNode,
    StepKind,
    StepNode,
    canonical,
    decode_definition,
    definition_hash,
)
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.identifiers import checked_name, checked_slug
from countermand.schemas.lint import Finding, errors, lint
from countermand.schemas.models import is_model
from countermand.schemas.stand_ins import is_stand_in
from countermand.schemas.template import parse_path

__all__ = ["saga", "step", "pivot", "parallel", "sequence", "Retry", "Saga", "Duration"]

In = TypeVar("In")
Out = TypeVar("Out")
R = TypeVar("R")

_CHILD = re.compile(r"\.(?:nodes|branches)\[(\d+)\]")


class Saga(Generic[In, Out]):
    """A saga that has been written down. Made by `@saga`.

    `definition` is the document as a value, `document` its canonical bytes, `hash` its identity; `lines` says where
    each step was written (`file:line`).
    """

    def __init__(
        self,
        definition: Definition,
        input_type: Any,
        outcome_type: Any,
        result_types: Mapping[str, Any] = MappingProxyType({}),
        lines: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.definition = definition
        self.document = canonical(definition)
        self.hash = definition_hash(definition)
        self.input_type = input_type
        self.outcome_type = outcome_type
        self._result_types = result_types
        self.lines = lines

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def version(self) -> int:
        return self.definition.version

    def encode_input(self, value: In) -> bytes:
        """The input as JSON, once it is found to be what the saga declares.

        Raises:
            MalformedMessage: names the field that has the wrong type or breaks a limit.
        """
        body = encode(value)
        check_body(body, field="input")
        decode_body(body, self.input_type, field="input")
        return body

    def decode_outcome(self, result: bytes | msgspec.Raw) -> Out:
        """The outcome of a completed saga.

        Raises:
            MalformedMessage: it isn't what the saga declares.
        """
        outcome: Out = decode_body(bytes(result), self.outcome_type, field="outcome")
        return outcome

    def example_results(self) -> dict[str, bytes]:
        """An example of each step's result as JSON, by step; of a type that only its author can judge, none."""
        found = {name: example(type_, name) for name, type_ in self._result_types.items()}
        return {name: value for name, value in found.items() if value is not None}

    def __repr__(self) -> str:
        return f"<Saga {self.definition.label} {self.hash[:12]}>"


def saga(
    name: str,
    *,
    version: int,
    deadline: Duration | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
) -> Callable[[Callable[[In], Out]], Saga[In, Out]]:
    """Writes a function down as the saga `name`.

    `version` begins with 1 and changes whenever the content does. When `deadline`, counted from the start, passes
    before the pivot, the saga is compensated. `timeout` and `retry` are for the actions of steps that don't say their
    own; a step after the pivot keeps its own retry all the same, because it is tried until it succeeds.

    Raises:
        DefinitionError: at once, with the line of the author's code and what to write instead.
    """
    place = author_line()
    try:
        checked_slug("name", name)
        deadline_ms = None if deadline is None else milliseconds("deadline", deadline)
        timeout_ms, policy = _timeout("timeout", timeout, STEP_TIMEOUT_MS), _default_policy(retry)
    except (DefinitionError, InvalidIdentifier) as error:
        raise DefinitionError(place, str(error)) from None
    if type(version) is not int:
        raise DefinitionError(place, f"version: {version!r} is not a whole number")
    scope = sys._getframe(1).f_locals

    def write_down(function: Callable[[In], Out]) -> Saga[In, Out]:
        input_type, outcome_type = _signature(function, scope, place)
        outcome_shape = shape_of(outcome_type, place)
        _read_through(function)
        trace = Trace(name, timeout_ms=timeout_ms, retry=policy)
        outcome = trace.run(
            function, shape_of(input_type, place), lambda value: template_of(value, outcome_shape, "the outcome")
        )
        definition = Definition(1, name, version, trace.root(), deadline_ms, outcome)
        if findings := errors(lint(definition)):
            raise _unsound(findings, definition, trace, place)
        lines = {each.name: trace.line_of(each.name) or place for each in definition.steps()}
        return Saga(_read_back(definition, place), input_type, outcome_type, trace.result_types, lines)

    return write_down


def step(
    command: ResultsIn[R],
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    undo_timeout: Duration | None = None,
    undo_retry: Retry | None = None,
) -> R:
    """Asks for one action of a participant; what it gives stands for the result in later steps.

    `name` is the contract's name unless given; a contract that is used twice needs one. `timeout` (the saga's, or 30 s)
    is for one attempt. `undo_timeout` and `undo_retry` are for the compensation. A step after the pivot can't be undone
    and is tried until it succeeds.

    Raises:
        DefinitionError: with the author's line.
    """
    kind: StepKind = "retriable" if current_trace("step()").pivot_passed else "compensatable"
    result: R = _written("step()", command, kind, name, (timeout, undo_timeout), (retry, undo_retry))
    return result


def pivot(
    command: ResultsIn[R],
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
) -> R:
    """The step that decides the saga: before it everything can be undone, after it everything must succeed.

    Raises:
        DefinitionError: with the author's line.
    """
    result: R = _written("pivot()", command, "pivot", name, (timeout, None), (retry, None))
    return result


def parallel() -> Group:
    """`with parallel():` runs what stands directly in it side by side; `with sequence():` makes a longer branch."""
    return Group("parallel()", parallel=True)


def sequence() -> Group:
    """`with sequence():` inside a parallel is one branch whose steps run one after another."""
    return Group("sequence()", parallel=False)


def _read_through(function: Callable[..., Any]) -> None:
    mistake = unseen_mistake(function, lambda called: called is step or called is pivot, (parallel, sequence))
    if mistake is not None:
        raise DefinitionError(line_shown(function.__code__.co_filename, mistake.line), mistake.problem)


def _written(
    word: str,
    command: Any,
    kind: StepKind,
    name: str | None,
    timeouts: tuple[Duration | None, Duration | None],
    retries: tuple[Retry | None, Retry | None],
) -> Any:
    trace = current_trace(word)
    contract = type(command)
    if not is_command(contract):
        raise DefinitionError(author_line(), f"{word} takes a command, not {_mistaken(command)}")
    try:
        info = command_info(contract)
        step_name = checked_name("name", info.name if name is None else name)
        timeout_ms = _timeout("timeout", timeouts[0], trace.timeout_ms)
        undo_timeout_ms = _timeout("undo_timeout", timeouts[1], STEP_TIMEOUT_MS)
        retry, undo_retry = _policy("retry", retries[0]), _policy("undo_retry", retries[1])
    except (DefinitionError, InvalidIdentifier) as error:
        raise DefinitionError(author_line(), f"{contract.__name__}: {error}") from None
    trace.claim(step_name)
    trace.result_types[step_name] = info.result_type
    undone = kind == "compensatable"
    trace.add(
        StepNode(
            name=step_name,
            participant=info.participant,
            action=info.name,
            input=template_of(command, shape_of(contract, author_line()), contract.__name__),
            kind=kind,
            compensation=info.compensatable or not undone,
            because=info.because if undone else "",
            timeout_ms=timeout_ms,
            retry=trace.retry if retry is None and kind != "retriable" else retry,
            undo_timeout_ms=undo_timeout_ms,
            undo_retry=undo_retry,
        )
    )
    return trace.value(parse_path(f"steps.{step_name}"), shape_of(info.result_type, author_line()))


def _mistaken(value: Any) -> str:
    if is_stand_in(value):
        return "a value of the saga: make a command of it"
    if is_command(value):
        return f"the class: write {value.__name__}(…) with its fields"
    if is_model(type(value)) or dataclasses.is_dataclass(type(value)):
        return f'{type(value).__name__}; write @command(participant="…") above its class'
    return type(value).__name__


def _timeout(field: str, duration: Duration | None, default_ms: int) -> int:
    return default_ms if duration is None else milliseconds(field, duration)


def _policy(field: str, retry: Retry | None) -> RetryPolicy | None:
    if retry is None:
        return None
    if not isinstance(retry, Retry):
        raise DefinitionError(
            field, f"expected Retry(…) from countermand.participants.saga, not {type(retry).__name__}"
        )
    return retry.policy(field)


def _default_policy(retry: Retry | None) -> RetryPolicy | None:
    policy = _policy("retry", retry)
    if policy is not None and policy.attempts_max is None:
        raise DefinitionError("retry.attempts", "a default ends at some time; say attempts=None at the step itself")
    return policy


def _signature(function: Callable[..., Any], scope: dict[str, Any], place: str) -> tuple[Any, Any]:
    """The declared types of the one parameter and of what is returned."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(place, "a saga function is a plain function: drop async and yield")
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 1:
        raise DefinitionError(place, f"a saga function takes one parameter, its input; this one has {len(parameters)}")
    try:
        hints = typing.get_type_hints(function, localns=scope, include_extras=True)
    except NameError as error:
        raise DefinitionError(place, f"an annotation can't be read: {error}") from error
    for part in (parameters[0], "return"):
        if part not in hints:
            what = "what it returns (-> None if nothing)" if part == "return" else f"the type of {part!r}"
            raise DefinitionError(place, f"{function.__name__} has to declare {what}")
    outcome = hints["return"]
    return hints[parameters[0]], NoneType if outcome is None else outcome


def _unsound(findings: list[Finding], definition: Definition, trace: Trace, place: str) -> DefinitionError:
    lines = [(_line_of(finding, definition, trace) or place, finding) for finding in findings]
    first = lines[0][0]
    told = "\n  ".join(f"{line}: {finding}" for line, finding in lines)
    one = f"{findings[0].message} [{findings[0].rule}]"
    return DefinitionError(first, one if len(findings) == 1 else f"{len(findings)} findings:\n  {told}")


def _read_back(definition: Definition, place: str) -> Definition:
    """The definition as the coordinator will read it, limits included."""
    try:
        return decode_definition(canonical(definition))
    except DefinitionError as error:
        raise DefinitionError(place, str(error)) from None


def _line_of(finding: Finding, definition: Definition, trace: Trace) -> str | None:
    """Where the step was written that a finding is about."""
    node: Node = definition.root
    for index in _CHILD.findall(finding.path):
        match node:
            case StepNode():
                break
            case SequenceNode(nodes=children) | ParallelNode(branches=children):
                node = children[int(index)]
    return trace.line_of(node.name) if isinstance(node, StepNode) else None
