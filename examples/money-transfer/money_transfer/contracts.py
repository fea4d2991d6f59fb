"""What the bank can be asked for. Money is whole cents, because an account has to balance."""

from typing import Annotated

import msgspec

from countermand.schemas import Command

# The examples are what `countermand dev` shows when it says how to start a transfer.
Source = Annotated[str, msgspec.Meta(examples=["alice"])]
Target = Annotated[str, msgspec.Meta(examples=["bob"])]
Cents = Annotated[int, msgspec.Meta(ge=1, examples=[2_500])]


class Transfer(msgspec.Struct, frozen=True):
    id: str
    source: Source
    target: Target
    cents: Cents


class Receipt(msgspec.Struct, frozen=True):
    transfer_id: str
    withdrawal: str
    deposit: str


class Booked(msgspec.Struct, frozen=True):
    """A line in an account's statement."""

    booking: str


class Withdraw(Command[Booked], participant="bank"):
    transfer_id: str
    account: str
    cents: Cents


class Deposit(
    Command[Booked],
    participant="bank",
    compensatable=False,
    because="it is the point of no return: the money belongs to somebody else now",
):
    transfer_id: str
    account: str
    cents: Cents
