"""What stands in a `with` of a saga function: side by side, one after another, and savepoints.

`branches` has those that are run on a condition, `loops` the one that is run for each item of a list.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from countermand.participants.author_lines import author_line
from countermand.participants.expressions import Expression, child, or_empty, place
from countermand.participants.regions import Enclosure, Handle, Region
from countermand.participants.shapes import shape_of
from countermand.participants.tracing import Trace, current_trace
from countermand.schemas.definition import Node, ParallelNode, ScopeNode, SequenceNode
from countermand.schemas.errors import DefinitionError, InvalidIdentifier
from countermand.schemas.identifiers import checked_name
from countermand.schemas.template import key_text


class Group(ABC):
    """A region that is being written; usable as `with …:` once."""

    word: ClassVar[str]
    enclosure: ClassVar[Enclosure | None] = None

    def __init__(self) -> None:
        self.region: Region | None = None
        self._trace: Trace | None = None

    def _begin(self) -> Trace:
        if self.region is not None:
            raise DefinitionError(author_line(), f"this {self.word} was already written; call {self.word} again")
        trace = current_trace(self.word)
        self.region = Region(self.word, author_line(), self.enclosure)
        self.take_place(trace, self.region)
        trace.enter(self.region)
        self._trace = trace
        return trace

    @abstractmethod
    def take_place(self, trace: Trace, region: Region) -> None:
        """Puts the region to where it belongs in the document."""

    @abstractmethod
    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None:
        if self._trace is not None:
            self._trace.leave()

    @property
    def body(self) -> Region:
        """What was written inside."""
        if self.region is None:
            raise DefinitionError(author_line(), f"{self.word} stands in a `with`")
        return self.region


class Plain(Group):
    """A group that gives nothing to the `as` of its `with`."""

    def __enter__(self) -> None:
        self._begin()


class Parallel(Plain):
    """See `parallel`."""

    word = "parallel()"

    def take_place(self, trace: Trace, region: Region) -> None:
        trace.add(self)

    def node(self) -> Node:
        return ParallelNode(self.body.children())


class Sequence(Plain):
    """See `sequence`."""

    word = "sequence()"

    def take_place(self, trace: Trace, region: Region) -> None:
        trace.add(self)

    def node(self) -> Node:
        return SequenceNode(self.body.children())


class ScopeOutcome(Handle):
    """How a scope ended, to be read after it: whether it `failed`, and then with which `code`, for what `reason`, at
    which `step`. These three are empty texts if it didn't."""

    parts = ".failed, .code, .reason or .step"

    def __init__(self, trace: Trace, name: str, home: tuple[Region, ...], body: Region) -> None:
        self._trace = trace
        self._source = f"steps{key_text(name)}"
        self._home = home
        self._body = body

    @property
    def failed(self) -> bool:
        failed: bool = self._trace.value(self._field("failed", bool))
        return failed

    @property
    def code(self) -> str:
        return self._text("code")

    @property
    def reason(self) -> str:
        return self._text("reason")

    @property
    def step(self) -> str:
        return self._text("step")

    def _text(self, name: str) -> str:
        text: str = self._trace.value(or_empty(self._field(name, str)))
        return text

    def _field(self, name: str, type_: type) -> Expression:
        if self._body in self._trace.opened:
            raise DefinitionError(author_line(), f"{self._source}.{name} is known after the scope, not inside it")
        whole = place(self._source, shape_of(object, ""), self._home)
        return child(whole, name, shape_of(type_, ""))


class Scope(Group):
    """See `scope`."""

    word = "scope()"
    enclosure = "scope"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __enter__(self) -> ScopeOutcome:
        home = current_trace(self.word).opened
        trace = self._begin()
        return ScopeOutcome(trace, self._name, home, self.body)

    def take_place(self, trace: Trace, region: Region) -> None:
        claimed(trace, self.word, self._name)
        trace.add(self)

    def node(self) -> Node:
        return ScopeNode(self._name, self.body.node())


def parallel() -> Parallel:
    """`with parallel():` runs what stands directly in it side by side; `with sequence():` makes a longer branch."""
    return Parallel()


def sequence() -> Sequence:
    """`with sequence():` inside a parallel is one branch whose steps run one after another."""
    return Sequence()


def scope(name: str) -> Scope:
    """`with scope("hotel") as hotel:` is a savepoint: if something in it fails, it alone is undone.

    The saga goes on after it, and can ask `with when(hotel.failed):`.
    """
    return Scope(name)


def claimed(trace: Trace, word: str, name: str) -> str:
    """The name, once it is found to be one and taken.

    Raises:
        DefinitionError: with the author's line.
    """
    try:
        checked_name("name", name)
    except InvalidIdentifier as error:
        raise DefinitionError(author_line(), f"{word}: {error}") from None
    trace.claim(name)
    return name
