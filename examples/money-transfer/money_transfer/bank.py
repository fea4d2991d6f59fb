"""The bank: accounts, and the bookings on them, in an SQL database; the inbox's table lies beside them.

A booking and the inbox's record of its command commit in one transaction. So a command that comes twice is booked
once, and a probe has a certain answer: the inbox gives it where it has a record. Where it has none its handler is
asked, and looks at the bookings themselves: a clerk may have made one by hand while the service was down. What isn't
there was not done, and from then on the inbox lets nobody do it.
"""

import os

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from countermand.participants import Context, Participant, Rejected
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox, create_tables
from money_transfer.contracts import Booked, Deposit, Withdraw

FIRST_BALANCES = {"alice": 10_000, "bob": 5_000, "carol": 0}


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(primary_key=True)
    cents: Mapped[int]


class Booking(Base):
    __tablename__ = "bookings"

    # The step's own key: the same for every attempt, for the compensation and for the probe.
    key: Mapped[str] = mapped_column(primary_key=True)
    transfer_id: Mapped[str]
    account: Mapped[str]
    cents: Mapped[int]

    @property
    def told(self) -> Booked:
        return Booked(booking=f"{self.account} {self.cents:+} ({self.transfer_id})")


def bank_on(engine: AsyncEngine) -> Participant:
    bank = Participant("bank", inbox=SqlAlchemyInbox(engine))

    @bank.handles(Withdraw)
    async def withdraw(command: Withdraw, context: Context) -> Booked:
        account = await account_of(context, command.account)
        if account.cents < command.cents:
            raise Rejected("no_funds", f"{account.name} has {account.cents} cents")
        return book(context, account, -command.cents, command.transfer_id)

    @bank.compensates(Withdraw)
    async def pay_back(command: Withdraw, booked: Booked | None, context: Context) -> None:
        session: AsyncSession = context.transaction
        booking = await session.get(Booking, context.key)
        # What was rolled back left no booking, so there is nothing to pay back.
        if booking is not None:
            account = await account_of(context, command.account)
            account.cents -= booking.cents
            await session.delete(booking)

    @bank.probes(Withdraw)
    async def find_withdrawal(command: Withdraw, context: Context) -> Booked | None:
        return await found(context)

    @bank.handles(Deposit)
    async def deposit(command: Deposit, context: Context) -> Booked:
        return book(context, await account_of(context, command.account), command.cents, command.transfer_id)

    @bank.probes(Deposit)
    async def find_deposit(command: Deposit, context: Context) -> Booked | None:
        return await found(context)

    return bank


def book(context: Context, account: Account, cents: int, transfer_id: str) -> Booked:
    """Writes the line and changes the balance, in the transaction in which the command is noted as done."""
    session: AsyncSession = context.transaction
    account.cents += cents
    booking = Booking(key=context.key, transfer_id=transfer_id, account=account.name, cents=cents)
    session.add(booking)
    return booking.told


async def found(context: Context) -> Booked | None:
    """What became of the action with this key: the booking, or None if there is none."""
    session: AsyncSession = context.transaction
    booking = await session.get(Booking, context.key)
    return None if booking is None else booking.told


async def account_of(context: Context, name: str) -> Account:
    session: AsyncSession = context.transaction
    account = await session.get(Account, name)
    if account is None:
        raise Rejected("no_account", f"there is no open account {name}")
    return account


async def open_bank(url: str) -> AsyncEngine:
    """The database with the bank's tables and its inbox's; a new one begins with the first balances."""
    engine = create_async_engine(url)
    await create_tables(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        if await connection.scalar(select(Account.name).limit(1)) is None:
            rows = [{"name": name, "cents": cents} for name, cents in FIRST_BALANCES.items()]
            await connection.execute(insert(Account), rows)
    return engine


async def service() -> Participant:
    """The bank on the database that BANK_DATABASE names; `countermand dev` calls it."""
    return bank_on(await open_bank(os.environ.get("BANK_DATABASE", "sqlite+aiosqlite:///bank.sqlite")))
