"""What a saga says once for all its steps, and what it says to tell two steps apart."""

import re
from typing import Any

import pytest

from authoring.orders import AuthorisePayment, CapturePayment, DispatchOrder, Order, QuoteShipping, ReserveStock
from countermand.participants.saga import Retry, pivot, saga, step
from countermand.schemas import DefinitionError
from countermand.schemas.definition import STEP_TIMEOUT_MS, RetryPolicy


def test_timeout_and_retry_of_the_saga_are_for_steps_without_their_own() -> None:
    """They are written into each step, so that a document needs no knowledge of where they came from."""

    @saga("defaults", version=1, timeout="10s", retry=Retry(attempts=7))
    def defaults(order: Order) -> None:
        step(ReserveStock(order_id=order.id, lines=order.lines))
        step(AuthorisePayment(order_id=order.id, amount=1), timeout="1m", retry=Retry(attempts=2))
        pivot(CapturePayment(payment_id=order.id))
        step(DispatchOrder(reservation_id=order.id))

    reserve, authorise, capture, dispatch = defaults.definition.steps()
    assert (reserve.timeout_ms, reserve.retry) == (10_000, RetryPolicy(attempts_max=7))
    assert (authorise.timeout_ms, authorise.retry) == (60_000, RetryPolicy(attempts_max=2))
    assert (capture.timeout_ms, capture.retry) == (10_000, RetryPolicy(attempts_max=7))
    # After the pivot a step has to succeed in the end, whatever was said for all.
    assert (dispatch.timeout_ms, dispatch.retry) == (10_000, None)
    assert (reserve.undo_timeout_ms, reserve.undo_retry) == (STEP_TIMEOUT_MS, None)


def test_saying_it_once_and_saying_it_everywhere_is_the_same_saga() -> None:
    @saga("same", version=1, timeout="10s", retry=Retry(attempts=7))
    def once(order: Order) -> None:
        step(ReserveStock(order_id=order.id, lines=order.lines))

    @saga("same", version=1)
    def everywhere(order: Order) -> None:
        step(ReserveStock(order_id=order.id, lines=order.lines), timeout="10s", retry=Retry(attempts=7))

    assert once.hash == everywhere.hash


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"timeout": 10}, "timeout: 10 is not a duration"),
        ({"retry": 3}, "retry: expected Retry"),
        ({"retry": Retry(attempts=None)}, "retry.attempts: a default ends at some time"),
        ({"retry": Retry(backoff="soon")}, "retry.backoff: 'soon' is not a duration"),
    ],
)
def test_defaults_are_checked_where_they_are_written(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=rf"test_defaults\.py:\d+: {re.escape(expected)}"):
        saga("defaults", version=1, **arguments)


def test_one_contract_is_used_twice_under_two_names() -> None:
    @saga("both-sides", version=1)
    def both_sides(order: Order) -> None:
        left = step(QuoteShipping(address=order.address), name="quote_left")
        step(ReserveStock(order_id=left.id, lines=[]))
        step(QuoteShipping(address=order.address), name="quote_right")

    first, _, last = both_sides.definition.steps()
    assert (first.name, first.action, last.name, last.action) == (
        "quote_left",
        "quote_shipping",
        "quote_right",
        "quote_shipping",
    )


def test_a_name_used_twice_names_both_lines() -> None:
    def twice(order: Order) -> None:
        step(QuoteShipping())
        step(QuoteShipping())

    first = twice.__code__.co_firstlineno + 1
    with pytest.raises(DefinitionError) as caught:
        saga("twice", version=1)(twice)
    assert caught.value.path.endswith(f"test_defaults.py:{first + 1}")
    assert f"already used at {caught.value.path[: caught.value.path.index(':')]}:{first}; write name=" in str(
        caught.value
    )


def test_a_line_that_runs_twice_says_how_to_name_each_run() -> None:
    def repeated(order: Order) -> None:
        for _ in range(2):
            step(QuoteShipping())

    with pytest.raises(DefinitionError, match=r'the line ran twice.*name=f"…_\{index\}"'):
        saga("repeated", version=1)(repeated)
