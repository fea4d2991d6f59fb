"""What the services can be asked for, and what an employee can tell. Everybody imports this module.

Money is whole cents.
"""

from typing import Annotated

import msgspec

from countermand.schemas import Command, Event

# The examples are what `countermand dev` shows when it says how to start a saga.
Department = Annotated[str, msgspec.Meta(examples=["sales"])]
Cents = Annotated[int, msgspec.Meta(ge=1, examples=[24_000])]


class Expense(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(examples=["exp-1"])]
    employee: Annotated[str, msgspec.Meta(examples=["ada"])]
    department: Department
    purpose: Annotated[str, msgspec.Meta(examples=["train to Lisbon"])]
    cents: Cents


class Reimbursed(msgspec.Struct, frozen=True):
    """`heard_by` is who decided about the appeal, if there was one."""

    payment_id: str
    reviewed_by: str | None
    heard_by: str | None


# --- what an employee tells; the business key is the expense's id


class ReceiptsHandedIn(Event):
    link: str


class Appealed(Event):
    text: str


# --- finance


class BudgetReserved(msgspec.Struct, frozen=True):
    reservation_id: str


class ReserveBudget(Command[BudgetReserved], participant="finance"):
    department: Department
    cents: Cents


class BookExpense(
    Command[None],
    participant="finance",
    compensatable=False,
    because="it is the point of no return: from here on the company owes the money",
):
    reservation_id: str


class PaidOut(msgspec.Struct, frozen=True):
    payment_id: str


class PayOut(Command[PaidOut], participant="finance", compensatable=False, because="paid money is not taken back"):
    reservation_id: str
    employee: str


# --- mail


class ConfirmClaim(Command[None], participant="mail"):
    """Tells the employee that the claim is being looked at. Undone, it tells that nothing came of it."""

    expense_id: str
    employee: str


class SendMail(Command[None], participant="mail", compensatable=False, because="a mail can't be unsent"):
    to: str
    text: str
