"""The saga: an expense from its claim to its payment. It mostly waits, for days, and survives every restart meanwhile.

The function runs once, when this module is imported, and is written down as data.
"""

from countermand.participants.saga import (
    approval,
    denied,
    optional,
    pivot,
    saga,
    step,
    timed_out,
    wait_for,
)
from expenses.contracts import (
    Appealed,
    BookExpense,
    ConfirmClaim,
    Expense,
    PayOut,
    ReceiptsHandedIn,
    Reimbursed,
    ReserveBudget,
    SendMail,
)


@saga("expense-approval", version=1, deadline="30d")
def reimburse(expense: Expense) -> Reimbursed:
    step(ConfirmClaim(expense_id=expense.id, employee=expense.employee))
    reserved = step(ReserveBudget(department=expense.department, cents=expense.cents))

    receipts = wait_for(ReceiptsHandedIn, key=expense.id, deadline="3d", name="receipts")
    with timed_out(receipts):
        step(SendMail(to=expense.employee, text="Please hand in the receipts of " + expense.id), name="remind")
        # Nobody waits for receipts any longer than this: without a branch of its own, it turns the saga back.
        late_receipts = wait_for(ReceiptsHandedIn, key=expense.id, deadline="4d", name="late_receipts")

    claim = {
        "expense": expense.id,
        "employee": expense.employee,
        "purpose": expense.purpose,
        "cents": expense.cents,
        "receipts": optional(receipts.link),
        "receipts_after_reminder": optional(late_receipts.link),
    }
    review = approval(
        "review",
        role="managers",
        shows=claim,
        requester=expense.employee,
        deadline="5d",
        escalate_after="2d",
        escalate_to="directors",
    )
    with denied(review):
        step(SendMail(to=expense.employee, text="Not approved. You may appeal. " + review.comment), name="tell_denied")
        appeal = wait_for(Appealed, key=expense.id, deadline="3d", name="appeal")
        hearing = approval(
            "hearing",
            role="directors",
            shows=claim | {"denied_because": review.comment, "appeal": appeal.text},
            requester=expense.employee,
            deadline="5d",
        )

    pivot(BookExpense(reservation_id=reserved.reservation_id))
    paid = step(PayOut(reservation_id=reserved.reservation_id, employee=expense.employee))
    step(SendMail(to=expense.employee, text="Paid: " + paid.payment_id), name="tell_paid")
    return Reimbursed(payment_id=paid.payment_id, reviewed_by=review.by, heard_by=optional(hearing.by))
