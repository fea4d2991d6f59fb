"""Traced values: what a saga function holds while it is written down as a document.

Rules of tracing:

- The saga function runs once, when the module is imported, and never again. What it holds are expressions
  (`input.order.id`, `input.total > 1000`), not data; whatever would need the data raises a DefinitionError that names
  the author's line.
- A traced value belongs to the one run in which it came to be.
- `is` and `is not` can't be seen from here. `assert value is not None` therefore narrows an optional value for the
  type checker; whether it is null shows when the saga runs.
"""

import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, NoReturn

from countermand.participants import operators
from countermand.participants.author_lines import author_line, called_by_author, is_library, raised_at
from countermand.participants.constructing import models_take_traced_values
from countermand.participants.expressions import Expression, child, enclosing, place
from countermand.participants.misuses import IN_POST_INIT, LOOKED_AT, MISUSES, explained
from countermand.participants.regions import Region, Written
from countermand.participants.shapes import Shape, attribute, describe, entry, is_nothing
from countermand.schemas.definition import STEP_TIMEOUT_MS, RetryPolicy, SequenceNode
from countermand.schemas.errors import DefinitionError
from countermand.schemas.models import is_models_complaint
from countermand.schemas.stand_ins import StandIn
from countermand.schemas.template import Key

# Stands in the repr of every traced value, so that text made from one is recognised in a literal.
MARK: Final = "<traced "

_current: ContextVar["Trace | None"] = ContextVar("countermand_trace", default=None)


def current_trace(what: str) -> "Trace":
    """The run that is under way.

    Raises:
        DefinitionError: `what` is used outside a saga function.
    """
    trace = _current.get()
    if trace is None:
        raise DefinitionError(author_line(), f"{what} stands inside a function decorated with @saga")
    return trace


class Trace:
    """One run of one saga function.

    `timeout_ms` and `retry` are for steps that say nothing of their own.
    """

    def __init__(self, label: str, *, timeout_ms: int = STEP_TIMEOUT_MS, retry: RetryPolicy | None = None) -> None:
        self.label = label
        self.timeout_ms = timeout_ms
        self.retry = retry
        # The first misuse that came from the author's own line. If they catch it, the document would be wrong.
        self.misuse: DefinitionError | None = None
        self.pivot_passed = False
        # The declared type of each step's result: a document doesn't say it.
        self.result_types: dict[str, Any] = {}
        # The sagas that this one starts, where they were given as such.
        self.children: list[Any] = []
        # Where each named node was written.
        self.lines: dict[str, str] = {}
        self._root = Region("the saga", "")
        self._open = [self._root]

    def run(self, function: Callable[[Any], Any], input_shape: Shape, finish: Callable[[Any], Any]) -> Any:
        """Runs the function on a traced input; gives what `finish` makes of what it returns."""
        if _current.get() is not None:
            raise DefinitionError(author_line(), "a saga function can't be defined inside another one")
        token = _current.set(self)
        try:
            with models_take_traced_values(lambda: _current.get() is not None, author_line):
                finished = finish(_called(function, self.value(place("input", input_shape))))
        finally:
            _current.reset(token)
        if self.misuse is not None:
            raise self.misuse
        return finished

    @property
    def opened(self) -> tuple[Region, ...]:
        """The regions that are being written, the outermost first."""
        return tuple(self._open)

    def enter(self, region: Region) -> None:
        self._open.append(region)

    def leave(self) -> None:
        self._open.pop()

    def add(self, written: Written) -> None:
        self._open[-1].written.append(written)

    def last(self) -> Written | None:
        """What stands directly before what is written next."""
        written = self._open[-1].written
        return written[-1] if written else None

    def claim(self, name: str) -> None:
        """Takes a name, which must still be free."""
        if name in self.lines:
            used, here = self.lines[name], author_line()
            mend = 'write name="…" on one of them'
            if used == here:
                mend = 'the line ran twice, so each run has to give it another name: name=f"…_{index}"'
            raise DefinitionError(here, f"the step name {name!r} is already used at {used}; {mend}")
        self.lines[name] = author_line()

    def counted_name(self, word: str) -> str:
        """The first of `word_1`, `word_2`, … that is free."""
        number = 1
        while f"{word}_{number}" in self.lines:
            number += 1
        return f"{word}_{number}"

    def value(self, expression: Expression) -> Any:
        return Traced(self, expression)

    def root(self) -> SequenceNode:
        """What was written down."""
        return SequenceNode(self._root.children())


