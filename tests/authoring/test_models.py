"""Sagas whose inputs, commands and results are dataclasses or pydantic models."""

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pydantic.dataclasses
import pytest
from pydantic import AliasPath, BaseModel, Field, ValidationError, field_validator, model_serializer

from authoring.models import (
    ChargeCard,
    Charged,
    Line,
    Order,
    Receipt,
    Reserved,
    ReserveStock,
    SendLetter,
    Speed,
    modelled,
)
from countermand.participants.saga import Saga, saga, step
from countermand.participants.sample import sample_input
from countermand.schemas import Command, DefinitionError, ResultsIn, command
from countermand.schemas.contract import command_info
from countermand.schemas.errors import MalformedMessage


def reference(path: str) -> dict[str, str]:
    return {"$": path}


def write(body: Callable[[Any], Any], input_type: Any = Order, outcome_type: Any = None) -> Saga[Any, Any]:
    def written(order: Any) -> Any:
        outcome = body(order)
        return None if outcome_type is None else outcome

    written.__annotations__.update({"order": input_type, "return": outcome_type})
    return saga("written", version=1)(written)


def refused(body: Callable[[Any], Any], input_type: Any = Order) -> str:
    with pytest.raises(DefinitionError) as caught:
        write(body, input_type)
    assert "test_models.py:" in caught.value.path
    return str(caught.value)


def test_the_document_has_the_names_and_forms_of_the_wire() -> None:
    """Aliases, enums, dates and defaults stand in the document as the classes themselves write them."""
    reserve, charge, letter = modelled.definition.steps()
    assert reserve.input == {
        "orderId": reference("input.id"),
        "lines": [reference("input.lines[0]"), {"sku": reference("input.lines[1].sku"), "unitCount": 2}],
        "amount": reference("input.orderTotal"),
        "due": "2030-01-31",
        "speed": "fast",
    }
    assert charge.input == {
        "order_id": reference("input.id"),
        "amount": reference("input.orderTotal"),
        "line": {
            "sku": reference("steps.reserve_stock.reservationId"),
            "unitCount": reference("input.lines[0].unitCount"),
        },
        "speed": "slow",
    }
    assert (charge.action, charge.participant, charge.kind) == ("charge", "payments", "pivot")
    assert letter.input == {"to": reference("steps.charge.payment_id")}
    assert modelled.definition.outcome == {
        "order_id": reference("input.id"),
        "reserved": reference("steps.reserve_stock"),
        "paid_at": reference("steps.charge.at"),
    }


def test_input_and_outcome_keep_their_classes_rules() -> None:
    lines = [Line(sku="a", unitCount=1), Line(sku="b", unitCount=2)]
    order = Order(id="o-1", total=Decimal("19.90"), due=date(2030, 1, 31), lines=lines)  # type: ignore[call-arg]
    sent = msgspec.json.decode(modelled.encode_input(order))
    assert sent["orderTotal"] == "19.90"
    assert sent["due"] == "2030-01-31"
    assert "secret" not in sent
    order.lines[1].count = 0
    with pytest.raises(MalformedMessage, match=r"input\.lines\[1\]\.unitCount: Input should be greater than 0"):
        modelled.encode_input(order)
    outcome = modelled.decode_outcome(
        b'{"order_id":"o","reserved":{"reservationId":"r","until":"2030-01-31T12:00:00Z"},'
        b'"paid_at":"2030-01-31T12:00:00Z"}'
    )
    assert isinstance(outcome, Receipt)
    assert outcome.reserved.until.tzinfo is not None


def test_a_sample_input_can_be_made() -> None:
    sample = sample_input(modelled)
    assert sample is not None
    assert Order.model_validate_json(sample).lines[0].count == 1


