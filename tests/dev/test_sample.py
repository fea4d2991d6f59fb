"""The input that is shown to start a saga with: it can be pasted and works."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from countermand.participants.saga import saga, step
from countermand.participants.sample import sample_input, sketched_input
from countermand.schemas import Command


class Take(Command[None], participant="anybody"):
    what: Any


class Line(msgspec.Struct):
    sku: Annotated[str, msgspec.Meta(examples=["lamp"])]
    quantity: Annotated[int, msgspec.Meta(ge=2)]


class Order(msgspec.Struct, rename="camel"):
    order_id: str
    lines: list[Line]
    kind: Literal["gift", "own"]
    note: str | None
    customer: UUID
    place: dict[str, float]
    later: bool = True


class Endless(msgspec.Struct):
    next: "Endless"


@saga("take", version=1)
def take(order: Order) -> None:
    step(Take(what=order.lines[0].sku), name="first")
    step(Take(what={"a": order.place, "b": [order.order_id]}), name="second")


@saga("endless", version=1)
def endless(one: Endless) -> None:
    step(Take(what=one.next))


def test_a_sample_is_what_the_saga_takes() -> None:
    """Required fields under their names on the wire, examples where the author gave some, limits kept."""
    sample = sample_input(take)
    assert sample is not None
    assert msgspec.json.decode(sample) == {
        "orderId": "order-id-1",
        "lines": [{"sku": "lamp", "quantity": 2}],
        "kind": "gift",
        "note": "note-1",
        "customer": "00000000-0000-4000-8000-000000000001",
        "place": {"key": 1},
    }
    assert take.encode_input(msgspec.json.decode(sample, type=Order))


def test_no_sample_is_better_than_a_wrong_one() -> None:
    """A type that holds itself without end has no value that could be shown."""
    assert sample_input(endless) is None


def test_a_document_is_sketched() -> None:
    """Of a document only the fields that it refers to are known."""
    sketch = msgspec.json.decode(sketched_input(take.definition))
    assert sketch == {"lines": [{"sku": "…"}], "place": "…", "orderId": "…"}
