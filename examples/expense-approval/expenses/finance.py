"""The finance service: reserves a department's budget for a claim, books it as spent, and pays."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from countermand.participants import Context, Participant, Rejected
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox
from expenses.contracts import BookExpense, BudgetReserved, PaidOut, PayOut, ReserveBudget
from expenses.database import open_database

BUDGET_CENTS = {"sales": 1_000_000, "research": 250_000}


class Base(DeclarativeBase):
    pass


class Reservation(Base):
    __tablename__ = "reservations"

    id: Mapped[str] = mapped_column(primary_key=True)
    department: Mapped[str] = mapped_column(index=True)
    cents: Mapped[int]
    state: Mapped[str]  # reserved, released, booked or paid


def finance_on(engine: AsyncEngine) -> Participant:
    finance = Participant("finance", inbox=SqlAlchemyInbox(engine))

    @finance.handles(ReserveBudget)
    async def reserve(command: ReserveBudget, context: Context) -> BudgetReserved:
        left_cents = BUDGET_CENTS.get(command.department, 0) - await used_cents(context, command.department)
        if command.cents > left_cents:
            raise Rejected("over_budget", f"{command.cents} cents asked for, {left_cents} left in {command.department}")
        session: AsyncSession = context.transaction
        # The key is the step's own: the same for every attempt, and never another saga's.
        reservation = Reservation(
            id=f"reservation-{context.key}", department=command.department, cents=command.cents, state="reserved"
        )
        session.add(reservation)
        return BudgetReserved(reservation_id=reservation.id)

    @finance.compensates(ReserveBudget)
    async def release(command: ReserveBudget, reserved: BudgetReserved | None, context: Context) -> None:
        # This transaction keeps what it does if and only if it is answered, so "not done" can't happen half.
        if reserved is not None:
            await change(context, reserved.reservation_id, "released")

    @finance.handles(BookExpense)
    async def book(command: BookExpense, context: Context) -> None:
        await change(context, command.reservation_id, "booked")

    @finance.handles(PayOut)
    async def pay(command: PayOut, context: Context) -> PaidOut:
        await change(context, command.reservation_id, "paid")
        return PaidOut(payment_id=f"payment-{context.saga_id}")

    return finance


async def used_cents(context: Context, department: str) -> int:
    session: AsyncSession = context.transaction
    used = select(func.coalesce(func.sum(Reservation.cents), 0)).where(
        Reservation.department == department, Reservation.state != "released"
    )
    return await session.scalar(used) or 0


async def change(context: Context, reservation_id: str, state: str) -> None:
    session: AsyncSession = context.transaction
    reservation = await session.get_one(Reservation, reservation_id)
    reservation.state = state


async def service() -> Participant:
    return finance_on(await open_database("finance", Base.metadata))
