"""Ten bugs, and more, to plant in a copy of the order example: each is a small patch of its source text."""

from typing import Any, Final

import msgspec

Patch = tuple[str, str, str]  # The file, the text that stands there once, and what takes its place.

GOOD: Final[dict[str, Any]] = {
    "id": "o-1",
    "card": "card-visa-1",
    "lines": [{"sku": "vase-blue", "quantity": 1, "price_cents": 3350}],
    "total_cents": 3350,
    "address": {"name": "Ada Almeida", "street": "1 Mill Lane", "postcode": "42000", "city": "Ashford"},
}
STOLEN: Final = GOOD | {"card": "card-stolen-1"}
BUSY: Final = GOOD | {"total_cents": 3313}
SOLD_OUT: Final = GOOD | {"lines": [{"sku": "rug-wool", "quantity": 4, "price_cents": 41200}]}


class Bug(msgspec.Struct, frozen=True):
    """A planted bug: with which order it shows, at which step, and what the report has to say of it."""

    patches: tuple[Patch, ...]
    step: str
    says: str
    order: dict[str, Any] = msgspec.field(default_factory=lambda: GOOD)


# A bank beside the database, as a remote one is: what happens there is in nobody's transaction.
_BANK: Final[Patch] = (
    "world.py",
    "async def bank_says_stolen",
    "HELD: dict[str, int] = {}\n\n\nasync def bank_says_stolen",
)
_MOVE_HELD: Final = 'move(context, "authorise", payment_id, command.amount_cents, source="customer", target="held")'
_MOVE_VOID: Final = (
    'move(context, "void", authorised.payment_id, command.amount_cents, source="held", target="customer")'
)
_HOLD_AT_BANK: Final = "world.HELD[payment_id] = world.HELD.get(payment_id, 0) + command.amount_cents"
_LET_GO_AT_BANK: Final = "world.HELD[authorised.payment_id] -= command.amount_cents"
_MOVE_RELEASE: Final = 'move(context, "release", line.sku, line.quantity, source="reserved", target="shelf")'

# A quote that has to be given back, from a participant whose inbox has no transaction. Right as it stands here.
BINDING_QUOTE: Final[tuple[Patch, ...]] = (
    (
        "contracts.py",
        'Command[ShippingQuoted], participant="carriers", compensatable=False, because="a quote binds nobody"',
        'Command[ShippingQuoted], participant="carriers"',
    ),
    ("world.py", "async def ask_carrier", "HELD: dict[str, int] = {}\n\n\nasync def ask_carrier"),
    (
        "shipping.py",
        "        return ShippingQuoted(",
        '        world.HELD[f"quote-{command.order_id}"] = 1\n        return ShippingQuoted(',
    ),
    (
        "shipping.py",
        "    return carriers\n",
        (
            "    @carriers.compensates(QuoteShipping)\n"
            "    async def drop(command: QuoteShipping, quoted: ShippingQuoted | None, context: Context) -> None:\n"
            '        world.HELD.pop(f"quote-{command.order_id}", None)\n\n'
            "    return carriers\n"
        ),
    ),
)

