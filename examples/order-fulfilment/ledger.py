"""A service's ledger: every effect is one line that moves an amount of something from one account to another.

What an account holds is what was moved there less what was moved away, so nothing appears or vanishes unseen. The lines
are written in the transaction of the inbox: a line stands if and only if its command counts as done.

Nothing here keeps a command from being booked twice. That is the inbox's work, and a ledger that caught the mistake
would hide it from the demonstration.
"""

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import case, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from countermand.participants.context import Context
from countermand.participants.inboxes.sqlalchemy import create_tables


class Base(DeclarativeBase):
    pass


class Line(Base):
    __tablename__ = "ledger"

    number: Mapped[int] = mapped_column(primary_key=True)
    saga_id: Mapped[str] = mapped_column(index=True)
    operation: Mapped[str]
    item: Mapped[str] = mapped_column(index=True)
    amount: Mapped[int]
    source: Mapped[str]
    target: Mapped[str]


def move(context: Context, operation: str, item: str, amount: int, *, source: str, target: str) -> None:
    """Writes one line, in the transaction of the command that is being handled."""
    session: AsyncSession = context.transaction
    session.add(
        Line(saga_id=context.saga_id, operation=operation, item=item, amount=amount, source=source, target=target)
    )


async def balance_of(context: Context, account: str, item: str) -> int:
    """How much of an item an account holds."""
    session: AsyncSession = context.transaction
    signed = case((Line.target == account, Line.amount), (Line.source == account, -Line.amount), else_=0)
    return await session.scalar(select(func.coalesce(func.sum(signed), 0)).where(Line.item == item)) or 0


async def open_ledger(path: Path, *, opening: Iterable[tuple[str, str, str, int]] = ()) -> AsyncEngine:
    """The database with the ledger and the inbox's table; a new ledger begins with the `opening` lines."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    await create_tables(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        if await connection.scalar(select(func.count()).select_from(Line)) == 0:
            for source, target, item, amount in opening:
                line = {"saga_id": "", "operation": "open", "item": item, "amount": amount}
                await connection.execute(insert(Line).values(**line, source=source, target=target))
    return engine
