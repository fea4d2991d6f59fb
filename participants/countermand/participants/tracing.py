"""Traced values: what a saga function holds while it is written down as a document.

Rules of tracing:

- The saga function runs once, when the module is imported, and never again. What it holds are places
  (`input.order.id`), not data; whatever would need the data raises a DefinitionError that names the author's line.
- A traced value belongs to the one run in which it came to be.
- `is` and `is not` can't be seen from here. `assert value is not None` therefore narrows an optional value for the
  type checker; whether it is null shows when the saga runs.
"""

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, NoReturn

from countermand.participants.constructing import models_take_traced_values
from countermand.participants.misuses import IN_POST_INIT, LOOKED_AT, MISUSES, explained
from countermand.participants.shapes import Shape, attribute, describe, entry, is_nothing
from countermand.schemas import stand_ins
from countermand.schemas.definition import STEP_TIMEOUT_MS, Node, ParallelNode, RetryPolicy, SequenceNode, StepNode
from countermand.schemas.errors import DefinitionError
from countermand.schemas.models import is_models_complaint
from countermand.schemas.stand_ins import StandIn
from countermand.schemas.template import Key, Path, parse_path

# Stands in the repr of every traced value, so that text made from one is recognised in a literal.
MARK: Final = "<traced "

_OWN: Final = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in (__file__, stand_ins.__file__))
_LIBRARIES: Final = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib"))

_current: ContextVar["Trace | None"] = ContextVar("countermand_trace", default=None)


def author_line() -> str:
    """`file:line` of the author's code that is running: the innermost frame that is neither ours nor a library's."""
    frame: FrameType | None = sys._getframe(1)
    fallback = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not os.path.abspath(file).startswith(_OWN):
            place = line_shown(file, frame.f_lineno)
            if not _is_library(file):
                return place
            fallback = fallback or place
        frame = frame.f_back
    return fallback


def _is_library(file: str) -> bool:
    return file.startswith(("<frozen", *_LIBRARIES))


def _called_by_author() -> str:
    """The name of the library's function that the author's line has called."""
    frame: FrameType | None = sys._getframe(2)
    name = ""
    while frame is not None and _is_library(frame.f_code.co_filename):
        name, frame = frame.f_code.co_qualname, frame.f_back
    return name.removesuffix(".__init__").removesuffix(".__new__")


def current_trace(what: str) -> "Trace":
    """The run that is under way.

    Raises:
        DefinitionError: `what` is used outside a saga function.
    """
    trace = _current.get()
    if trace is None:
        raise DefinitionError(author_line(), f"{what} stands inside a function decorated with @saga")
    return trace


class Group:
    """A sequence or parallel that is being written; usable as `with …:` once."""

    def __init__(self, word: str, *, parallel: bool) -> None:
        self._word = word
        self._parallel = parallel
        self._trace: Trace | None = None
        self.nodes: list[StepNode | Group] = []

    def __enter__(self) -> None:
        if self._trace is not None:
            raise DefinitionError(author_line(), f"this {self._word} was already written; call {self._word} again")
        self._trace = current_trace(self._word)
        self._trace.enter(self)

    def __exit__(self, *_: object) -> None:
        if self._trace is not None:
            self._trace.leave()

    def node(self) -> Node:
        """The group as a node of the document."""
        return ParallelNode(self.children()) if self._parallel else SequenceNode(self.children())

    def children(self) -> tuple[Node, ...]:
        """What was written inside."""
        return tuple(child.node() if isinstance(child, Group) else child for child in self.nodes)


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
        self._root = Group("saga", parallel=False)
        self._open = [self._root]
        self._lines: dict[str, str] = {}
        # The declared type of each step's result: a document doesn't say it.
        self.result_types: dict[str, Any] = {}

    def run(self, function: Callable[[Any], Any], input_shape: Shape, finish: Callable[[Any], Any]) -> Any:
        """Runs the function on a traced input; gives what `finish` makes of what it returns."""
        if _current.get() is not None:
            raise DefinitionError(author_line(), "a saga function can't be defined inside another one")
        token = _current.set(self)
        try:
            with models_take_traced_values(lambda: _current.get() is not None, author_line):
                finished = finish(_called(function, self.value(parse_path("input"), input_shape)))
        finally:
            _current.reset(token)
        if self.misuse is not None:
            raise self.misuse
        return finished

    def enter(self, group: Group) -> None:
        self._open[-1].nodes.append(group)
        self._open.append(group)

    def leave(self) -> None:
        self._open.pop()

    def claim(self, name: str) -> None:
        """Takes a step name, which must still be free."""
        if name in self._lines:
            used, here = self._lines[name], author_line()
            mend = 'write name="…" on one of them'
            if used == here:
                mend = 'the line ran twice, so each run has to give it another name: name=f"…_{index}"'
            raise DefinitionError(here, f"the step name {name!r} is already used at {used}; {mend}")
        self._lines[name] = author_line()

    def add(self, node: StepNode) -> None:
        self._open[-1].nodes.append(node)
        self.pivot_passed = self.pivot_passed or node.kind == "pivot"

    def value(self, path: Path, shape: Shape) -> Any:
        return Traced(self, path, shape)

    def root(self) -> SequenceNode:
        """What was written down."""
        return SequenceNode(self._root.children())

    def line_of(self, name: str) -> str | None:
        """Where a step was written."""
        return self._lines.get(name)


