"""Handlers whose commands and results are dataclasses or pydantic models."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pydantic.dataclasses
import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from countermand.participants import Context, Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.schemas import Command, DefinitionError, ResultsIn
from countermand.schemas import command as contract
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Failed, Rejected, Succeeded
from participants.orders import command

CARD = "4111-1111"


class Line(BaseModel):
    sku: str
    count: int = Field(gt=0, alias="unitCount")


class Reserved(BaseModel):
    reservation_id: str = Field(alias="reservationId")
    until: datetime
    price: Decimal = Decimal("0.50")


@contract(participant="inventory")
class Reserve(BaseModel, ResultsIn[Reserved]):
    model_config = ConfigDict(frozen=True, strict=True)

    order_id: str
    lines: list[Line]
    amount: Decimal = Decimal(0)

    @field_validator("order_id")
    @classmethod
    def no_card_number(cls, value: str) -> str:
        if value == CARD:
            raise ValueError(f"{value} is a card's number")
        return value


@dataclass(frozen=True)
class Weighed:
    grams: Decimal
    line: Line


@contract(participant="inventory")
@dataclass(frozen=True)
class Weigh(ResultsIn[Weighed]):
    line: Line
    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"{self.times} times is never")


class Desk:
    """A participant that keeps what its handlers were given, and gives what it is told to."""

    def __init__(self) -> None:
        self.participant = Participant("inventory", inbox=MemoryInbox())
        self.given: list[Any] = []
        self.result: Any = None
        self.participant.handles(Reserve)(self.reserve)
        self.participant.compensates(Reserve)(self.release)
        self.participant.handles(Weigh)(self.weigh)
        self.participant.compensates(Weigh)(self.unweigh)

    async def reserve(self, command: Reserve, context: Context) -> Reserved:
        self.given.append(command)
        result: Reserved = self.result
        return result

    async def release(self, command: Reserve, reserved: Reserved | None, context: Context) -> None:
        self.given += [command, reserved]

    async def weigh(self, command: Weigh, context: Context) -> Weighed:
        self.given.append(command)
        result: Weighed = self.result
        return result

    async def unweigh(self, command: Weigh, weighed: Weighed | None, context: Context) -> None:
        self.given += [command, weighed]

    async def answer(self, action: str, body: str, direction: Direction = "do") -> Any:
        asked = command(action=action, body=body.encode(), direction=direction)
        return (await self.participant.handle(asked)).outcome


RESERVE = '{"order_id":"o","lines":[{"sku":"a","unitCount":2}],"amount":"0.10","unknown":1}'
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


async def test_a_model_is_validated_handled_answered_and_undone_by_its_own_rules() -> None:
    """Aliases, decimals and strictness are pydantic's; the result goes out under its aliases and comes back typed."""
    desk = Desk()
    desk.result = Reserved(reservationId="r-1", until=NOON)
    outcome = await desk.answer("reserve", RESERVE)
    assert isinstance(outcome, Succeeded)
    assert bytes(outcome.result) == b'{"reservationId":"r-1","until":"2030-01-31T12:00:00Z","price":"0.50"}'
    expected = Reserve(order_id="o", lines=[Line(sku="a", unitCount=2)], amount=Decimal("0.10"))
    assert desk.given == [expected]
    undone = await desk.answer("reserve", f'{{"command":{RESERVE},"result":null}}', "undo")
    assert isinstance(undone, Succeeded)
    assert desk.given[1:] == [expected, desk.result]


async def test_a_model_inside_a_dataclass_keeps_its_rules() -> None:
    desk = Desk()
    desk.result = Weighed(Decimal("1.50"), Line(sku="a", unitCount=1))
    outcome = await desk.answer("weigh", '{"line":{"sku":"a","unitCount":1}}')
    assert isinstance(outcome, Succeeded)
    assert bytes(outcome.result) == b'{"grams":"1.50","line":{"sku":"a","unitCount":1}}'
    assert desk.given == [Weigh(Line(sku="a", unitCount=1))]


