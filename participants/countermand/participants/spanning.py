"""What one saga has to do with others: children, locks, and how many run at once."""

from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any, TypeVar, overload

from countermand.participants.author_lines import author_line
from countermand.participants.expressions import place
from countermand.participants.groups import claimed
from countermand.participants.literals import template_of
from countermand.participants.regions import Leaf
from countermand.participants.shapes import ANY, shape_of
from countermand.participants.steps import kind_here
from countermand.participants.timing import Duration, milliseconds
from countermand.participants.tracing import current_trace
from countermand.participants.waiting import duration_at
from countermand.participants.written_saga import Saga
from countermand.schemas import definition as document
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.identifiers import checked_slug
from countermand.schemas.stand_ins import is_stand_in
from countermand.schemas.template import key_text

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many sagas of a name run `at_once`; with a `key`, how many for each key.

        @saga("order", version=1, concurrency=Concurrency(5, key=lambda order: order.customer_id))

    The others wait before their first step, in the order of starting, and give up after `timeout`.
    """

    at_once: int
    key: Callable[[Any], str | int] | None = None
    timeout: Duration = "1h"

    def limit(self, input_: Any) -> document.Concurrency:
        """What stands in the document; `input_` is the saga's traced input.

        Raises:
            DefinitionError: names the part that makes no sense.
        """
        if type(self.at_once) is not int or self.at_once < 1:
            raise DefinitionError(author_line(), f"concurrency: {self.at_once!r} is not a whole number above zero")
        key = None if self.key is None else template_of(self.key(input_), _KEY, "concurrency.key")
        try:
            return document.Concurrency(self.at_once, key, milliseconds("concurrency.timeout", self.timeout))
        except DefinitionError as error:
            raise DefinitionError(author_line(), str(error)) from None


@overload
def child(
    definition: Saga[In, Out],
    value: In,
    /,
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    compensatable: bool = True,
    because: str = "",
) -> Out: ...
@overload
def child(
    definition: str,
    value: object = None,
    /,
    *,
    outcome: type[Out],
    version: int | None = None,
    name: str | None = None,
    timeout: Duration | None = None,
    compensatable: bool = True,
    because: str = "",
) -> Out: ...
@overload
def child(
    definition: str,
    value: object = None,
    /,
    *,
    version: int | None = None,
    name: str | None = None,
    timeout: Duration | None = None,
    compensatable: bool = True,
    because: str = "",
) -> None: ...
def child(
    definition: Any,
    value: Any = None,
    /,
    *,
    outcome: Any = NoneType,
    version: int | None = None,
    name: str | None = None,
    timeout: Duration | None = None,
    compensatable: bool = True,
    because: str = "",
) -> Any:
    """Starts another saga with an input and waits for its end; what it gives stands for that saga's outcome.

    A saga is meant in the version that is given here; a name in `version`, or else the newest when it starts. A child
    that was undone counts as rejected. When this saga is undone, so is the child, also one that has completed, unless
    `compensatable=False` with `because="…"`. `name` is the child's name with `_` for `-` unless given.

    Raises:
        DefinitionError: with the author's line.
    """
    trace, line = current_trace("child()"), author_line()
    called, version, input_shape, outcome = _called(definition, version, outcome, line)
    kind = kind_here("child()")
    undone = kind == "compensatable"
    node = document.ChildNode(
        name or called.replace("-", "_"),
        called,
        version,
        template_of(value, input_shape, "child()"),
        kind=kind,
        compensation=compensatable or not undone,
        because=because if undone else "",
        timeout_ms=None if timeout is None else duration_at("child()", "timeout", timeout),
    )
    claimed(trace, "child()", node.name)
    trace.result_types[node.name] = outcome
    if isinstance(definition, Saga):
        trace.children.append(definition)
    trace.add(Leaf(node))
    return trace.value(place(f"steps{key_text(node.name)}", shape_of(outcome, line), trace.opened))


def lock(lock: str, key: str | int, *, timeout: Duration = "1h", name: str | None = None) -> None:
    """Holds the lock of this name for one business key until the saga has ended.

    Others wait in the order of asking; whoever doesn't get it within `timeout` turns back.

    Raises:
        DefinitionError: with the author's line.
    """
    trace = current_trace("lock()")
    node = document.LockNode(
        name or f"lock_{_slug('lock()', lock)}".replace("-", "_"),
        _slug("lock()", lock),
        template_of(key, _KEY, "lock().key"),
        timeout_ms=duration_at("lock()", "timeout", timeout),
        kind="retriable" if trace.pivot_passed else "compensatable",
    )
    claimed(trace, "lock()", node.name)
    trace.add(Leaf(node))


_KEY = shape_of(str | int, "key")


def _called(definition: Any, version: int | None, outcome: Any, line: str) -> tuple[str, int | None, Any, Any]:
    """The name and version of a child, and the types of what goes in and comes out."""
    if not is_stand_in(definition) and isinstance(definition, Saga):
        return definition.name, definition.version, shape_of(definition.input_type, line), definition.outcome_type
    if is_stand_in(definition) or not isinstance(definition, str):
        raise DefinitionError(line, "child() takes a saga (a function under @saga), or the name of one")
    if version is not None and type(version) is not int:
        raise DefinitionError(line, f"child(): version: {version!r} is not a whole number")
    return _slug("child()", definition), version, ANY, NoneType if outcome is None else outcome


def _slug(word: str, name: str) -> str:
    try:
        return checked_slug("name", name)
    except InvalidIdentifier as error:
        raise DefinitionError(author_line(), f"{word}: {error}") from None
