"""What a value is outside of the branch, loop or scope that it came to be in."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from countermand.participants.saga import (
    approval,
    child,
    collected,
    denied,
    for_each,
    is_present,
    optional,
    otherwise,
    parallel,
    saga,
    scope,
    step,
    timed_out,
    wait_for,
    when,
)
from countermand.schemas import Command, DefinitionError, Event
from countermand.schemas.template import render


class Order(msgspec.Struct):
    id: str
    rush: bool
    baskets: list[list[str]]
    lines: list[str]


class Quote(msgspec.Struct):
    price: int


class Ask(Command[Quote], participant="suppliers", compensatable=False, because="a quote binds nobody"):
    about: Any = None


class Tell(Command[None], participant="mail", compensatable=False, because="a letter can't be unsent"):
    what: Any


class Paid(Event):
    amount: int


Body = Callable[[Any], Any]


def outcome(body: Body) -> Any:
    @saga("enclosed", version=1)
    def enclosed(order: Order) -> Any:
        step(Tell(what="first"), name="first")
        return body(order)

    return enclosed.definition.outcome


def refused(body: Body) -> tuple[str, int]:
    """What is said, and in which line of the body."""
    with pytest.raises(DefinitionError) as caught:
        outcome(body)
    file, _, line = caught.value.path.rpartition(":")
    assert file.endswith("test_enclosures.py")
    return str(caught.value), int(line) - body.__code__.co_firstlineno


def in_when(order: Any) -> Any:
    with when(order.rush):
        return step(Ask())


def in_loop(order: Any) -> Any:
    with for_each(order.lines) as line:
        return step(Ask(about=line.item))


def when_in_loop(order: Any) -> Any:
    with for_each(order.lines), when(order.rush):
        return step(Ask())


def loop_in_when(order: Any) -> Any:
    with when(order.rush), for_each(order.lines):
        return step(Ask())


def loop_in_loop(order: Any) -> Any:
    with for_each(order.baskets) as basket, for_each(basket.item):
        return step(Ask())


GUARD = "has(steps.ask) ? {} : null"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (lambda order: optional(in_when(order)), GUARD.format("steps.ask")),
        (lambda order: optional(in_when(order).price), GUARD.format("steps.ask.price")),
        (lambda order: optional(in_when(order).price + 1), GUARD.format("steps.ask.price + 1")),
        (lambda order: optional(optional(in_when(order))), GUARD.format("steps.ask")),
        (lambda order: is_present(optional(in_when(order))), f"({GUARD.format('steps.ask')}) != null"),
        (lambda order: optional(in_when(order).price) == 3, f"({GUARD.format('steps.ask.price')}) == 3"),
        (lambda order: collected(in_loop(order)), "steps.ask"),
        (lambda order: collected(in_loop(order))[0].price, "steps.ask[0].price"),
        (lambda order: collected(in_loop(order).price), "steps.ask.map(item, item.price)"),
        (lambda order: collected(optional(when_in_loop(order))), "steps.ask"),
        (
            lambda order: collected(optional(when_in_loop(order).price)),
            "steps.ask.map(item, item == null ? null : item.price)",
        ),
        (lambda order: optional(collected(loop_in_when(order))), GUARD.format("steps.ask")),
        (lambda order: collected(collected(loop_in_loop(order))), "steps.ask"),
        (
            lambda order: collected(collected(loop_in_loop(order).price)),
            "steps.ask.map(item_1, item_1.map(item_2, item_2.price))",
        ),
    ],
)
def test_a_value_gets_out_by_optional_and_collected(body: Body, text: str) -> None:
    """As the text of the document, which is part of its hash."""
    assert outcome(body) == {"$": text}


def test_the_texts_say_what_is_meant() -> None:
    """On what the coordinator has: absent steps are left out, and a loop's step is the list of all items'."""

    def value(body: Body, results: dict[str, Any]) -> Any:
        return render(outcome(body), saga_id="s", input={}, results=results)

    assert value(lambda order: optional(in_when(order).price), {"ask": {"price": 3}}) == 3
    assert value(lambda order: optional(in_when(order).price), {}) is None
    sometimes: list[Any] = [{"price": 3}, None]
    assert value(lambda order: collected(optional(when_in_loop(order).price)), {"ask": sometimes}) == [3, None]
    nested = [[{"price": 1}], [], [{"price": 2}, {"price": 3}]]
    assert value(lambda order: collected(collected(loop_in_loop(order).price)), {"ask": nested}) == [[1], [], [2, 3]]


def test_inside_its_own_enclosure_a_value_is_simply_there() -> None:
    def body(order: Any) -> None:
        with for_each(order.lines, name="lines") as line:
            quote = step(Ask(about=line.item))
            with when(quote.price > 3):
                step(Tell(what=quote.price + line.index))

    assert outcome(body) is None


def test_a_wait_without_a_branch_surely_gives_the_event() -> None:
    assert outcome(lambda order: wait_for(Paid, deadline="1d").amount) == {"$": "steps.paid.amount"}


def test_a_decision_is_there_whichever_it_was() -> None:
    def body(order: Any) -> Any:
        decision = approval("review", role="fraud", deadline="1d")
        with denied(decision):
            step(Tell(what=decision.by))
        return decision.decision

    assert outcome(body) == {"$": "steps.review.decision"}


def when_left(order: Any) -> Any:
    quote = in_when(order)
    step(Tell(what=quote.price))


def otherwise_left(order: Any) -> Any:
    with when(order.rush):
        step(Tell(what="rush"))
    with otherwise():
        quote = step(Ask())
    return step(Tell(what=quote), name="again")


def then_in_otherwise(order: Any) -> Any:
    with when(order.rush):
        quote = step(Ask())
    with otherwise():
        step(Tell(what=quote))


def scope_left(order: Any) -> Any:
    with scope("hotel"):
        quote = step(Ask())
    step(Tell(what=quote))


def scope_inside(order: Any) -> Any:
    with scope("hotel") as hotel:
        step(Tell(what=hotel.reason))


def loop_left(order: Any) -> Any:
    quote = in_loop(order)
    step(Tell(what={"quotes": [quote]}))


def item_left(order: Any) -> Any:
    with for_each(order.lines) as line:
        step(Ask(about=line.item))
    step(Tell(what=line.item))


def index_left(order: Any) -> Any:
    with for_each(order.lines) as line:
        step(Ask())
    with when(line.index > 3):
        step(Tell(what=""))


def collected_inside(order: Any) -> Any:
    with for_each(order.lines):
        quote = step(Ask())
        step(Tell(what=collected(quote)))


def event_after_timeout(order: Any) -> Any:
    paid = wait_for(Paid, deadline="1d")
    with timed_out(paid):
        step(Tell(what="too late"))
    step(Tell(what=paid.amount), name="thanks")


def swallowed(order: Any) -> Any:
    quote = in_loop(order)
    try:
        step(Tell(what=quote))
    except DefinitionError:
        return None


@pytest.mark.parametrize(
    ("body", "line", "expected"),
    [
        (when_left, 2, "steps.ask may not have run, because it is in when() at"),
        (otherwise_left, 5, "from outside write optional(ask), which is None where it has not run"),
        (then_in_otherwise, 4, "steps.ask may not have run"),
        (scope_left, 3, "because it is in scope() at"),
        (scope_inside, 2, "steps.hotel.reason is known after the scope, not inside it"),
        (loop_left, 2, "steps.ask is of one item, because it is in for_each() at"),
        (loop_left, 2, "from outside write collected(ask), the list with one entry for each item"),
        (item_left, 3, "each.for_each_1.item is only there in for_each() at"),
        (index_left, 3, "each.for_each_1.index is only there in for_each() at"),
        (collected_inside, 3, "inside its loop it is the one of this item; write collected() after for_each()"),
        (event_after_timeout, 4, "steps.paid may not have run, because it is in the wait for 'paid' at"),
        (swallowed, 3, "steps.ask is of one item"),
        (lambda order: collected(when_in_loop(order)), 0, "it may not have run; write collected(optional(ask))"),
        (lambda order: collected(step(Ask())), 0, "there is one of it; drop collected()"),
        (lambda order: collected(order.id), 0, "collected() is for a step's result or a field of it, not for input.id"),
        (lambda order: collected(in_loop(order).price + 1), 0, "not for steps.ask.price + 1"),
        (lambda order: collected("x"), 0, "collected() takes a value of the saga"),
        (lambda order: optional(order.id), 0, "this is always there"),
        (
            lambda order: optional(in_when(order)).price,  # type: ignore[union-attr]
            0,
            "it may be null; read the field inside: optional(ask.price)",
        ),
        (
            lambda order: optional(collected(loop_in_when(order)))[0],  # type: ignore[index]
            0,
            "read the field inside: optional(ask[0])",
        ),
        (lambda order: step(Tell(what=optional(in_loop(order)))), 0, "from outside write collected(ask)"),
        (lambda order: step(Tell(what=collected(loop_in_loop(order)))), 0, "from outside write collected(ask)"),
    ],
)
def test_what_is_read_from_outside_unprotected_is_refused(body: Body, line: int, expected: str) -> None:
    """With the line where it is read, the place of the enclosure, and the mend."""
    said, found = refused(body)
    assert expected in said
    assert found == line


def test_in_a_parallel_each_branch_has_its_own() -> None:
    def body(order: Any) -> Any:
        with parallel():
            quote = in_when(order)
            child("other", {}, outcome=Quote)
        return optional(quote)

    assert outcome(body) == {"$": GUARD.format("steps.ask")}
