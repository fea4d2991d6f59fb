"""The saga: take the money from one account, put it into the other.

Between the two steps the money is in neither account, and it may yet come back. Whoever looked at the accounts then
would decide on a balance that isn't one. So each transfer locks both accounts until it has ended. All transfers take
the locks in the order of the accounts' names: if each took its source first, two that go opposite ways would wait for
each other.

Nobody likes to undo money that nobody knows to have moved. `on_unknown="probe"` has the bank asked what became of it.
"""

from countermand.participants.saga import Retry, lock, otherwise, pivot, saga, step, when
from money_transfer.contracts import Deposit, Receipt, Transfer, Withdraw

# Long enough for a service that was killed to come back.
PATIENT = Retry(attempts=4, backoff="500ms", backoff_max="4s")


@saga("money-transfer", version=1, deadline="1h", timeout="2s", retry=PATIENT)
def transfer(order: Transfer) -> Receipt:
    with when(order.source < order.target, name="source_is_first"):
        lock("account", order.source, timeout="10m", name="lock_source")
        lock("account", order.target, timeout="10m", name="then_lock_target")
    with otherwise():
        lock("account", order.target, timeout="10m", name="lock_target")
        # Whoever asks twice for one lock waits for its own end.
        with when(order.source != order.target, name="another_account"):
            lock("account", order.source, timeout="10m", name="then_lock_source")
    withdrawn = step(
        Withdraw(transfer_id=order.id, account=order.source, cents=order.cents),
        on_unknown="probe",
    )
    deposited = pivot(
        Deposit(transfer_id=order.id, account=order.target, cents=order.cents),
        on_unknown="probe",
    )
    return Receipt(transfer_id=order.id, withdrawal=withdrawn.booking, deposit=deposited.booking)