@pytest.mark.parametrize(
    ("action", "body", "reason"),
    [
        ("reserve", '{"order_id":"o"}', "body.lines: Field required"),
        ("reserve", '{"order_id":7,"lines":[]}', "body.order_id: Input should be a valid string"),
        (
            "reserve",
            '{"order_id":"o","lines":[{"sku":"a","unitCount":0}]}',
            "body.lines[0].unitCount: Input should be greater than 0",
        ),
        ("reserve", f'{{"order_id":"{CARD}","lines":[]}}', "body.order_id: not valid"),
        ("reserve", '{"order_id":', "body: not valid"),
        ("weigh", '{"line":{"sku":"a","unitCount":-1}}', "body.line.unitCount: Input should be greater than 0"),
        ("weigh", '{"line":{"sku":"a","unitCount":1},"times":0}', "body: not valid"),
        ("weigh", '{"times":"x"}', "body.times: Expected `int`, got `str`"),
    ],
)
async def test_what_a_contract_does_not_take_is_rejected_without_telling_the_value(
    action: str, body: str, reason: str
) -> None:
    """As with Structs: nothing was done, so it is a rejection, and it names the field."""
    desk = Desk()
    assert await desk.answer(action, body) == Rejected("malformed_command", reason)
    assert desk.given == []


async def test_a_result_that_breaks_its_contract_fails() -> None:
    desk = Desk()
    desk.result = Reserved.model_construct(reservation_id=CARD)
    assert await desk.answer("reserve", RESERVE) == Failed("WrongResult")


def test_the_announcement_has_the_models_own_schemas() -> None:
    """Of the command what it takes, of the result what it writes, and every reference leads somewhere."""
    announced = {each.action: each for each in Desk().participant.announcement().actions}
    schema = announced["reserve"].schema
    assert schema is not None
    assert schema["command"]["properties"]["lines"]["items"] == {"$ref": "#/$defs/Reserve.validation.Line"}
    assert schema["$defs"]["Reserve.validation.Line"]["properties"]["unitCount"]["exclusiveMinimum"] == 0
    assert schema["command"]["properties"]["amount"]["anyOf"][0]["type"] == "number"
    assert schema["result"]["properties"]["price"]["type"] == "string"
    assert all(reference in schema["$defs"] for reference in references(schema))
    weigh = announced["weigh"].schema
    assert weigh is not None
    assert all(reference in weigh["$defs"] for reference in references(weigh))
    assert "unitCount" in str(weigh)


def references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else []
        return own + [found for value in schema.values() for found in references(value)]
    return [found for value in schema for found in references(value)] if isinstance(schema, list) else []


def test_models_of_one_name_are_told_apart() -> None:
    class Address(msgspec.Struct):
        here: Line
        there: "Other.Line"

    class Ask(Command[Line], participant="inventory", compensatable=False, because="asking is free"):
        address: Address

    participant = Participant("inventory", inbox=MemoryInbox())
    participant.handles(Ask)(lambda command, context: Line(sku="a", unitCount=1))
    [announced] = participant.announcement().actions
    assert announced.schema is not None
    fields = announced.schema["$defs"]["Address"]["properties"]
    assert "unitCount" in fields["here"]["properties"]
    assert list(fields["there"]["properties"]) == ["nested"]
    assert "deep" in announced.schema["$defs"]["Line2.validation.Inner"]["properties"]


class Other:
    class Line(BaseModel):
        class Inner(BaseModel):
            deep: str

        nested: Inner


def test_types_that_can_not_be_read_by_their_own_rules_are_refused_when_registered() -> None:
    @pydantic.dataclasses.dataclass
    class Guarded:
        id: str

    class Ask(Command[Guarded], participant="inventory"):
        id: str

    class Plain(BaseModel):
        id: str

    participant = Participant("inventory", inbox=MemoryInbox())
    with pytest.raises(DefinitionError, match="Guarded is a dataclass of pydantic's"):
        participant.handles(Ask)
    with pytest.raises(DefinitionError, match=r'Plain: not a command; write .*@command\(participant="inventory"\)'):
        participant.handles(Plain)  # type: ignore[type-var]
