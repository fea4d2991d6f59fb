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

from countermand.participants.shapes import Shape, attribute, describe, entry, is_nothing
from countermand.schemas.definition import Node, ParallelNode, SequenceNode, StepNode
from countermand.schemas.errors import DefinitionError
from countermand.schemas.template import Key, Path, parse_path

# Stands in the repr of every traced value, so that text made from one is recognised in a literal.
MARK: Final = "<traced "

_OWN: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES: Final = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib"))

_current: ContextVar["Trace | None"] = ContextVar("countermand_trace", default=None)


def author_line() -> str:
    """`file:line` of the author's code that is running: the innermost frame that is neither ours nor a library's."""
    frame: FrameType | None = sys._getframe(1)
    fallback = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not os.path.abspath(file).startswith(_OWN):
            place = f"{_shown(file)}:{frame.f_lineno}"
            if not file.startswith(("<frozen", *_LIBRARIES)):
                return place
            fallback = fallback or place
        frame = frame.f_back
    return fallback


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
    """One run of one saga function."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.pivot_passed = False
        self._root = Group("saga", parallel=False)
        self._open = [self._root]
        self._lines: dict[str, str] = {}

    def run(self, function: Callable[[Any], Any], input_shape: Shape, finish: Callable[[Any], Any]) -> Any:
        """Runs the function on a traced input; gives what `finish` makes of what it returns."""
        if _current.get() is not None:
            raise DefinitionError(author_line(), "a saga function can't be defined inside another one")
        token = _current.set(self)
        try:
            return finish(function(self.value(parse_path("input"), input_shape)))
        finally:
            _current.reset(token)

    def enter(self, group: Group) -> None:
        self._open[-1].nodes.append(group)
        self._open.append(group)

    def leave(self) -> None:
        self._open.pop()

    def claim(self, name: str) -> None:
        """Takes a step name, which must still be free."""
        if name in self._lines:
            problem = f'the step name {name!r} is already used at {self._lines[name]}; write name="…" on one of them'
            raise DefinitionError(author_line(), problem)
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


_DECIDE = (
    "the function runs once, before any saga does, so there is nothing to decide on yet; let a participant decide "
    "(its handler raises Rejected), or choose which saga to start"
)
_COMPUTE = "a document can't calculate; let the participant do it, or put the figure into the saga's input"
_TEXT = "a document can't build text; give the value a field of its own and let the participant write the text"
_MANY = "how many entries there are is known only when a saga runs; pass the whole list in one field, or take one: [0]"
_KEY = "its value is known only when a saga runs, so it can't be a key or stand in a set"
_NUMBER = "its value is known only when a saga runs; pass it on as it is"
_CHANGE = "the data of a saga can't be changed; pass what is needed in fields of the command"
_CALL = "methods can't run while a saga is written down; let the participant do it"
_ASYNC = "step() doesn't wait: the function only writes down what will run; drop the await or async"

_MISUSES: Final[dict[str, tuple[str, str]]] = {
    "as a condition": ("bool", _DECIDE),
    "in a comparison": ("eq ne lt le gt ge", _DECIDE),
    "in isinstance or match": ("class", _DECIDE),
    "in arithmetic": (
        "add radd sub rsub mul rmul matmul rmatmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod "  # noqa: ISC004
        "pow rpow lshift rlshift rshift rrshift and rand or ror xor rxor neg pos abs invert round trunc floor ceil",
        _COMPUTE,
    ),
    "as text": ("str format bytes fspath", _TEXT),
    "in a loop or unpacking": ("iter reversed len length_hint contains", _MANY),
    "as a key or set member": ("hash", _KEY),
    "as a number": ("int float complex index", _NUMBER),
    "in an assignment": ("setattr delattr setitem delitem", _CHANGE),
    "as a function": ("call", _CALL),
    "in await or with": ("await aiter enter aenter", _ASYNC),
}


def _refusal(use: str, advice: str) -> Callable[..., NoReturn]:
    def refuse(value: Any, *_: object, **__: object) -> NoReturn:
        _require_live(value)
        path, shape = value._traced_path, value._traced_shape
        raise DefinitionError(author_line(), f"{path.text} ({describe(shape)}) is used {use}: {advice}")

    return refuse


def _misuses() -> Iterator[tuple[str, Any]]:
    for use, (names, advice) in _MISUSES.items():
        for name in names.split():
            refuse = _refusal(use, advice)
            yield f"__{name}__", property(refuse) if name == "class" else refuse


class Traced:
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
            raise AttributeError(name)
        return _child(self, attribute, name)

    def __getitem__(self, key: object) -> "Traced":
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


def _shown(file: str) -> str:
    try:
        relative = os.path.relpath(file)
    except ValueError:  # Another drive.
        return file
    return file if relative.startswith("..") else relative
