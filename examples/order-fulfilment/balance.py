"""The check: do the ledgers say what the sagas say? Any difference is printed, and the status is 1.

    python balance.py FOLDER [--json]

It judges countermand, so it uses nothing of it: it reads the SQLite files, and the two JSON files that the run left
beside them, with the standard library alone.

orders.jsonl    the orders that were placed
outcomes.jsonl  for each of them what the client was told (`told`), what the store holds (`stored`), and under which
                phase the store lists it (`listed`)
"""

import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LEDGERS = ("inventory", "payments", "shipping")


class Total(NamedTuple):
    """What an account of a ledger should hold, by the orders that were completed, and what it holds."""

    ledger: str
    account: str
    unit: str
    expected: int
    holds: int


class Move(NamedTuple):
    """One line of a ledger."""

    operation: str
    item: str
    amount: int
    source: str
    target: str


Moves = Counter[Move]
Ledger = dict[str, Moves]  # By saga; what was there before the first order is under "".
Order = dict[str, Any]
Outcome = dict[str, Any]


class Verdict(NamedTuple):
    """`differences` is everything in which ledgers, store and client don't agree; empty if all is well."""

    totals: list[Total]
    differences: list[str]


def judge(folder: Path) -> Verdict:
    """Compares what the sagas say with what the ledgers hold."""
    orders = {order["id"]: order for order in _json_lines(folder / "orders.jsonl")}
    outcomes = {outcome["saga_id"]: outcome for outcome in _json_lines(folder / "outcomes.jsonl")}
    ledgers = {name: read_ledger(folder / f"{name}.sqlite") for name in LEDGERS}
    found = [f"{order_id}: has no outcome" for order_id in orders.keys() - outcomes.keys()]
    found += [f"{saga_id}: nobody placed this order" for saga_id in outcomes.keys() - orders.keys()]
    for order_id in sorted(orders.keys() & outcomes.keys()):
        found += [f"{order_id}: {problem}" for problem in _of_order(orders[order_id], outcomes[order_id], ledgers)]
    for name, ledger in ledgers.items():
        found += [f"{saga_id}: in the {name} ledger, but not an order" for saga_id in ledger.keys() - {"", *orders}]
    sold = [orders[saga_id] for saga_id in outcomes if saga_id in orders and _completed(outcomes[saga_id])]
    totals = list(_totals(ledgers, sold))
    found += [
        f"total: the account {total.account!r} in the {total.ledger} ledger holds {total.holds}, "
        f"the orders make {total.expected}"
        for total in totals
        if total.holds != total.expected
    ]
    return Verdict(totals, found + list(_of_stock(ledgers["inventory"], sold)))


