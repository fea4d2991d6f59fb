"""The example's saga and services in the test kit: no broker, no store, and virtual time."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from contracts import Address, AuthorisePayment, CapturePayment, DispatchOrder, Order, OrderLine, Receipt, ReserveStock
from saga import fulfil
from shelves import holdings, open_shop

from countermand.coordinator.testing import exhaustive_async, given
from countermand.participants import Participant
from countermand.participants.testing import check_participant

SOMEWHERE = Address(name="Ada Almeida", street="1 Mill Lane", postcode="42000", city="Ashford")
ORDER = Order(
    id="o-1", card="card-visa-1", lines=[OrderLine("vase-blue", 1, 3_350)], total_cents=3_350, address=SOMEWHERE
)
STOLEN = msgspec.structs.replace(ORDER, card="card-stolen-1")
# The bank is busy when it is first asked for such a sum.
BUSY = msgspec.structs.replace(ORDER, total_cents=3_313)
SOLD_OUT = msgspec.structs.replace(ORDER, lines=[OrderLine("rug-wool", 4, 41_200)])
DONE = {
    "captured payment-o-1": 3_350,
    "carrier parcel-o-1": 1,
    "customer payment-o-1": -3_350,
    "reserved vase-blue": 1,
    "shelf vase-blue": -1,
    "warehouse parcel-o-1": -1,
}

Look = Callable[[], dict[str, int]]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[list[Participant]]:
    async with open_shop(tmp_path) as participants:
        yield participants


@pytest.fixture
def effects(tmp_path: Path) -> Look:
    return partial(holdings, tmp_path)


async def test_an_order_is_fulfilled(shop: list[Participant], effects: Look) -> None:
    """The customer gets a receipt, the goods leave the shelf, the money is captured."""
    receipt = Receipt(order_id="o-1", payment_id="payment-o-1", tracking_code="track-o-1")
    await given(fulfil, ORDER, participants=shop, effects=effects).expect_completed(receipt).expect_effects(DONE)


async def test_a_stolen_card_gives_the_goods_back(shop: list[Participant], effects: Look) -> None:
    """What was reserved goes back to the shelf."""
    story = given(fulfil, STOLEN, participants=shop, effects=effects)
    await story.expect_compensated("reserve_stock", because="card_stolen").expect_effects({})


async def test_what_is_sold_out_is_not_paid(shop: list[Participant], effects: Look) -> None:
    """The first step says no: there is nothing to undo."""
    story = given(fulfil, SOLD_OUT, participants=shop, effects=effects)
    await story.expect_compensated(set(), because="out_of_stock").expect_effects({})


async def test_a_busy_bank_is_asked_again(shop: list[Participant], effects: Look) -> None:
    """Passing trouble costs an attempt and nothing else."""
    await given(fulfil, BUSY, participants=shop, effects=effects).expect_completed()


async def test_a_slow_bank_holds_the_money_once(shop: list[Participant], effects: Look) -> None:
    """The answer comes after the saga has stopped waiting for it; the second attempt gets it from the records."""
    story = given(fulfil, ORDER, participants=shop, effects=effects)
    await story.delays("authorise_payment", "2400ms").expect_completed().expect_effects(DONE)


async def test_a_customer_changes_their_mind(shop: list[Participant], effects: Look) -> None:
    """Until the money is captured an order can be cancelled."""
    story = given(fulfil, ORDER, participants=shop, effects=effects)
    await (
        story.cancels(after="reserve_stock")
        .expect_compensated({"authorise_payment", "reserve_stock"}, because="cancelled")
        .expect_effects({})
    )


@pytest.mark.parametrize("order", [ORDER, STOLEN, SOLD_OUT], ids=["good", "stolen", "sold-out"])
async def test_every_step_survives_every_trouble(shop: list[Participant], effects: Look, order: Order) -> None:
    """All done or all undone, whatever crashes, is lost, late, repeated or overtaken."""
    report = await exhaustive_async(fulfil, order, participants=shop, effects=effects)
    report.check()


async def test_every_handler_keeps_the_rules(shop: list[Participant], effects: Look) -> None:
    """Twice, undone before, after and without, and through crashes."""
    inventory, payments, _, shipping = shop
    await check_participant(inventory, ReserveStock(order_id="o-1", lines=ORDER.lines), effects=effects)
    await check_participant(
        payments,
        lambda number: AuthorisePayment(order_id=f"o-{number}", card="card-visa-1", amount_cents=5_000),
        lambda number: CapturePayment(payment_id=f"payment-o-{number}", amount_cents=5_000),
        effects=effects,
    )
    dispatch = DispatchOrder(order_id="o-1", reservation_id="r", quote_id="q", address=SOMEWHERE)
    await check_participant(shipping, dispatch, effects=effects)
