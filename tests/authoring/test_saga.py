"""A saga function becomes a document."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
import pytest

from authoring.orders import (
    Authorised,
    AuthorisePayment,
    CapturePayment,
    DispatchOrder,
    Line,
    Order,
    Receipt,
    ReserveStock,
    StockReserved,
    fulfil,
)
from countermand.participants.saga import Duration, Retry, parallel, pivot, saga, sequence, step
from countermand.schemas import Command, DefinitionError
from countermand.schemas.definition import RetryPolicy, canonical, decode_definition, definition_hash
from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.lint import lint


def reference(path: str) -> dict[str, str]:
    return {"$": path}


def test_document_says_what_the_function_says() -> None:
    """Order, branches, kinds, fields under their wire names, limits and outcome all arrive in the document."""
    nodes = msgspec.json.decode(fulfil.document)["root"]["nodes"]
    reserve, both, capture, dispatch = nodes
    assert reserve["input"] == {"order_id": reference("input.id"), "lines": reference("input.lines")}
    authorise, branch = both["branches"]
    assert authorise["timeout_ms"] == 10_000
    assert authorise["retry"] == {"attempts_max": 5, "backoff_ms": 500, "backoff_max_ms": 90_000}
    quote, box = branch["nodes"]
    assert (quote["compensation"], quote["because"]) == (False, "a quote binds nobody")
    assert box["name"] == "reserve_box"
    assert box["action"] == "reserve_stock"
    assert box["input"]["lines"] == [{"sku": reference("steps.quote_shipping.id"), "unitCount": 1}]
    assert (capture["kind"], dispatch["kind"]) == ("pivot", "retriable")
    assert fulfil.definition.deadline_ms == 2 * 60 * 60 * 1000
    assert fulfil.definition.outcome == {
        "order_id": reference("input.id"),
        "payment_id": reference("steps.authorise_payment.id"),
    }


def test_saga_knows_its_identity_and_types() -> None:
    assert (fulfil.name, fulfil.version) == ("order-fulfilment", 3)
    assert (fulfil.input_type, fulfil.outcome_type) == (Order, Receipt)
    assert fulfil.document == canonical(fulfil.definition)
    assert fulfil.hash == definition_hash(decode_definition(fulfil.document))
    assert lint(fulfil.definition) == []


def test_same_function_gives_the_same_identity() -> None:
    """Tracing is deterministic: writing a saga down twice gives one hash."""

    def write() -> str:
        @saga("twice", version=1)
        def twice(order: Order) -> StockReserved:
            return step(ReserveStock(order_id=order.id, lines=order.lines))

        return twice.hash

    assert write() == write()


def test_whole_results_lists_maps_and_pairs_can_be_read() -> None:
    @saga("reads", version=1)
    def reads(order: Order) -> dict[str, Any]:
        assert order.address is not None
        stock = step(ReserveStock(order_id=order.labels["on sale"], lines=[order.lines[0], order.lines[1]]))
        return {
            "stock": stock,
            "city": order.address.city,
            "sku": order.lines[2].sku,
            "count": order.lines[2].unit_count,
            "second": order.pair[1],
        }

    assert reads.definition.outcome == {
        "stock": reference("steps.reserve_stock"),
        "city": reference("input.address.city"),
        "sku": reference("input.lines[2].sku"),
        "count": reference("input.lines[2].unitCount"),
        "second": reference("input.pair[1]"),
    }
    [only] = reads.definition.steps()
    assert only.input["order_id"] == reference('input.labels["on sale"]')
    assert only.input["lines"] == [reference("input.lines[0]"), reference("input.lines[1]")]


def test_literals_are_sent_as_msgspec_sends_them() -> None:
    class Notify(Command[None], participant="mail", compensatable=False, because="a letter can't be unsent"):
        at: timedelta
        level: Annotated[int, msgspec.Meta(ge=1)]
        tags: dict[str, list[int]]

    @saga("notify", version=1)
    def notify(order: Order) -> None:
        step(Notify(at=timedelta(seconds=90), level=3, tags={"a": [1, 2]}))

    [only] = notify.definition.steps()
    assert only.input == {"at": "PT90S", "level": 3, "tags": {"a": [1, 2]}}
    with pytest.raises(DefinitionError, match=r"Notify\.level: Expected `int` >= 1"):

        @saga("notify", version=1)
        def too_low(order: Order) -> None:
            step(Notify(at=timedelta(seconds=90), level=0, tags={}))


def test_tagged_and_array_like_structs_keep_their_form() -> None:
    class Card(msgspec.Struct, tag="card"):
        number: str

    class Point(msgspec.Struct, array_like=True):
        x: int
        y: int

    class Place(msgspec.Struct):
        at: Point

    class Pay(Command[Place], participant="payments"):
        by: Card
        at: Point

    @saga("pay", version=1)
    def pay(order: Order) -> int:
        paid = step(Pay(by=Card(number=order.id), at=Point(x=order.total, y=2)))
        return paid.at.y

    [only] = pay.definition.steps()
    assert only.input == {
        "by": {"type": "card", "number": reference("input.id")},
        "at": [reference("input.total"), 2],
    }
    assert pay.definition.outcome == reference("steps.pay.at[1]")


def test_helper_functions_are_part_of_the_saga() -> None:
    """A saga may be put together from functions: what they write down is written where they are called."""

    def pay(order: Order) -> Authorised:
        return step(AuthorisePayment(order_id=order.id, amount=order.total))

    @saga("composed", version=1)
    def composed(order: Order) -> None:
        pivot(CapturePayment(payment_id=pay(order).id))

    assert [node.name for node in composed.definition.steps()] == ["authorise_payment", "capture_payment"]


@pytest.mark.parametrize(
    ("duration", "expected_ms"),
    [
        ("500ms", 500),
        ("10s", 10_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        (timedelta(seconds=1.5), 1_500),
    ],
)
def test_durations(duration: Duration, expected_ms: int) -> None:
    @saga("durations", version=1, deadline=duration)
    def durations(order: Order) -> None:
        step(ReserveStock(order_id=order.id, lines=[]), timeout=duration, undo_timeout=duration)

    [only] = durations.definition.steps()
    assert (durations.definition.deadline_ms, only.timeout_ms, only.undo_timeout_ms) == (expected_ms,) * 3


@pytest.mark.parametrize(
    "duration", [5, 1.5, "", "5", "s", "5 s", "-5s", "0s", "5sec", "1h 2m", timedelta(0), None, "٣s"]
)
def test_nonsense_durations_are_refused(duration: Any) -> None:
    with pytest.raises(DefinitionError, match=r"ReserveStock: timeout: .*(duration|above zero)"):

        @saga("nonsense", version=1)
        def nonsense(order: Order) -> None:
            step(ReserveStock(order_id=order.id, lines=[]), timeout="" if duration is None else duration)


def test_retry_without_end_is_for_forward_steps_and_compensations() -> None:
    for_ever = Retry(attempts=None, backoff="0s", jitter=0)

    @saga("patient", version=1)
    def patient(order: Order) -> None:
        step(ReserveStock(order_id=order.id, lines=[]), undo_retry=for_ever)
        pivot(CapturePayment(payment_id="p"))
        step(DispatchOrder(reservation_id="r"), retry=for_ever)

    first, _, last = patient.definition.steps()
    assert first.undo_retry == last.retry == RetryPolicy(attempts_max=None, backoff_ms=0, jitter_percent=0)
    with pytest.raises(DefinitionError, match=r"test_saga\.py:\d+: .*\[retry-unbounded\]"):

        @saga("impatient", version=1)
        def impatient(order: Order) -> None:
            step(ReserveStock(order_id=order.id, lines=[]), retry=for_ever)


def test_input_is_checked_before_it_is_sent() -> None:
    order = Order(id="o-1", lines=[Line(sku="a", unit_count=2)], total=3)
    assert msgspec.json.decode(fulfil.encode_input(order))["lines"] == [{"sku": "a", "unitCount": 2}]
    order.total = "three"  # type: ignore[assignment]
    with pytest.raises(MalformedMessage, match=r"input\.total: Expected `int`, got `str`"):
        fulfil.encode_input(order)
    order.id, order.total = "x" * 300_000, 3
    with pytest.raises(LimitExceeded, match=r"input: \d+ bytes"):
        fulfil.encode_input(order)


def test_outcome_is_decoded_into_its_type() -> None:
    assert fulfil.decode_outcome(b'{"order_id":"o","payment_id":"p"}') == Receipt(order_id="o", payment_id="p")
    with pytest.raises(MalformedMessage, match=r"outcome: .*payment_id"):
        fulfil.decode_outcome(b'{"order_id":"o"}')


def test_groups_that_do_nothing_are_found() -> None:
    with pytest.raises(DefinitionError, match="empty-group"):

        @saga("empty", version=1)
        def empty(order: Order) -> None:
            step(ReserveStock(order_id=order.id, lines=[]))
            with parallel(), sequence():
                pass