def read_ledger(path: Path) -> Ledger:
    """The lines of a ledger by saga. A line that stands twice is counted twice."""
    ledger: Ledger = {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        query = "SELECT saga_id, operation, item, amount, source, target FROM ledger"
        for saga_id, *columns in connection.execute(query):
            ledger.setdefault(saga_id, Counter())[Move(*columns)] += 1
    finally:
        connection.close()
    return ledger


# --- one order


def _of_order(order: Order, outcome: Outcome, ledgers: dict[str, Ledger]) -> Iterator[str]:
    told, stored = outcome["told"], outcome["stored"]
    if told is None or stored is None:
        yield f"the client was told {_phase(told)}, the store holds {_phase(stored)}"
        return
    if not told["phase"] == stored["phase"] == outcome["listed"]:
        holds = f"the store holds {_phase(stored)} and lists {outcome['listed'] or 'nothing'}"
        yield f"the client was told {_phase(told)}, {holds}"
    if told["phase"] not in ("completed", "compensated"):
        yield f"ended {_phase(told)}, which is neither all done nor all undone"
    if _completed(outcome) and (told["result"] or {}).get("order_id") != order["id"]:
        yield f"completed with the receipt {told['result']}"
    for step, ledger, done, undone in _effects(order):
        held = Counter({move: times for move, times in _moves(ledgers, ledger, order).items() if move in done + undone})
        allowed = _allowed(step, stored, _completed(outcome), done, undone)
        if held not in allowed:
            yield f"{step} is {_in_words(stored, step)}, but the {ledger} ledger has {_lines(held)}"
    for name in LEDGERS:
        known = [move for _, ledger, done, undone in _effects(order) if ledger == name for move in done + undone]
        if strange := [move for move in _moves(ledgers, name, order) if move not in known]:
            yield f"the {name} ledger has lines that don't belong to it: {_lines(Counter(strange))}"


def _effects(order: Order) -> Iterator[tuple[str, str, Moves, Moves]]:
    """Each step with an effect: its ledger, the lines of doing it, and those of undoing it."""
    payment, total = f"payment-{order['id']}", order["total_cents"]
    lines = [(line["sku"], line["quantity"]) for line in order["lines"]]
    yield (
        "reserve_stock",
        "inventory",
        Counter(Move("reserve", sku, quantity, "shelf", "reserved") for sku, quantity in lines),
        Counter(Move("release", sku, quantity, "reserved", "shelf") for sku, quantity in lines),
    )
    yield (
        "authorise_payment",
        "payments",
        Counter([Move("authorise", payment, total, "customer", "held")]),
        Counter([Move("void", payment, total, "held", "customer")]),
    )
    yield "capture_payment", "payments", Counter([Move("capture", payment, total, "held", "captured")]), Counter()
    parcel = Move("dispatch", f"parcel-{order['id']}", 1, "warehouse", "carrier")
    yield "dispatch_order", "shipping", Counter([parcel]), Counter()


def _allowed(step: str, stored: Outcome, completed: bool, done: Moves, undone: Moves) -> list[Moves]:
    """What a ledger may hold of a step, given what the saga knows about it."""
    state = stored["steps"].get(step, {"action": None, "compensation": None})
    nothing: Moves = Counter()
    if completed:
        return [done]
    if state["compensation"] == "succeeded":
        # An action of which nobody knows may never have been done; then there was nothing to undo either.
        return [done + undone] if state["action"] == "succeeded" else [nothing, done + undone]
    return [nothing]


def _moves(ledgers: dict[str, Ledger], name: str, order: Order) -> Moves:
    return ledgers[name].get(order["id"], Counter())


def _in_words(stored: Outcome, step: str) -> str:
    state = stored["steps"].get(step)
    if state is None:
        return f"not asked for (saga {stored['phase']})"
    return f"{state['action']}, its compensation {state['compensation'] or 'not asked for'} (saga {stored['phase']})"


def _lines(moves: Moves) -> str:
    shown = [
        f"{move.operation} {move.amount} of {move.item}{f' ({times} times)' if times > 1 else ''}"
        for move, times in sorted(moves.items())
    ]
    return ", ".join(shown) or "nothing"


# --- all orders together


def _totals(ledgers: dict[str, Ledger], sold: list[Order]) -> Iterator[Total]:
    takings = sum(order["total_cents"] for order in sold)
    pieces = sum(line["quantity"] for order in sold for line in order["lines"])
    opened = sum(move.amount for move in ledgers["inventory"].get("", Counter()).elements())
    expected = [
        ("inventory", "shelf", "pieces", opened - pieces),
        ("inventory", "reserved", "pieces", pieces),
        ("payments", "customer", "cents", -takings),
        ("payments", "held", "cents", 0),
        ("payments", "captured", "cents", takings),
        ("shipping", "warehouse", "parcels", -len(sold)),
        ("shipping", "carrier", "parcels", len(sold)),
    ]
    for name, account, unit, amount in expected:
        yield Total(name, account, unit, amount, sum(_balances(ledgers[name], account).values()))


def _of_stock(ledger: Ledger, sold: list[Order]) -> Iterator[str]:
    gone: Counter[str] = Counter()
    for order in sold:
        for line in order["lines"]:
            gone[line["sku"]] += line["quantity"]
    opened = {move.item: move.amount for move in ledger.get("", Counter())}
    shelf = _balances(ledger, "shelf")
    for sku in sorted(opened.keys() | shelf.keys() | gone.keys()):
        if shelf[sku] != opened.get(sku, 0) - gone[sku]:
            yield f"stock: {shelf[sku]} of {sku} on the shelf, but {opened.get(sku, 0)} less {gone[sku]} sold"
        if shelf[sku] < 0:
            yield f"stock: {shelf[sku]} of {sku} on the shelf: more was sold than there was"


def _balances(ledger: Ledger, account: str) -> Counter[str]:
    """What an account holds of each item."""
    holds: Counter[str] = Counter()
    for moves in ledger.values():
        for move, times in moves.items():
            holds[move.item] += times * move.amount * ((move.target == account) - (move.source == account))
    return holds


def _completed(outcome: Outcome) -> bool:
    return _phase(outcome["told"]) == "completed"


def _phase(witness: Outcome | None) -> str:
    return "nothing" if witness is None else str(witness["phase"])


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    totals, differences = judge(Path(arguments[0]))
    if "--json" in sys.argv:
        print(json.dumps({"totals": [total._asdict() for total in totals], "differences": differences}))
    else:
        for line in differences or ["the ledgers balance"]:
            print(line)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
