"""Mistakes of a saga function that don't show when it runs, but do when it is read.

- `value is None` asks Python which object this is, and no object can answer for itself: while the saga is written
  down the answer is always no. In an `assert` it is fine, because there it is for the type checker.
- A command that nobody hands to `step()`, and a `parallel()` without `with`, are values that nobody uses.

Where the source can't be had (in a prompt, in generated code) nothing is found, and nothing is wrong with that.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from countermand.schemas.contract import is_command

_IS_NONE: Final = (
    "the function runs once, before any saga does, so nothing is None yet and this is decided the same way for all; "
    "write `with when(is_present({0})):`, or pass the value on. To tell a type checker that it is there, write `assert "
    "{0} is not None`"
)


class Mistake(NamedTuple):
    """What was found, and the line of the file."""

    line: int
    problem: str


def unseen_mistake(
    function: Callable[..., Any], gives_value: tuple[Any, ...], groups: tuple[Any, ...]
) -> Mistake | None:
    """The first such mistake of a saga function.

    `gives_value` are the functions that give traced values; `groups` are those that stand in a `with`.
    """
    parsed = _parsed(function)
    if parsed is None:
        return None
    outer = inspect.getclosurevars(function)
    names = {**outer.globals, **outer.nonlocals}
    reader = _Reader(names, gives_value, groups, {each.arg for each in parsed.args.args})
    first = min(reader.read(parsed.body), key=lambda mistake: mistake.line, default=None)
    offset = function.__code__.co_firstlineno - 1
    return None if first is None else first._replace(line=first.line + offset)


def _parsed(function: Callable[..., Any]) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None  # No source, or the middle of a statement.
    first = tree.body[0]
    return first if isinstance(first, ast.FunctionDef) else None


class _Reader:
    """Reads the statements of one function, and knows which names hold traced values and nothing else."""

    def __init__(
        self, names: dict[str, Any], gives_value: tuple[Any, ...], groups: tuple[Any, ...], traced: set[str]
    ) -> None:
        self._names = names
        self._gives_value = gives_value
        self._groups = groups
        self._traced = traced
        self._other: set[str] = set()

    def read(self, body: list[ast.stmt]) -> Iterator[Mistake]:
        nodes = [node for statement in body for node in ast.walk(statement)]
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
                self._assigned(node)
            elif isinstance(node, ast.withitem):
                self._opened(node)
        asserted = {part for node in nodes if isinstance(node, ast.Assert) for part in ast.walk(node)}
        for node in nodes:
            if node not in asserted:
                yield from self._mistakes(node)

    def _assigned(self, node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if node.value is not None and self._is_traced(node.value):
            self._traced |= names
        else:
            # Perhaps a step was written and perhaps not: then None is the author's own, and to be asked for.
            self._other |= names

    def _opened(self, node: ast.withitem) -> None:
        called = node.context_expr.func if isinstance(node.context_expr, ast.Call) else node.context_expr
        if isinstance(node.optional_vars, ast.Name) and any(self._found(called) is group for group in self._groups):
            self._traced.add(node.optional_vars.id)

    def _mistakes(self, node: ast.AST) -> Iterator[Mistake]:
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]):
                if self._is_traced(left):
                    yield Mistake(node.lineno, _none(left))
            case ast.Match(subject=subject, cases=cases) if self._is_traced(subject):
                if any(isinstance(case.pattern, ast.MatchSingleton) for case in cases):
                    yield Mistake(node.lineno, _none(subject))
            case ast.Expr(value=ast.Call(func=called) as call):
                yield from self._unused(called, call)

    def _unused(self, called: ast.expr, call: ast.Call) -> Iterator[Mistake]:
        found, text, line = self._found(called), ast.unparse(called), call.lineno
        if any(found is group for group in self._groups):
            written = ast.unparse(call)
            yield Mistake(line, f"{text}() alone groups nothing; write `with {written}:` and indent what belongs to it")
        elif is_command(found):
            yield Mistake(line, f"{text}(…) alone is a command that nobody is sent; write step({text}(…))")

    def _found(self, called: ast.expr) -> Any:
        """What a name or `module.name` stands for, as far as that can be said without running anything."""
        if isinstance(called, ast.Name):
            return self._names.get(called.id)
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            return inspect.getattr_static(self._names.get(called.value.id), called.attr, None)
        return None

    def _is_traced(self, value: ast.expr) -> bool:
        while isinstance(value, ast.Attribute | ast.Subscript):
            value = value.value
        if isinstance(value, ast.Call):
            found = self._found(value.func)
            return any(found is each for each in self._gives_value)
        return isinstance(value, ast.Name) and value.id in self._traced - self._other


def _none(value: ast.expr) -> str:
    text = ast.unparse(value)
    return f"{text} is compared with None: {_IS_NONE.format(text)}"