def test_dataclasses_are_inputs_and_outcomes() -> None:
    @dataclasses.dataclass
    class Item:
        sku: str

    @dataclasses.dataclass
    class Basket:
        id: str
        items: list[Item]
        gift: Item | None = None

    def body(basket: Any) -> Any:
        step(SendLetter(to=basket.items[0].sku))
        return Basket(id=basket.id, items=[Item(sku=basket.gift.sku)])

    written = write(body, Basket, Basket)
    assert written.definition.outcome == {
        "id": reference("input.id"),
        "items": [{"sku": reference("input.gift.sku")}],
        "gift": None,
    }
    assert written.encode_input(Basket("1", [])) == b'{"id":"1","items":[],"gift":null}'
    assert "input: Basket has no field 'nope'" in refused(lambda basket: basket.nope, Basket)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda order: order.nope, "Order has no field 'nope'; its fields are: id, total, due"),
        (lambda order: order.first_line, "Order.first_line is computed"),
        (lambda order: order.secret, "Order.secret is excluded from the JSON"),
        (lambda order: order.labels.root, "Labels is on the wire what it wraps"),
        (lambda order: order.total + 1, "input.orderTotal (decimal) is used in arithmetic"),
        (lambda order: Line(sku=order.id), "Line needs 'unitCount', which is missing here"),  # type: ignore[call-arg]
        (lambda order: Line(sku=order.id, unitCount=1, size=2), "Line has no field 'size'; its fields are: sku, count"),  # type: ignore[call-arg]
        (lambda order: Line(sku=order.id, unitCount=0), "Line.count: Input should be greater than 0"),
        (lambda order: Line(sku="a", unitCount=0), "Line: unitCount: Input should be greater than 0"),
        (
            lambda order: step(SendLetter(to=order.total)),
            "SendLetter.to: expected str, but input.orderTotal is decimal",
        ),
        (
            lambda order: step(ChargeCard(order_id="o", amount=order.total, line=Line(sku=order.due, unitCount=1))),
            "ChargeCard.line.sku: expected str, but input.due is date",
        ),
        (
            lambda order: step(ChargeCard(order_id="o", amount=order.total, line=order)),
            "ChargeCard.line: expected Line, but input is Order",
        ),
        (
            lambda order: step(ChargeCard(order_id="o", amount=order.total, line=Labelled())),  # type: ignore[arg-type]
            "ChargeCard.line: expected Line, got Labelled",
        ),
        (
            lambda order: step(ChargeCard(order_id="o", amount=order.total, line=Labelled(label=order.id))),  # type: ignore[arg-type]
            "ChargeCard.line: expected Line, got Labelled",
        ),
        (lambda order: Line.model_validate({"sku": order.id}), "a model that is to hold values of the saga is made by"),
        (lambda order: step(Line(sku=order.id, unitCount=1)), 'write @command(participant="…") above its class'),  # type: ignore[arg-type]
        (lambda order: step(SendLetter), "write SendLetter(…) with its fields"),  # type: ignore[arg-type]
        (lambda order: SendLetter(to="a").sent, "if its result is meant, write step(SendLetter(…)).sent"),  # type: ignore[attr-defined]
    ],
)
def test_mistakes_name_the_line_and_the_mend(body: Callable[[Any], Any], expected: str) -> None:
    assert expected in refused(body)


class Labelled(BaseModel):
    label: str = "x"


def test_fields_whose_place_on_the_wire_is_unclear_are_refused() -> None:
    class Crooked(BaseModel):
        id: str = Field(validation_alias="read", serialization_alias="written")

    class Deep(BaseModel):
        id: str = Field(validation_alias=AliasPath("a", "b"))

    class Own(BaseModel):
        id: str

        @model_serializer
        def text(self) -> str:
            return self.id

    assert "Crooked.id is written as 'written' and not read under that name" in refused(lambda it: it.id, Crooked)
    assert "Deep.id is written as 'id' and not read under that name" in refused(lambda it: it.id, Deep)
    assert "Own: it has a model_serializer" in refused(lambda it: it.id, Own)


def test_unions_and_types_that_only_pydantic_knows_can_be_read() -> None:
    class Site(BaseModel):
        url: pydantic.HttpUrl
        anything: pydantic.JsonValue
        parent: "Site | None" = None

    def body(site: Any) -> None:
        step(SendLetter(to=site.url))
        step(SendLetter(to=site.anything), name="second")
        step(SendLetter(to=site.parent.parent.url), name="third")

    assert [each.input["to"] for each in write(body, Site).definition.steps()] == [
        reference("input.url"),
        reference("input.anything"),
        reference("input.parent.parent.url"),
    ]
    assert "Line | str" in refused(lambda order: step(SendLetter(to=order.gift)))


def test_a_fields_own_validator_waits_for_the_data() -> None:
    """A literal beside a traced value is left alone where the field has a validator of its own."""

    class Price(BaseModel):
        amount: int
        name: str

        @field_validator("amount", mode="before")
        @classmethod
        def cents(cls, value: object) -> object:
            return int(float(value) * 100) if isinstance(value, str) else value

    @command(participant="shop")
    class Offer(BaseModel, ResultsIn[None]):
        price: Price

    written = write(lambda order: step(Offer(price=Price(amount="0.05", name=order.id))))  # type: ignore[arg-type]
    [only] = written.definition.steps()
    assert only.input == {"price": {"amount": "0.05", "name": reference("input.id")}}


