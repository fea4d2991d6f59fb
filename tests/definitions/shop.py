"""One saga, as a Python author writes it and as a team without Python does."""

PYTHON = """\
import msgspec
from countermand.participants.saga import Retry, parallel, pivot, saga, step
from countermand.schemas.contract import Command

print("imported")

class Order(msgspec.Struct):
    id: str
    total: float

class Reserved(msgspec.Struct):
    reservation_id: str

class ReserveStock(Command[Reserved], participant="inventory"):
    order_id: str

class AuthorisePayment(Command[None], participant="payments"):
    amount: float

class QuoteShipping(Command[None], participant="shipping", compensatable=False, because="a quote binds nobody"):
    at: str

class Dispatch(Command[None], participant="shipping"):
    reservation_id: str

@saga("order", version=3, deadline="2h")
def fulfil(order: Order) -> Reserved:
    stock = step(ReserveStock(order_id=order.id))
    with parallel():
        step(AuthorisePayment(amount=order.total), timeout="10s", retry=Retry(attempts=5))
        step(QuoteShipping(at="2026-01-31T12:00:00"))
    pivot(Dispatch(reservation_id=stock.reservation_id))
    return Reserved(reservation_id=stock.reservation_id)

@saga("other", version=1)
def other(order: Order) -> None:
    step(ReserveStock(order_id=order.id))
"""

YAML = """\
countermand: 1
name: order
version: 3
deadline_ms: 7200000
root:
  node: sequence
  nodes:
    - {node: step, name: reserve_stock, participant: inventory, action: reserve_stock, input: {order_id: {$: input.id}}}
    - node: parallel
      branches:
        - node: step
          name: authorise_payment
          participant: payments
          action: authorise_payment
          input: {amount: {$: input.total}}
          timeout_ms: 10000
          retry: {attempts_max: 5}
        - node: step
          name: quote_shipping
          participant: shipping
          action: quote_shipping
          input:
            at: "2026-01-31T12:00:00"
          compensation: false
          because: a quote binds nobody
    - node: step
      name: dispatch
      participant: shipping
      action: dispatch
      kind: pivot
      input: {reservation_id: {$: steps.reserve_stock.reservation_id}}
outcome:
  reservation_id: {$: steps.reserve_stock.reservation_id}
"""