def _refusal(use: str, advice: str) -> Callable[..., NoReturn]:
    def refuse(value: Any, *_: object, **__: object) -> NoReturn:
        _require_live(value)
        path, shape = value._traced_path, value._traced_shape
        user = sys._getframe(1).f_code
        named = f"{path.text} ({describe(shape)}) is used"
        if _is_library(user.co_filename):
            raise DefinitionError(author_line(), f"{named} by {_called_by_author()}(): {LOOKED_AT}")
        if user.co_name == "__post_init__":
            raise DefinitionError(author_line(), f"{named} {use}: {IN_POST_INIT}")
        error = DefinitionError(author_line(), f"{named} {use}: {advice}")
        value._traced_run.misuse = value._traced_run.misuse or error
        raise error

    return refuse


def _misuses() -> Iterator[tuple[str, Any]]:
    for use, (names, advice) in MISUSES.items():
        for name in names.split():
            refuse = _refusal(use, advice)
            yield f"__{name}__", property(refuse) if name == "class" else refuse


class Traced(StandIn):
    """A place in a saga's data. Fields and list entries can be read; everything else says what to write instead."""

    __slots__ = ("_traced_path", "_traced_run", "_traced_shape")

    _traced_run: Trace
    _traced_path: Path
    _traced_shape: Shape

    # Here and not by setattr, because `__class__` can't be set from outside.
    locals().update(_misuses())

    def __init__(self, run: Trace, path: Path, shape: Shape) -> None:
        object.__setattr__(self, "_traced_run", run)
        object.__setattr__(self, "_traced_path", path)
        object.__setattr__(self, "_traced_shape", shape)

    def __getattr__(self, name: str) -> "Traced":
        # Protocols of Python and its tools, asked for in passing; and our own slots, while a copy has none yet.
        if (name.startswith("__") and name.endswith("__")) or name in Traced.__slots__:
            raise AttributeError(f"a place in a saga's data has no {name}")
        return _child(self, attribute, name)

    def __getitem__(self, key: object) -> "Traced":
        if is_traced(key):
            path, which = opened(self)[0].text, opened(key)[0].text
            problem = "which entry that is shows only when a saga runs; pass both on and let the participant look it up"
            raise DefinitionError(author_line(), f"{path}[{which}]: {problem}")
        return _child(self, entry, key)

    def __copy__(self) -> "Traced":
        return self

    def __deepcopy__(self, _memo: object) -> "Traced":
        return self

    def __repr__(self) -> str:
        return f"{MARK}{self._traced_path.text}: {describe(self._traced_shape)}>"


def is_traced(value: object) -> bool:
    """Whether this is a traced value. `isinstance` can't be asked: it is misuse by an author and raises."""
    return type(value) is Traced


def opened(value: Any) -> tuple[Path, Shape]:
    """The place and the declared type of a traced value that may be used here and now.

    Raises:
        DefinitionError: it is used after its function ended or in another one, or is the result of a step without one.
    """
    _require_live(value)
    path: Path = value._traced_path
    shape: Shape = value._traced_shape
    if path.step is not None and not path.keys and is_nothing(shape):
        raise DefinitionError(author_line(), f"step {path.step!r} has no result: its command is a Command[None]")
    return path, shape


def _called(function: Callable[[Any], Any], value: Any) -> Any:
    """What the function gives; what Python itself complains of on the way is told as the author's mistake."""
    try:
        return function(value)
    except (TypeError, AttributeError) as error:
        raise DefinitionError(_raised_at(error), explained(error)) from error
    except ValueError as error:
        if not is_models_complaint(error):
            raise  # What else the author's own code refuses, it says in its own words.
        raise DefinitionError(_raised_at(error), explained(error)) from error


def _raised_at(error: Exception) -> str:
    """The author's line in a traceback: the innermost one that is neither ours nor a library's."""
    place = author_line()
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not (_is_library(file) or os.path.abspath(file).startswith(_OWN)):
            place = line_shown(file, trace.tb_lineno)
        trace = trace.tb_next
    return place


def _require_live(value: Any) -> None:
    run, path = value._traced_run, value._traced_path
    if _current.get() is not run:
        problem = f"{path.text} belongs to the definition of {run.label!r}, which was written down once and is over"
        raise DefinitionError(author_line(), f"{problem}; use it inside that function only")


def _child(value: Any, look_up: Callable[[Shape, Any], tuple[Key, Shape]], key: object) -> Traced:
    path, shape = opened(value)
    try:
        wire_key, child = look_up(shape, key)
    except DefinitionError as error:
        raise DefinitionError(author_line(), f"{path.text}: {error.problem}") from None
    return Traced(value._traced_run, path.child(wire_key), child)


def line_shown(file: str, line: int) -> str:
    """`file:line`, the file as seen from the working directory where that is shorter."""
    try:
        relative = os.path.relpath(file)
    except ValueError:  # Another drive.
        return f"{file}:{line}"
    return f"{file if relative.startswith('..') else relative}:{line}"