def _refusal(use: str, advice: str) -> Callable[..., NoReturn]:
    def refuse(value: Any, *_: object, **__: object) -> NoReturn:
        _require_live(value)
        user = sys._getframe(1).f_code
        named = f"{_shown(value)} is used"
        if is_library(user.co_filename):
            raise DefinitionError(author_line(), f"{named} by {called_by_author()}(): {LOOKED_AT}")
        if user.co_name == "__post_init__":
            raise DefinitionError(author_line(), f"{named} {use}: {IN_POST_INIT}")
        raise _misuse(value, f"{named} {use}: {advice}")

    return refuse


def _misuses() -> Iterator[tuple[str, Any]]:
    for use, (names, advice) in MISUSES.items():
        for name in names.split():
            refuse = _refusal(use, advice)
            yield f"__{name}__", property(refuse) if name == "class" else refuse


def _operator(compute: Callable[..., Expression], *, reflected: bool = False) -> Callable[..., "Traced"]:
    def operate(value: Any, *others: object) -> "Traced":
        operands = (value, *others)
        return computed(compute, *(reversed(operands) if reflected else operands))

    return operate


def _operators() -> Iterator[tuple[str, Any]]:
    for name, symbol in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
        yield f"__{name}__", _operator(partial(operators.compare, symbol))
    for name, symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
        compute = operators.add if symbol == "+" else partial(operators.calculate, symbol)
        yield f"__{name}__", _operator(compute)
        yield f"__r{name}__", _operator(compute, reflected=True)
    yield "__neg__", _operator(operators.negative)


class Traced(StandIn):
    """An expression over a saga's data: fields can be read, operators applied; all else says what to write instead."""

    __slots__ = ("_traced_expression", "_traced_run")

    _traced_run: Trace
    _traced_expression: Expression

    # Here and not by setattr, because `__class__` can't be set from outside.
    locals().update(_operators())
    locals().update(_misuses())

    def __init__(self, run: Trace, expression: Expression) -> None:
        object.__setattr__(self, "_traced_run", run)
        object.__setattr__(self, "_traced_expression", expression)

    def __getattr__(self, name: str) -> "Traced":
        # Protocols of Python and its tools, asked for in passing; and our own slots, while a copy has none yet.
        if (name.startswith("__") and name.endswith("__")) or name in Traced.__slots__:
            raise AttributeError(f"a place in a saga's data has no {name}")
        return _child(self, attribute, name)

    def __getitem__(self, key: object) -> "Traced":
        if is_traced(key):
            path, which = opened(self).text, opened(key).text
            problem = "which entry that is shows only when a saga runs; pass both on and let the participant look it up"
            raise DefinitionError(author_line(), f"{path}[{which}]: {problem}")
        return _child(self, entry, key)

    def __copy__(self) -> "Traced":
        return self

    def __deepcopy__(self, _memo: object) -> "Traced":
        return self

    def __repr__(self) -> str:
        return f"{MARK}{self._traced_expression.text}: {describe(self._traced_expression.shape)}>"


def is_traced(value: object) -> bool:
    """Whether this is a traced value. `isinstance` can't be asked: it is misuse by an author and raises."""
    return type(value) is Traced


