"""The contracts that the tests of dataclasses and of pydantic models share."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, field_serializer, model_validator

from countermand.participants.saga import pivot, saga, step
from countermand.schemas import ResultsIn, command


class Speed(Enum):
    SLOW = "slow"
    FAST = "fast"


class Line(BaseModel):
    sku: str
    count: int = Field(gt=0, alias="unitCount")


class Labels(RootModel[list[str]]):
    pass


class Order(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    id: str
    total: Decimal = Field(alias="orderTotal")
    due: date
    lines: list[Line]
    labels: Labels = Labels([])
    speed: Speed = Speed.SLOW
    gift: Line | str | None = None
    secret: str = Field("", exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def first_line(self) -> str:
        return self.lines[0].sku if self.lines else ""


class Reserved(BaseModel):
    reservation_id: str = Field(alias="reservationId")
    until: datetime


@command(participant="inventory")
class ReserveStock(BaseModel, ResultsIn[Reserved]):
    model_config = ConfigDict(frozen=True, extra="forbid")

    order_id: str = Field(alias="orderId")
    lines: Annotated[list[Line], Field(min_length=1)]
    amount: Decimal
    due: date = date(2030, 1, 31)
    speed: Speed = Speed.FAST

    @model_validator(mode="after")
    def amount_is_not_negative(self) -> Self:
        if self.amount < 0:
            raise ValueError(f"{self.amount} is below zero")
        return self

    @field_serializer("speed")
    def speed_in_capitals(self, speed: Speed) -> str:
        return speed.value

    def model_post_init(self, context: object) -> None:
        assert self.order_id.strip()


@dataclass(frozen=True)
class Charged:
    payment_id: str
    at: datetime


@command(participant="payments", name="charge")
@dataclass(frozen=True, slots=True)
class ChargeCard(ResultsIn[Charged]):
    order_id: str
    amount: Decimal
    line: Line
    speed: Speed = Speed.SLOW

    def __post_init__(self) -> None:
        if self.amount <= 0:
            raise ValueError(f"{self.amount} is nothing to charge")


@command(participant="mail", compensatable=False, because="a letter can't be unsent")
@dataclass
class SendLetter(ResultsIn[None]):
    to: str


class Receipt(BaseModel):
    order_id: str
    reserved: Reserved
    paid_at: datetime


@saga("modelled", version=1)
def modelled(order: Order) -> Receipt:
    stock = step(
        ReserveStock(
            orderId=order.id, lines=[order.lines[0], Line(sku=order.lines[1].sku, unitCount=2)], amount=order.total
        )
    )
    line = Line(sku=stock.reservation_id, unitCount=order.lines[0].count)
    paid = pivot(ChargeCard(order_id=order.id, amount=order.total, line=line))
    step(SendLetter(to=paid.payment_id))
    return Receipt(order_id=order.id, reserved=stock, paid_at=paid.at)