BUGS: Final[dict[str, Bug]] = {
    "a missing compensation": Bug(
        (
            (
                "contracts.py",
                'Command[StockReserved], participant="inventory"',
                'Command[StockReserved], participant="inventory", compensatable=False, because="nobody thought of it"',
            ),
            (
                "inventory.py",
                "    @inventory.compensates(ReserveStock)\n    async def release",
                "    async def release",
            ),
        ),
        "reserve_stock",
        "has no compensation, but the saga can still turn back after it",
    ),
    "a handler outside the barrier that isn't idempotent": Bug(
        (
            _BANK,
            ("payments.py", _MOVE_HELD, _HOLD_AT_BANK),
            ("payments.py", _MOVE_VOID, _LET_GO_AT_BANK),
        ),
        "authorise_payment",
        "make it idempotent by context.key",
    ),
    "a swapped order: the parcel leaves before the money is sure": Bug(
        (
            (
                "saga.py",
                (
                    "    pivot(CapturePayment(payment_id=payment.payment_id, amount_cents=order.total_cents), "
                    'timeout="2s", retry=DETERMINED)\n'
                ),
                "",
            ),
            (
                "saga.py",
                "        retry=RELENTLESS,\n    )\n",
                (
                    "        retry=PATIENT,\n    )\n"
                    "    pivot(CapturePayment(payment_id=payment.payment_id, amount_cents=order.total_cents), "
                    'timeout="2s", retry=DETERMINED)\n'
                ),
            ),
        ),
        "dispatch_order",
        "has no compensation, but the saga can still turn back after it",
    ),
    "a compensation that undoes twice": Bug(
        (("inventory.py", _MOVE_RELEASE, f"{_MOVE_RELEASE}\n            {_MOVE_RELEASE}"),),
        "reserve_stock",
        "that is no way back",
    ),
    "a compensation with the wrong amount": Bug(
        (("payments.py", _MOVE_VOID, _MOVE_VOID.replace("command.amount_cents", "command.amount_cents // 100")),),
        "authorise_payment",
        "its action did customer payment-o-1 -3350, held payment-o-1 +3350, and its compensation did",
    ),
    "a compensation in the wrong direction": Bug(
        (
            (
                "inventory.py",
                _MOVE_RELEASE,
                _MOVE_RELEASE.replace('source="reserved", target="shelf"', 'source="shelf", target="reserved"'),
            ),
        ),
        "reserve_stock",
        "that is no way back",
    ),
    "a compensation that does nothing": Bug(
        (("payments.py", _MOVE_VOID, "pass"),),
        "authorise_payment",
        "answered that all was undone, and undid nothing",
    ),
    "a handler that swallows an error and answers success": Bug(
        (
            (
                "payments.py",
                (
                    "        if await world.bank_says_stolen(command.card, command.amount_cents, context.attempt):\n"
                    '            raise Rejected("card_stolen", "the bank reports this card as stolen")\n'
                ),
                (
                    "        try:\n"
                    "            await world.bank_says_stolen(command.card, command.amount_cents, context.attempt)\n"
                    "        except Exception:\n"
                    '            return PaymentAuthorised(payment_id=f"payment-{command.order_id}")\n'
                ),
            ),
        ),
        "authorise_payment",
        "it answered success having done nothing",
        BUSY,
    ),
    "an effect before a rejection": Bug(
        (
            _BANK,
            (
                "payments.py",
                "        if await world.bank_says_stolen",
                '        world.HELD["o-1"] = command.amount_cents\n        if await world.bank_says_stolen',
            ),
        ),
        "authorise_payment",
        "it said no after it had done",
        STOLEN,
    ),
    "an effect outside the transaction": Bug(
        (
            _BANK,
            (
                "shipping.py",
                "        return OrderDispatched(",
                '        world.HELD["parcels"] = world.HELD.get("parcels", 0) + 1\n        return OrderDispatched(',
            ),
        ),
        "dispatch_order",
        "ran more than once for one key",
    ),
    "a transaction that the handler commits itself": Bug(
        (
            (
                "inventory.py",
                "        return StockReserved(",
                "        await (await context.transaction.connection()).commit()\n        return StockReserved(",
            ),
        ),
        "reserve_stock",
        "it did nothing, and its compensation all the same did",
    ),
    "a compensation that needs the result": Bug(
        (
            *BINDING_QUOTE,
            (
                "shipping.py",
                'world.HELD.pop(f"quote-{command.order_id}", None)',
                "world.HELD.pop(quoted.quote_id, None)",
            ),
        ),
        "quote_shipping",
        "it has to cope with None",
    ),
    "a pivot that isn't the last step that can say no": Bug(
        (
            (
                "saga.py",
                '    stock = step(ReserveStock(order_id=order.id, lines=order.lines), timeout="2s", retry=PATIENT)\n',
                "",
            ),
            (
                "saga.py",
                "    parcel = step(\n",
                (
                    "    stock = step(ReserveStock(order_id=order.id, lines=order.lines), retry=RELENTLESS)\n"
                    "    parcel = step(\n"
                ),
            ),
        ),
        "reserve_stock",
        "rejected after the pivot, where there is no way back",
        SOLD_OUT,
    ),
}