def opened(value: Any) -> Expression:
    """What a traced value stands for, if it may be used now.

    Raises:
        DefinitionError: it is used after its function ended or in another one, or is the result of a step without one.
    """
    _require_live(value)
    expression: Expression = value._traced_expression
    base = expression.guarded or expression
    if base.keys == () and base.sources[0].text.startswith("steps") and _is_no_result(base):
        problem = "has no result: it is a Command[None] or a saga that returns None"
        raise DefinitionError(author_line(), f"step {base.sources[0].text.removeprefix('steps.')!r} {problem}")
    return expression


def readable(value: Any) -> Expression:
    """What a traced value stands for, if it may be read from where its author is.

    Raises:
        DefinitionError: as `opened` does; or it came to be in a loop, branch or scope that has ended.
    """
    expression = opened(value)
    found = enclosing(expression, value._traced_run.opened)
    if found is None:
        return expression
    source, region = found
    where = f"{region.opening} at {region.line}"
    read = source.text.removeprefix("steps.")
    if region.enclosure != "loop":
        mend = f"from outside write optional({read}), which is None where it has not run"
        raise _misuse(value, f"{source.text} may not have run, because it is in {where}; {mend}")
    if source.text.startswith("each"):
        raise _misuse(value, f"{source.text} is only there in {where}; outside, the whole list stands for it")
    mend = f"from outside write collected({read}), the list with one entry for each item"
    raise _misuse(value, f"{source.text} is of one item, because it is in {where}; {mend}")


def computed(compute: Callable[..., Expression], *operands: Any) -> Traced:
    """What comes of expressions and constants.

    Raises:
        DefinitionError: it can't be computed in a document; with the author's line.
    """
    traced = [operand for operand in operands if is_traced(operand)]
    for value in traced:
        _require_live(value)
    run: Trace = traced[0]._traced_run if traced else current_trace("this")
    try:
        return Traced(run, compute(*map(_operand, operands)))
    except DefinitionError as error:
        if error.path:
            raise
        raise _recorded(run, error.problem) from None


def _operand(value: Any) -> Expression:
    if is_traced(value):
        return opened(value)
    if isinstance(value, list | tuple | set | frozenset):
        return operators.listed([_operand(part) for part in value])
    return operators.literal(value)


def _is_no_result(expression: Expression) -> bool:
    shape = expression.shape
    for _ in expression.entries:
        shape = getattr(shape, "item_type", shape)
    return is_nothing(shape)


def _called(function: Callable[[Any], Any], value: Any) -> Any:
    """What the function gives; what Python itself complains of on the way is told as the author's mistake."""
    try:
        return function(value)
    except (TypeError, AttributeError) as error:
        raise DefinitionError(raised_at(error), explained(error)) from error
    except ValueError as error:
        if not is_models_complaint(error):
            raise  # What else the author's own code refuses, it says in its own words.
        raise DefinitionError(raised_at(error), explained(error)) from error


def _require_live(value: Any) -> None:
    run = value._traced_run
    if _current.get() is not run:
        text = value._traced_expression.text
        problem = f"{text} belongs to the definition of {run.label!r}, which was written down once and is over"
        raise DefinitionError(author_line(), f"{problem}; use it inside that function only")


def _child(value: Any, look_up: Callable[[Shape, Any], tuple[Key, Shape]], key: object) -> Traced:
    parent = opened(value)
    try:
        wire_key, shape = look_up(parent.shape, key)
        return Traced(value._traced_run, child(parent, wire_key, shape))
    except DefinitionError as error:
        raise DefinitionError(author_line(), f"{parent.text}: {error.problem}") from None


def _shown(value: Any) -> str:
    return f"{value._traced_expression.text} ({describe(value._traced_expression.shape)})"


def _misuse(value: Any, problem: str) -> DefinitionError:
    return _recorded(value._traced_run, problem)


def _recorded(run: Trace, problem: str) -> DefinitionError:
    error = DefinitionError(author_line(), problem)
    run.misuse = run.misuse or error
    return error
