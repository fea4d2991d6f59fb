"""What a document can't carry is refused at once, with the author's line and what to write instead."""

import contextlib
import copy
import json
import math
import pickle
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from authoring.orders import AuthorisePayment, CapturePayment, Line, Order, QuoteShipping, ReserveStock, fulfil
from countermand.participants.saga import Retry, for_each, parallel, pivot, saga, scope, step
from countermand.schemas import Command, DefinitionError

Body = Callable[[Any], Any]


def write(body: Body) -> None:
    @saga("misused", version=1)
    def misused(order: Order) -> None:
        step(ReserveStock(order_id=order.id, lines=order.lines))
        body(order)


def refused(body: Body) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        write(body)
    return caught.value


def matched(order: Any) -> str:
    match order:
        case str():
            return "text"
        case _:
            return "other"


async def awaited(order: Any) -> None:
    await order


def swallowed(order: Any) -> None:
    with contextlib.suppress(Exception):
        _ = order.total % 2


MISUSES: dict[str, tuple[Body, str]] = {
    "if": (lambda order: 1 if order.total else 2, "input.total (int) is used as a condition"),
    "not": (lambda order: not order.total, "as a condition"),
    "and": (lambda order: order.total and order.id, "as a condition"),
    "if of a comparison": (lambda order: 1 if order.id == "x" else 2, 'input.id == "x" (bool) is used as a condition'),
    "between": (lambda order: 1 < order.total < 5, "all_of(…), any_of(…) and none_of(…) instead of"),
    "and by sign": (lambda order: (order.total > 1) & (order.total < 5), "as a condition"),
    "never equal": (lambda order: order.total == "x", 'input.total (int) can\'t be compared with "x"'),
    "no order": (lambda order: order.lines < order.lines, "let a participant compare them"),
    "another struct": (lambda order: order.lines[0] == order.address, "let a participant compare them"),
    "member": (lambda order: "x" in order.labels, "in a loop"),
    "f-string": (lambda order: f"{order.id}", "as text"),
    "format": (lambda order: "{:>5}".format(order.id), "as text"),  # noqa: UP032
    "str": (lambda order: str(order.id), "as text"),
    "percent": (lambda order: "%s" % order.id, "as text"),  # noqa: UP031
    "plus of text and number": (lambda order: order.id + 1, "input.id (str) + 1: a text and a number can't be put"),
    "plus of number and text": (lambda order: "no. " + order.total, "let the participant write the text"),
    "minus of a text": (lambda order: -order.id, "in arithmetic"),
    "whole division": (lambda order: order.total // 2, "a document can only + - * and /"),
    "remainder": (lambda order: order.total % 2, "in arithmetic"),
    "power, reversed": (lambda order: 2**order.total, "in arithmetic"),
    "too large": (lambda order: order.total + 2**60, "1152921504606846976 can't stand in an expression"),
    "not finite": (lambda order: order.total * math.inf, "inf has no form in JSON"),
    "half a character": (lambda order: order.id + "\ud800", "characters that JSON can't carry"),
    "no constant": (lambda order: order.lines[0] == Line(sku="a", unit_count=1), "Line can't stand in an expression"),
    "round": (lambda order: round(order.total), "in arithmetic"),
    "for": (lambda order: [line for line in order.lines], "in a loop or unpacking"),  # noqa: C416
    "unpack": (lambda order: [*order.lines], "in a loop or unpacking"),
    "len": (lambda order: len(order.lines), "in a loop or unpacking"),
    "join": (lambda order: ", ".join(order.lines), "in a loop or unpacking"),
    "sum": (lambda order: sum(order.lines), "in a loop or unpacking"),
    "hash": (lambda order: {order.id: 1}, "as a key or set member"),
    "set": (lambda order: {order.id}, "as a key or set member"),
    "int": (lambda order: int(order.total), "as a number"),
    "float": (lambda order: float(order.total), "as a number"),
    "math": (lambda order: math.sqrt(order.total), "as a number"),
    "index": (lambda order: [1, 2][order.total], "as a number"),
    "attribute set": (lambda order: setattr(order, "id", "x"), "in an assignment"),
    "method": (lambda order: order.id.upper(), "str has no field 'upper'"),
    "call": (lambda order: order.lines[0](), "as a function"),
    "isinstance": (lambda order: isinstance(order.id, str), "in isinstance or match"),
    "match": (matched, "in isinstance or match"),
    "await": (lambda order: awaited(order).send(None), "drop the await"),
    "with": (lambda order: order.__enter__(), "in await or with"),
    "json": (lambda order: json.dumps(order.id), "input.id (str) is used by dumps()"),
    "msgspec": (lambda order: msgspec.json.encode(order.id), "no function of Python's can work on them"),
    "pickle": (lambda order: pickle.dumps(order.id), "in a pickle"),
    "decimal": (lambda order: Decimal(order.total), "conversion from a traced value to Decimal"),
    "join of texts": (lambda order: ",".join([order.id]), "expected str instance, a traced value found"),
    "date": (lambda order: datetime.fromisoformat(order.id), "let the participant do it"),
    "path": (lambda order: Path(order.id), "input.id (str) is used by Path()"),
    "next": (lambda order: next(order.lines), "in a loop or unpacking"),
    "as dict": (lambda order: dict(order.labels), 'read its entries with ["key"]'),
    "__dict__": (lambda order: order.__dict__, "a place in a saga's data has no __dict__"),
    "index by a place": (lambda order: order.lines[order.total], "input.lines[input.total]: which entry that is shows"),
    "key by a place": (lambda order: order.labels[order.id], "let the participant look it up"),
    "forgotten step": (
        lambda order: CapturePayment(payment_id=order.id).receipt,  # type: ignore[attr-defined]
        "if its result is meant, write step(CapturePayment(…)).receipt",
    ),
    "missing field": (lambda order: step(CapturePayment()), "Missing required argument 'payment_id'"),  # type: ignore[call-arg]
    "class of a command": (lambda order: step(CapturePayment), "write CapturePayment(…) with its fields"),  # type: ignore[arg-type]
    "saga in a saga": (lambda order: fulfil(order), "write child(…)"),  # type: ignore[operator]
    "swallowed": (swallowed, "input.total (int) is used in arithmetic"),
    "no such field": (lambda order: order.nope, "its fields are: id, lines, total, address, labels, pair"),
    "no such inner field": (lambda order: order.address.zip, "Address has no field 'zip'"),
    "from the end": (lambda order: order.lines[-1], "count from the front"),
    "slice": (lambda order: order.lines[0:2], "pass the whole list"),
    "list by name": (lambda order: order.lines["a"], "list[Line] has no ['a']"),
    "beyond a pair": (lambda order: order.pair[2], "has no [2]"),
    "field of a map": (lambda order: order.labels.colour, '["key"]'),
    "text into a number": (
        lambda order: step(AuthorisePayment(order_id=order.id, amount=order.id)),
        "AuthorisePayment.amount: expected float, but input.id is str",
    ),
    "list into a text": (
        lambda order: step(CapturePayment(payment_id=[order.id])),  # type: ignore[arg-type]
        "CapturePayment.payment_id: expected str, got a list of 1",
    ),
    "map into a list": (
        lambda order: step(ReserveStock(order_id="o", lines=order.labels), name="again"),
        "expected list[Line], but input.labels is dict[str, str]",
    ),
    "wrong struct": (
        lambda order: step(QuoteShipping(address=order.lines[0])),
        "expected Address | None, but input.lines[0] is Line",
    ),
    "wrong literal": (
        lambda order: step(CapturePayment(payment_id=7)),  # type: ignore[arg-type]
        "CapturePayment.payment_id: expected str, got int",
    ),
    "wrong literal beside a path": (
        lambda order: step(
            ReserveStock(order_id="o", lines=[Line(sku=order.id, unit_count="x")]),  # type: ignore[arg-type]
            name="again",
        ),
        "ReserveStock.lines[0].unit_count: expected int, got str",
    ),
    "not a number": (
        lambda order: step(AuthorisePayment(order_id="o", amount=math.nan)),
        "AuthorisePayment.amount: nan has no form in JSON",
    ),
    "text of a path": (
        lambda order: step(CapturePayment(payment_id=f"{order.id!r}")),
        "was made from a traced value",
    ),
    "no result": (
        lambda order: step(ReserveStock(order_id=step(CapturePayment(payment_id="p")), lines=[]), name="x"),  # type: ignore[arg-type]
        "step 'capture_payment' has no result: it is a Command[None] or a saga that returns None",
    ),
    "no result's field": (
        lambda order: step(CapturePayment(payment_id="p")).id,  # type: ignore[attr-defined]
        "step 'capture_payment' has no result",
    ),
    "same name twice": (
        lambda order: step(ReserveStock(order_id="o", lines=[])),
        "the step name 'reserve_stock' is already used at",
    ),
    "bad name": (
        lambda order: step(CapturePayment(payment_id="p"), name="Capture"),
        "name: 'Capture' is not valid",
    ),
    "no command": (lambda order: step(order), "takes a command"),
    "bare command": (lambda order: step(Bare(x=1)), 'participant="…"'),
    "no Retry": (
        lambda order: step(CapturePayment(payment_id="p"), retry=3),  # type: ignore[arg-type]
        "retry: expected Retry",
    ),
    "no attempts": (
        lambda order: step(CapturePayment(payment_id="p"), retry=Retry(attempts="many")),  # type: ignore[arg-type]
        "retry.attempts: 'many' is not a whole number",
    ),
    "reserved key": (
        lambda order: step(Open(data={"$ref": order.id})),
        "keys that begin with '$' are reserved",
    ),
    "unknown kind of object": (lambda order: step(Open(data={"a": object()})), "can't be sent as JSON"),
}


class Bare(Command[None]):
    x: int


class Open(Command[None], participant="anybody"):
    data: dict[str, Any]


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_names_the_line_and_the_mend(name: str) -> None:
    body, expected = MISUSES[name]
    error = refused(body)
    assert expected in str(error)
    assert "test_misuse.py:" in error.path


def test_the_line_is_the_authors() -> None:
    def body(order: Any) -> None:
        _ = order.total
        _ = order.total % 2

    first_line = body.__code__.co_firstlineno
    assert refused(body).path.endswith(f"test_misuse.py:{first_line + 2}")


def test_traced_values_end_with_their_function() -> None:
    """Kept values are refused in another saga and outside of any, whatever is done with them."""
    kept: list[Any] = []
    write(kept.append)
    for use in (
        lambda: kept[0].id,
        lambda: kept[0] == 1,
        lambda: f"{kept[0]}",
        lambda: write(lambda _order: kept[0].id),
        lambda: write(lambda _order: step(CapturePayment(payment_id=kept[0]))),
    ):
        with pytest.raises(DefinitionError, match=r"test_misuse\.py:\d+: input belongs to the definition of 'misused'"):
            use()


def test_repr_and_copy_help_the_author_who_looks() -> None:
    """A debugger may show a traced value; that alone is no misuse."""
    seen: list[str] = []
    write(lambda order: seen.append(repr(copy.copy(order.lines)[0].sku)))
    assert seen == ["<traced input.lines[0].sku: str>"]


@pytest.mark.parametrize("use", [lambda: step(CapturePayment(payment_id="p")), lambda: parallel().__enter__()])
def test_steps_stand_inside_a_saga(use: Callable[[], Any]) -> None:
    with pytest.raises(DefinitionError, match=r"test_misuse\.py:\d+: .* stands inside a function decorated with @saga"):
        use()


def test_a_group_is_written_once() -> None:
    def body(order: Any) -> None:
        group = parallel()
        for _ in range(2):
            with group:
                step(CapturePayment(payment_id="p"))

    assert "was already written" in str(refused(body))


def test_what_a_with_gives_says_what_can_be_read() -> None:
    """The item's fields stand behind `.item`; a scope has its own few."""

    def field_of_item(order: Any) -> None:
        with for_each(order.lines) as line:
            step(CapturePayment(payment_id=line.sku))  # type: ignore[attr-defined]

    def misspelt(order: Any) -> None:
        with scope("part") as part:
            step(CapturePayment(payment_id=order.id))
        _ = part.fail  # type: ignore[attr-defined]

    assert "has no field 'sku'; write .item or .index behind it" in str(refused(field_of_item))
    assert "has no field 'fail'; write .failed, .code, .reason or .step behind it" in str(refused(misspelt))


def test_branches_do_not_see_each_other() -> None:
    def body(order: Any) -> None:
        with parallel():
            paid = step(AuthorisePayment(order_id=order.id, amount=1))
            step(CapturePayment(payment_id=paid.id))

    error = refused(body)
    assert error.path.endswith(f"test_misuse.py:{body.__code__.co_firstlineno + 3}")
    assert "has not surely run before" in str(error)


def test_one_pivot_and_none_in_a_parallel() -> None:
    def twice(order: Any) -> None:
        pivot(CapturePayment(payment_id="p"))
        pivot(CapturePayment(payment_id="p"), name="again")

    def side_by_side(order: Any) -> None:
        with parallel():
            pivot(CapturePayment(payment_id="p"))

    assert "pivot-twice" in str(refused(twice))
    assert "pivot-in-parallel" in str(refused(side_by_side))


def test_a_step_that_is_never_undone_says_why() -> None:
    class Send(Command[None], participant="mail", compensatable=False):
        to: str

    assert "compensation-missing" in str(refused(lambda order: step(Send(to=order.id))))


def test_fields_that_may_be_missing_are_refused() -> None:
    class Sparse(msgspec.Struct, omit_defaults=True):
        note: str = ""

    class Unset(msgspec.Struct):
        note: str | msgspec.UnsetType = msgspec.UNSET

    for type_, why in ((Sparse, "omit_defaults"), (Unset, "UNSET")):

        def sparse(order: Any) -> None:
            step(CapturePayment(payment_id=order.note))

        sparse.__annotations__.update({"order": type_, "return": None})
        with pytest.raises(DefinitionError, match=why):
            saga("sparse", version=1)(sparse)


def not_annotated(order):  # type: ignore[no-untyped-def]
    pass


def no_return(order: Order):  # type: ignore[no-untyped-def]
    pass


def no_parameter() -> None:
    pass


async def asynchronous(order: Order) -> None:
    pass


def unknown_annotation(order: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (not_annotated, "has to declare the type of 'order'"),
        (no_return, "has to declare what it returns"),
        (no_parameter, "takes one parameter"),
        (asynchronous, "drop async"),
        (unknown_annotation, "'Nowhere' is not defined"),
    ],
)
def test_signatures_are_checked(function: Any, expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected) as caught:
        saga("signature", version=1)(function)
    assert "test_misuse.py:" in caught.value.path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "Order Saga", "version": 1}, "name: 'Order Saga' is not valid"),
        ({"name": "order", "version": 0}, "definition-version"),
        ({"name": "order", "version": "1"}, "version: '1' is not a whole number"),
        ({"name": "order", "version": 1, "deadline": 5}, "deadline: 5 is not a duration"),
        ({"name": "order", "version": 1, "deadline": "400d"}, r"\[deadline\]"),
    ],
)
def test_declarations_are_checked(arguments: dict[str, Any], expected: str) -> None:
    def body(order: Order) -> None:
        step(ReserveStock(order_id=order.id, lines=order.lines))

    with pytest.raises(DefinitionError, match=expected):
        saga(**arguments)(body)


def test_the_outcome_is_what_was_declared() -> None:
    def wrong(order: Order) -> int:
        step(ReserveStock(order_id=order.id, lines=order.lines))
        return order.id  # type: ignore[return-value]

    with pytest.raises(DefinitionError, match=r"the outcome: expected int, but input\.id is str"):
        saga("outcome", version=1)(wrong)
