"""The mail service: writes letters into its outbox, a table from which they would be sent.

Letters that were sent stay sent. Confirming a claim can be undone all the same, because a second letter sets it right.
"""

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from countermand.participants import Context, Participant
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox
from expenses.contracts import ConfirmClaim, SendMail
from expenses.database import open_database


class Base(DeclarativeBase):
    pass


class Letter(Base):
    __tablename__ = "letters"

    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]  # confirmed, withdrawn or news
    to: Mapped[str]
    text: Mapped[str]


def mail_on(engine: AsyncEngine) -> Participant:
    mail = Participant("mail", inbox=SqlAlchemyInbox(engine))

    @mail.handles(ConfirmClaim)
    async def confirm(command: ConfirmClaim, context: Context) -> None:
        write(context, "confirmed", command.employee, f"We are looking at {command.expense_id}.")

    @mail.compensates(ConfirmClaim)
    async def withdraw(command: ConfirmClaim, _: None, context: Context) -> None:
        if context.action_was_done:
            write(context, "withdrawn", command.employee, f"Nothing came of {command.expense_id}.")

    @mail.handles(SendMail)
    async def send(command: SendMail, context: Context) -> None:
        write(context, "news", command.to, command.text)

    return mail


def write(context: Context, kind: str, to: str, text: str) -> None:
    session: AsyncSession = context.transaction
    session.add(Letter(kind=kind, to=to, text=text))


async def service() -> Participant:
    return mail_on(await open_database("mail", Base.metadata))
