"""What suppliers and the purchasing department can be asked for. Money is whole cents."""

from typing import Annotated

import msgspec

from countermand.schemas import Command

# The examples are what `countermand dev` shows when it says how to start a purchase.
Part = Annotated[str, msgspec.Meta(examples=["ball bearing"])]
Quantity = Annotated[int, msgspec.Meta(ge=1, examples=[200])]
Suppliers = Annotated[list[str], msgspec.Meta(examples=[["supplier-001", "supplier-002", "supplier-007"]])]


class Enquiry(msgspec.Struct, frozen=True):
    id: str
    part: Part
    quantity: Quantity
    limit_cents: Annotated[int, msgspec.Meta(examples=[300_000])]
    suppliers: Suppliers


class Purchase(msgspec.Struct, frozen=True):
    order: str
    supplier: str
    price_cents: int


# --- suppliers


class Quote(msgspec.Struct, frozen=True):
    """A price that a supplier keeps, and goods that it keeps back, until it hears of us."""

    id: str
    supplier: str
    price_cents: int


class AskQuote(Command[Quote], participant="suppliers"):
    supplier: str
    part: str
    quantity: int


class Ordered(msgspec.Struct, frozen=True):
    order: str


class PlaceOrder(
    Command[Ordered], participant="suppliers", compensatable=False, because="it is the point of no return: it binds us"
):
    quote_id: str


class DeclineQuote(
    Command[None], participant="suppliers", compensatable=False, because="whoever was told no sells to somebody else"
):
    quote_id: str


# --- purchasing


class Choice(msgspec.Struct, frozen=True):
    best: Quote
    others: list[Quote]


class ChooseQuote(Command[Choice], participant="purchasing", compensatable=False, because="choosing changes nothing"):
    """A quote that isn't there is None."""

    quotes: list[Quote | None]
    limit_cents: int
