"""What a contract declares, and what it may not."""

import msgspec
import pytest

from countermand.schemas import Command, DefinitionError, Event
from countermand.schemas.contract import command_info, event_info, snake_case
from countermand.schemas.errors import InvalidIdentifier


class Reserved(msgspec.Struct):
    id: str


class ReserveStock(Command[Reserved], participant="inventory"):
    order_id: str
    count: int = 1


class SendLetter(Command[None], participant="mail", name="send", compensatable=False, because="it is gone"):
    to: str


class OrderPaid(Event):
    amount: float


class Renamed(Event, name="order_refunded"):
    amount: float


def test_a_command_knows_what_it_is() -> None:
    info = command_info(ReserveStock)
    assert (info.name, info.participant, info.result_type) == ("reserve_stock", "inventory", Reserved)
    assert info.compensatable
    letter = command_info(SendLetter)
    assert (letter.name, letter.result_type, letter.compensatable) == ("send", type(None), False)
    assert letter.because == "it is gone"


def test_an_event_knows_its_name() -> None:
    assert event_info(OrderPaid).name == "order_paid"
    assert event_info(Renamed).name == "order_refunded"


def test_contracts_are_frozen_structs_that_validate_when_decoded() -> None:
    command = ReserveStock(order_id="o")
    assert msgspec.json.decode(msgspec.json.encode(command), type=ReserveStock) == command
    with pytest.raises(AttributeError):
        command.count = 2
    with pytest.raises(msgspec.ValidationError, match=r"\$\.count"):
        msgspec.json.decode(b'{"order_id":"o","count":"x"}', type=ReserveStock)


def test_a_command_without_participant_is_refused_where_it_is_used() -> None:
    class Bare(Command[None]):
        x: int

    with pytest.raises(DefinitionError, match='participant="…"'):
        command_info(Bare)


def test_declarations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DefinitionError, match="says who handles it"):

        class Nameless(Command[None], name="nameless"):
            pass

    with pytest.raises(DefinitionError, match="compensatable=False"):

        class Reasoned(Command[None], participant="p", because="why"):
            pass

    with pytest.raises(DefinitionError, match="say what it results in"):

        class Resultless(Command, participant="p"):  # type: ignore[type-arg]
            pass

    with pytest.raises(InvalidIdentifier, match=r"Shouting\.participant"):

        class Shouting(Command[None], participant="PAYMENTS"):
            pass

    with pytest.raises(InvalidIdentifier, match=r"Odd\.name"):

        class Odd(Command[None], participant="p", name="odd-name"):
            pass


@pytest.mark.parametrize(
    ("class_name", "name"),
    [("ReserveStock", "reserve_stock"), ("HTTPCall", "http_call"), ("Order2Cash", "order2_cash"), ("A", "a")],
)
def test_names_on_the_wire(class_name: str, name: str) -> None:
    assert snake_case(class_name) == name
