"""Parts of a saga that run on a condition: `when` and `otherwise`, and what is done when a wait comes to nothing."""

from typing import Any

from countermand.participants.author_lines import author_line
from countermand.participants.groups import Plain, claimed
from countermand.participants.literals import template_of
from countermand.participants.regions import Pending, Region
from countermand.participants.shapes import shape_of
from countermand.participants.tracing import Trace, is_traced, opened
from countermand.schemas.definition import ApprovalNode, Node, WaitNode, WhenNode
from countermand.schemas.errors import DefinitionError


class When(Plain):
    """See `when`."""

    word = "when()"
    enclosure = "branch"

    def __init__(self, condition: Any, name: str | None) -> None:
        super().__init__()
        self._condition = condition
        self._name = name
        self._template: Any = None
        self.otherwise: Region | None = None

    def take_place(self, trace: Trace, region: Region) -> None:
        self._template = template_of(self._condition, shape_of(bool, ""), self.word)
        if not is_traced(self._condition):
            problem = "takes a condition on the saga's data; what is known now is decided by a plain `if`"
            raise DefinitionError(author_line(), f"{self.word} {problem}")
        self._name = claimed(trace, self.word, self._name or trace.counted_name("when"))
        trace.add(self)

    def node(self) -> Node:
        otherwise = None if self.otherwise is None else self.otherwise.node()
        return WhenNode(self._name or "", self._template, self.body.node(), otherwise)


class Otherwise(Plain):
    """See `otherwise`."""

    word = "otherwise()"
    enclosure = "branch"

    def take_place(self, trace: Trace, region: Region) -> None:
        last = trace.last()
        if not isinstance(last, When):
            raise DefinitionError(author_line(), "otherwise() stands directly after what is in `with when(…):`")
        if last.otherwise is not None:
            raise DefinitionError(author_line(), f"this when() has an otherwise() already, at {last.otherwise.line}")
        last.otherwise = region


class _Fallback(Plain):
    """The branch of a wait or approval that came to nothing."""

    enclosure = "branch"
    verb: str
    kind: type[WaitNode] | type[ApprovalNode]

    def __init__(self, value: object) -> None:
        super().__init__()
        self._value = value

    def take_place(self, trace: Trace, region: Region) -> None:
        expression = opened(self._value) if is_traced(self._value) else None
        last = trace.last()
        if (
            expression is None
            or not isinstance(last, Pending)
            or not isinstance(last.own, self.kind)
            or expression.keys != ()
            or last.outcome not in expression.sources[0].home
        ):
            problem = f"stands directly after its {self.verb} and takes what that gave"
            raise DefinitionError(author_line(), f"{self.word} {problem}")
        if last.branch is not None:
            raise DefinitionError(author_line(), f"there is a {self.word} for it already, at {last.branch.line}")
        last.branch = region
        if self.kind is WaitNode:
            last.outcome.enclosure = "branch"


class TimedOut(_Fallback):
    """See `timed_out`."""

    word = "timed_out()"
    verb = "wait_for()"
    kind = WaitNode


class Denied(_Fallback):
    """See `denied`."""

    word = "denied()"
    verb = "approval()"
    kind = ApprovalNode


def when(condition: bool, *, name: str | None = None) -> When:
    """`with when(order.total > 1000):` runs what is in it only if the condition holds, which is looked at once.

    What comes to be inside may not have run: outside, read it by `optional(…)`. Conditions are put together by
    `all_of`, `any_of` and `none_of`.
    """
    return When(condition, name)


def otherwise() -> Otherwise:
    """`with otherwise():`, directly after a `with when(…):`, runs if the condition doesn't hold."""
    return Otherwise()


def timed_out(event: object) -> TimedOut:
    """`with timed_out(paid):`, directly after `paid = wait_for(…)`, runs if the event didn't come in time.

    Without it the saga turns back then. With it, `paid` may not be there: read it by `optional(paid)`.
    """
    return TimedOut(event)


def denied(decision: object) -> Denied:
    """`with denied(decision):`, directly after `decision = approval(…)`, runs unless it was approved in time.

    Without it the saga turns back then.
    """
    return Denied(decision)
