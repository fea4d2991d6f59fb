"""The payment service: holds the money of an order on the customer's card, then captures it or lets it go.

    python payments.py --amqp amqp://… --ledger payments.sqlite

What the bank says, and how long it takes to say it, is in `world.py`.
"""

from pathlib import Path

import world
from contracts import AuthorisePayment, CapturePayment, PaymentAuthorised
from ledger import move, open_ledger
from service import serve
from sqlalchemy.ext.asyncio import AsyncEngine

from countermand.participants.context import Context
from countermand.participants.errors import Rejected
from countermand.participants.inboxes.sqlalchemy import SqlAlchemyInbox
from countermand.participants.participant import Participant

CARD_LIMIT_CENTS = 200_000


def payments_on(engine: AsyncEngine) -> Participant:
    payments = Participant("payments", inbox=SqlAlchemyInbox(engine))

    @payments.handles(AuthorisePayment)
    async def authorise(command: AuthorisePayment, context: Context) -> PaymentAuthorised:
        if command.amount_cents > CARD_LIMIT_CENTS:
            raise Rejected("card_limit", f"{command.amount_cents} cents are over the limit of {CARD_LIMIT_CENTS}")
        if await world.bank_says_stolen(command.card, command.amount_cents, context.attempt):
            raise Rejected("card_stolen", "the bank reports this card as stolen")
        payment_id = f"payment-{command.order_id}"
        move(context, "authorise", payment_id, command.amount_cents, source="customer", target="held")
        return PaymentAuthorised(payment_id=payment_id)

    @payments.compensates(AuthorisePayment)
    async def void(command: AuthorisePayment, authorised: PaymentAuthorised | None, context: Context) -> None:
        if authorised is not None:
            move(context, "void", authorised.payment_id, command.amount_cents, source="held", target="customer")

    @payments.handles(CapturePayment)
    async def capture(command: CapturePayment, context: Context) -> None:
        move(context, "capture", command.payment_id, command.amount_cents, source="held", target="captured")

    return payments


async def open_payments(ledger: Path) -> list[Participant]:
    return [payments_on(await open_ledger(ledger))]


if __name__ == "__main__":
    serve(open_payments)