def test_checks_of_a_command_wait_for_the_data_and_those_of_its_parts_say_so() -> None:
    """`__post_init__` of a command's class isn't run on traced values; of other classes it is, and explains itself."""

    class Ship(Command[None], participant="shipping"):
        weight: int

        def __post_init__(self) -> None:
            if self.weight < 0:
                raise ValueError("lighter than air")

    @dataclasses.dataclass
    class Parcel:
        weight: int

        def __post_init__(self) -> None:
            if self.weight < 0:
                raise ValueError("lighter than air")

    write(lambda order: step(Ship(weight=order.lines[0].count)))
    with pytest.raises(ValueError, match="lighter than air"):
        Ship(weight=-1)
    with pytest.raises(ValueError, match="is nothing to charge"):
        ChargeCard(order_id="o", amount=Decimal(0), line=Line(sku="a", unitCount=1))
    assert "__post_init__ runs when the saga is written down" in refused(lambda order: Parcel(order.lines[0].count))


def test_models_check_themselves_before_after_and_beside_a_trace() -> None:
    """Only the thread that writes a saga down sees tolerant models, and only until it is written."""
    constructor = BaseModel.__init__
    seen: list[type[BaseException]] = []

    def elsewhere() -> None:
        try:
            Line(sku=7, unitCount=1)  # type: ignore[arg-type]
        except (ValidationError, DefinitionError) as error:
            seen.append(type(error))

    def body(order: Any) -> None:
        assert BaseModel.__init__ is not constructor
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        step(SendLetter(to=order.id))

    write(body)
    refused(lambda order: order.nope)
    assert BaseModel.__init__ is constructor
    assert seen == [ValidationError]


def test_declarations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DefinitionError, match=r"Bare: write @command above @dataclass"):

        @command(participant="p", result=int)
        class Bare:
            pass

    with pytest.raises(DefinitionError, match=r"Speechless: say what it results in: class Speechless"):

        @command(participant="p")
        @dataclasses.dataclass
        class Speechless:
            id: str

    with pytest.raises(DefinitionError, match=r"Torn: result=<class 'int'> isn't what ResultsIn says"):

        @command(participant="p", result=int)
        class Torn(BaseModel, ResultsIn[str]):
            id: str

    with pytest.raises(DefinitionError, match=r"Both: a dataclass of Python's|Both: a command is a dataclass of"):

        @command(participant="p", result=int)
        @pydantic.dataclasses.dataclass
        class Both:
            id: str

    with pytest.raises(DefinitionError, match=r"Plain: a Struct needs no decorator"):

        @command(participant="p", result=int)
        class Plain(msgspec.Struct):
            id: str

    with pytest.raises(DefinitionError, match="compensatable=False"):

        @command(participant="p", because="why")
        class Reasoned(BaseModel, ResultsIn[None]):
            id: str


def test_what_the_decorator_says_is_what_a_command_says() -> None:
    @command(participant="p", result=None)
    @dataclasses.dataclass
    class Untyped:
        id: str

    assert (command_info(Untyped).name, command_info(Untyped).result_type) == ("untyped", type(None))
    assert command_info(ReserveStock).result_type is Reserved
    assert command_info(ChargeCard).result_type is Charged
    letter = command_info(SendLetter)
    assert (letter.participant, letter.compensatable, letter.because) == ("mail", False, "a letter can't be unsent")


def test_pydantics_dataclasses_are_refused_wherever_they_stand() -> None:
    """Their validators would not run, so nobody may believe that they do."""

    @pydantic.dataclasses.dataclass
    class Guarded:
        id: str

    @dataclasses.dataclass
    class Around:
        inner: list[Guarded]

    assert "Guarded is a dataclass of pydantic's" in refused(lambda order: None, Around)


def test_whoever_has_no_pydantic_does_without() -> None:
    """Nothing of countermand's imports it."""
    script = (
        "import sys; from countermand.participants import Participant\n"
        "from countermand.participants.saga import saga, step\n"
        "from countermand.schemas import Command\n"
        "class Ask(Command[None], participant='p'):\n    x: int\n"
        "def ask(x: int) -> None:\n    step(Ask(x=x))\n"
        "saga('ask', version=1)(ask).encode_input(1)\n"
        "assert not any(name.startswith('pydantic') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_enums_are_written_by_value() -> None:
    written = write(
        lambda order: step(ChargeCard(order_id=order.id, amount=Decimal("1.10"), line=order.lines[0], speed=Speed.FAST))
    )
    [only] = written.definition.steps()
    assert (only.input["speed"], only.input["amount"]) == ("fast", "1.10")
