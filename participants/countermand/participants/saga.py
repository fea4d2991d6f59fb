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

import inspect
import sys
import typing
from collections.abc import Callable
from types import NoneType
from typing import Any, TypeVar

from countermand.participants.author_lines import author_line, line_shown
from countermand.participants.branches import denied, otherwise, timed_out, when
from countermand.participants.groups import parallel, scope, sequence
from countermand.participants.literals import template_of
from countermand.participants.loops import for_each
from countermand.participants.reading import unseen_mistake
from countermand.participants.shapes import shape_of
from countermand.participants.spanning import Concurrency, child, lock
from countermand.participants.steps import pivot, step
from countermand.participants.timing import Duration, Retry, duration_ms, milliseconds, policy_of
from countermand.participants.tracing import Trace
from countermand.participants.values import all_of, any_of, collected, contains, is_present, none_of, optional, size
from countermand.participants.waiting import Decision, approval, sleep, sleep_until, wait_for
from countermand.participants.written_saga import Saga
from countermand.schemas import definition as document
from countermand.schemas.definition import (
    STEP_TIMEOUT_MS,
    Definition,
    Node,
    RetryPolicy,
    canonical,
    children_of,
    decode_definition,
    nodes_of,
)
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.identifiers import checked_slug
from countermand.schemas.lint import Finding, errors, lint

__all__ = [
    "saga",
    "step",
    "pivot",
    "parallel",
    "sequence",
    "when",
    "otherwise",
    "for_each",
    "collected",
    "optional",
    "all_of",
    "any_of",
    "none_of",
    "is_present",
    "contains",
    "size",
    "wait_for",
    "timed_out",
    "sleep",
    "sleep_until",
    "approval",
    "denied",
    "Decision",
    "child",
    "scope",
    "lock",
    "Concurrency",
    "Retry",
    "Saga",
    "Duration",
]

In = TypeVar("In")
Out = TypeVar("Out")

_GIVES_VALUE = (step, pivot, wait_for, approval, child, optional, collected)
_STANDS_IN_WITH = (parallel, sequence, when, otherwise, for_each, timed_out, denied, scope)


def saga(
    name: str,
    *,
    version: int,
    deadline: Duration | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    concurrency: Concurrency | int | None = None,
) -> Callable[[Callable[[In], Out]], Saga[In, Out]]:
    """Writes a function down as the saga `name`.

    `version` begins with 1 and changes whenever the content does. When `deadline`, counted from the start, passes
    before the pivot, the saga is compensated. `timeout` and `retry` are for the actions of steps that don't say their
    own; a step after the pivot keeps its own retry all the same, because it is tried until it succeeds. `concurrency`
    is how many of these sagas run at once, in all or for each key.

    Raises:
        DefinitionError: at once, with the line of the author's code and what to write instead.
    """
    place = author_line()
    if type(concurrency) is int:
        concurrency = Concurrency(concurrency)
    elif concurrency is not None and not isinstance(concurrency, Concurrency):
        raise DefinitionError(place, f"concurrency: expected a whole number or Concurrency(…), not {concurrency!r}")
    try:
        checked_slug("name", name)
        deadline_ms = None if deadline is None else milliseconds("deadline", deadline)
        timeout_ms, policy = duration_ms("timeout", timeout, STEP_TIMEOUT_MS), _default_policy(retry)
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
        limits: list[document.Concurrency] = []

        def written(input_: Any) -> Any:
            if concurrency is not None:
                limits.append(concurrency.limit(input_))
            return function(input_)

        outcome = trace.run(
            written, shape_of(input_type, place), lambda value: template_of(value, outcome_shape, "the outcome")
        )
        definition = Definition(1, name, version, trace.root(), deadline_ms, outcome, next(iter(limits), None))
        if findings := errors(lint(definition)):
            raise _unsound(findings, definition, trace, place)
        lines = {name: trace.lines.get(name, place) for name in _names(definition)}
        children = tuple(dict.fromkeys(trace.children))
        return Saga(_read_back(definition, place), input_type, outcome_type, trace.result_types, lines, children)

    return write_down


def _read_through(function: Callable[..., Any]) -> None:
    mistake = unseen_mistake(function, _GIVES_VALUE, _STANDS_IN_WITH)
    if mistake is not None:
        raise DefinitionError(line_shown(function.__code__.co_filename, mistake.line), mistake.problem)


def _default_policy(retry: Retry | None) -> RetryPolicy | None:
    policy = policy_of("retry", retry)
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


def _names(definition: Definition) -> list[str]:
    names = (getattr(node, "name", None) for node in nodes_of(definition.root))
    return [name for name in names if name is not None]


def _line_of(finding: Finding, definition: Definition, trace: Trace) -> str | None:
    """Where the innermost named node was written that a finding is about."""
    node: Node | None = definition.root
    rest, line = finding.path.removeprefix("$.root"), None
    while node is not None:
        line = trace.lines.get(getattr(node, "name", ""), line)
        inside = [(rest[len(at) :], below) for at, below in children_of(node) if _begins(rest, at)]
        rest, node = inside[0] if inside else (rest, None)
    return line


def _begins(path: str, place: str) -> bool:
    return path.startswith(place) and path[len(place) : len(place) + 1] in ("", ".", "[")
