"""Expressions: a plain path, or the Common Expression Language (CEL, github.com/google/cel-spec).

What an expression reads is found by a scan of our own, so that a definition can be checked and drawn without the
library. Only the coordinator evaluates.

CEL has no clock, no chance and no effects. Two limits keep one expression from holding up everybody: how long and how
deeply nested its text may be, and how many entries its loops may visit.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec

from countermand.schemas import cel_text, cel_values
from countermand.schemas.errors import CountermandError, DefinitionError
from countermand.schemas.path import Path, Sources, UnresolvedPath, follow, kind_in_words, parse_path
from countermand.schemas.projection import Projection, projection_of

LIBRARY: Final = "common-expression-language"


class Expression(msgspec.Struct, frozen=True):
    """A parsed expression: what it reads, the exponent of its loops' work, and what of it must be lists."""

    text: str
    paths: tuple[Path, ...]
    plain: bool
    loops: int = 0
    lists: tuple[Path, ...] = ()
    projection: Projection | None = None


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Reads a path, or a CEL expression.

    Raises:
        DefinitionError: its `path` is the expression, its `problem` says what was expected.
    """
    try:
        return Expression(text, (parse_path(text),), plain=True)
    except DefinitionError:
        scanned = cel_text.scan(text)
    if problem := _syntax_problem(text):
        raise DefinitionError(text, problem)
    projection = projection_of(scanned.paths[0], scanned.start, scanned.tokens) if scanned.start else None
    return Expression(text, scanned.paths, plain=False, loops=scanned.loops, lists=scanned.lists, projection=projection)


class MissingLibrary(CountermandError):
    """An expression is to be evaluated where the library that does it isn't installed."""

    code = "missing_library"


def evaluate(expression: Expression, at: str, sources: Sources) -> Any:
    """The value of an expression, as JSON holds it. `at` is its place, for errors.

    Raises:
        UnresolvedPath: it has no value in this data, or one that JSON can't hold.
        MissingLibrary: it is more than a path, and the library isn't installed.
    """
    if expression.plain:
        return follow(expression.paths[0], at, sources)
    if expression.projection is not None:
        return expression.projection.value(at, sources)
    program = _program(expression.text)
    try:
        context = cel_values.context(expression.paths, sources, loops=expression.loops)
        _require_lists(expression, at, sources)
        return cel_values.to_json(program.execute(context))
    except cel_values.NoValue as error:
        raise UnresolvedPath(expression.text, at, error.problem) from error
    except Exception as error:
        # The library raises many kinds, none of its own. Their texts hold values of the saga, so they stay inside.
        raise UnresolvedPath(expression.text, at, _said(error, expression, at, sources)) from error


def _missing(expression: Expression, at: str, sources: Sources) -> str | None:
    # Paths that the expression must have, before those that it may do without.
    for path in sorted(expression.paths, key=lambda path: path.guarded):
        try:
            follow(path, at, sources)
        except UnresolvedPath as unresolved:
            return unresolved.problem
    return None


def _require_lists(expression: Expression, at: str, sources: Sources) -> None:
    for path in expression.lists:
        try:
            value = follow(path, at, sources)
        except UnresolvedPath:
            continue  # Whether it is needed at all, the evaluation finds out.
        if not isinstance(value, list):
            raise cel_values.NoValue(f"{path.text} is {kind_in_words(value)}, and map() and filter() are for lists")


def _said(error: Exception, expression: Expression, at: str, sources: Sources) -> str:
    match error:
        case KeyError() | IndexError():
            missing = _missing(expression, at, sources)
            return missing or "a field or place that it reads isn't there; ask with has() or size() first"
        case ZeroDivisionError():
            return "it divides by zero"
        case OverflowError():
            return "a number goes beyond its range"
        case TypeError():
            return (
                "an operation doesn't go with the types of its values; whole numbers and decimals don't mix: "
                "wrap both in double()"
            )
        case _:
            return "a function can't take the value that it was given"


@lru_cache(maxsize=4096)
def _program(text: str) -> Any:
    try:
        import cel  # Here, because it takes a fifth of a second, and participants have no need of it.
    except ImportError as error:
        problem = f"expressions are evaluated by {LIBRARY}; install countermand[coordinator]"
        raise MissingLibrary(problem) from error
    try:
        return cel.compile(text)
    except ValueError as error:
        raise DefinitionError(text, _first_complaint(error)) from error


def _syntax_problem(text: str) -> str | None:
    try:
        _program(text)
    except MissingLibrary:
        # Whoever only writes definitions needs no library: the coordinator reads them once more.
        return None
    except DefinitionError as error:
        return error.problem
    return None


def _first_complaint(error: ValueError) -> str:
    return " ".join(_complaints(str(error))) or "it isn't understood"


def _complaints(text: str) -> Iterator[str]:
    _, _, rest = text.partition("ERROR: <input>:")
    line = rest.splitlines()[0] if rest else ""
    place, _, problem = line.partition(": ")
    if problem:
        column = place.partition(":")[2]
        yield f"at character {column}: {problem[:160]}"
