"""What the services of the shop can be asked for. Everybody imports this module; nobody imports each other.

Money is whole cents, because a ledger has to balance.
"""

import msgspec

from countermand.schemas import Command


class OrderLine(msgspec.Struct, frozen=True):
    sku: str
    quantity: int
    price_cents: int


class Address(msgspec.Struct, frozen=True):
    name: str
    street: str
    postcode: str
    city: str


class Order(msgspec.Struct, frozen=True):
    id: str
    card: str
    lines: list[OrderLine]
    total_cents: int
    address: Address


class Receipt(msgspec.Struct, frozen=True):
    order_id: str
    payment_id: str
    tracking_code: str


# --- inventory


class StockReserved(msgspec.Struct, frozen=True):
    reservation_id: str


class ReserveStock(Command[StockReserved], participant="inventory"):
    order_id: str
    lines: list[OrderLine]


# --- payments


class PaymentAuthorised(msgspec.Struct, frozen=True):
    payment_id: str


class AuthorisePayment(Command[PaymentAuthorised], participant="payments"):
    order_id: str
    card: str
    amount_cents: int


class CapturePayment(
    Command[None],
    participant="payments",
    compensatable=False,
    because="it is the point of no return: captured money goes back as a refund, which is a business case of its own",
):
    payment_id: str
    amount_cents: int


# --- shipping


class ShippingQuoted(msgspec.Struct, frozen=True):
    quote_id: str
    price_cents: int


class QuoteShipping(
    Command[ShippingQuoted], participant="carriers", compensatable=False, because="a quote binds nobody"
):
    order_id: str
    address: Address


class OrderDispatched(msgspec.Struct, frozen=True):
    tracking_code: str


class DispatchOrder(
    Command[OrderDispatched],
    participant="shipping",
    compensatable=False,
    because="a parcel that is on its way can't be called back",
):
    order_id: str
    reservation_id: str
    quote_id: str
    address: Address
