"""Mistakes of a saga function that only its source shows."""

from collections.abc import Callable
from typing import Any

import pytest

from authoring.orders import CapturePayment, Order, Quote, QuoteShipping, ReserveStock
from countermand.participants.saga import for_each, optional, parallel, pivot, saga, sequence, step, when
from countermand.schemas import DefinitionError


def none_in_if(order: Order) -> None:
    if order.address is not None:
        step(QuoteShipping(address=order.address))
    pivot(CapturePayment(payment_id=order.id))


def none_of_a_result(order: Order) -> None:
    quote = step(QuoteShipping())
    price = quote.id
    step(CapturePayment(payment_id="p" if price is None else price))


def none_in_match(order: Order) -> None:
    with parallel():
        match order.address:
            case None:
                step(QuoteShipping())
            case _:
                step(CapturePayment(payment_id="p"))


def lost_command(order: Order) -> None:
    ReserveStock(order_id=order.id, lines=order.lines)
    step(CapturePayment(payment_id="p"))


def lost_group(order: Order) -> None:
    parallel()
    step(CapturePayment(payment_id="p"))


def lost_when(order: Order) -> None:
    when(order.total > 3)
    step(CapturePayment(payment_id="p"))


def none_of_an_optional(order: Order) -> None:
    with when(order.total > 3):
        quote = step(QuoteShipping())
    known = optional(quote)
    if known is None:
        step(CapturePayment(payment_id="p"))


def none_of_an_item(order: Order) -> None:
    with for_each(order.lines) as line:
        step(CapturePayment(payment_id="p" if line.item is None else line.item.sku))


@pytest.mark.parametrize(
    ("function", "line", "expected"),
    [
        (none_in_if, 1, "order.address is compared with None"),
        (none_of_a_result, 3, "price is compared with None"),
        (none_in_match, 2, "order.address is compared with None"),
        (lost_command, 1, "ReserveStock(…) alone is a command that nobody is sent; write step(ReserveStock(…))"),
        (lost_group, 1, "parallel() alone groups nothing; write `with parallel():`"),
        (lost_when, 1, "when() alone groups nothing; write `with when(order.total > 3):`"),
        (none_of_an_optional, 4, "known is compared with None"),
        (none_of_an_optional, 4, "write `with when(is_present(known)):`, or pass the value on"),
        (none_of_an_item, 2, "line.item is compared with None"),
    ],
)
def test_what_would_go_wrong_in_silence_is_found(function: Callable[[Order], None], line: int, expected: str) -> None:
    """The line is that of the mistake, and the mend is told."""
    with pytest.raises(DefinitionError) as caught:
        saga("silent", version=1)(function)
    assert expected in str(caught.value)
    assert caught.value.path.endswith(f"test_reading.py:{function.__code__.co_firstlineno + line}")


def test_what_is_the_authors_own_is_left_alone() -> None:
    """Asserts, values that may be None while the saga is written down, and options of a factory are no mistakes."""

    def factory(gift: bool, note: str | None) -> Any:
        @saga("fine", version=1)
        def fine(order: Order) -> Quote | None:
            assert order.address is not None
            assert order.address.street is not None, "the shop asks for it"
            quote = None
            if gift:
                quote = step(QuoteShipping(address=order.address))
            if note is None and quote is None:
                with sequence():
                    step(CapturePayment(payment_id=order.address.street))
            return quote

        return fine

    assert [each.name for each in factory(False, None).definition.steps()] == ["capture_payment"]
    assert [each.name for each in factory(True, "x").definition.steps()] == ["quote_shipping"]


def test_code_without_a_source_is_written_down_as_ever() -> None:
    names: dict[str, Any] = {"Order": Order, "step": step, "CapturePayment": CapturePayment}
    source = "def generated(order: Order) -> None:\n    step(CapturePayment(payment_id=order.id))\n"
    exec(source, names)  # noqa: S102  Generated code is what this is about.
    assert saga("generated", version=1)(names["generated"]).name == "generated"
