"""The example's services do what their commands ask, through the barrier and without a broker."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import world
from balance import Move, read_ledger
from contracts import (
    Address,
    AuthorisePayment,
    CapturePayment,
    DispatchOrder,
    OrderLine,
    QuoteShipping,
    ReserveStock,
)
from inventory import open_inventory
from payments import open_payments
from shipping import carriers, open_shipping

from countermand.participants.participant import Participant
from countermand.schemas import Command
from countermand.schemas.contract import command_info
from countermand.schemas.identifiers import Direction, step_key
from countermand.schemas.messages import CommandMessage, Failed, Rejected, ReplyMessage, ReplyOutcome, Succeeded

SAGA = "order-1"
SOMEWHERE = Address(name="Ada Almeida", street="1 Mill Lane", postcode="42000", city="Ashford")
PAYMENT = AuthorisePayment(order_id=SAGA, card="card-visa-1", amount_cents=5_000)
STOCK = ReserveStock(order_id=SAGA, lines=[OrderLine("vase-blue", 2, 3_350), OrderLine("rug-wool", 1, 41_200)])


async def tell(
    participant: Participant, command: Command[Any], direction: Direction = "do", attempt: int = 1
) -> ReplyMessage:
    """The reply to a command that comes as the coordinator sends it."""
    info = command_info(type(command))
    body = msgspec.json.encode(command)
    return await participant.handle(
        CommandMessage(
            saga_id=SAGA,
            definition="order-fulfilment@1",
            step=info.name,
            participant=participant.name,
            action=info.name,
            direction=direction,
            attempt=attempt,
            key=step_key(SAGA, info.name),
            command_id="0" * 32,
            saga_version=1,
            deadline_ms=int(time.time() * 1000) + 10_000,
            body=body if direction == "do" else msgspec.json.encode({"command": msgspec.Raw(body), "result": None}),
        )
    )


def result_of(outcome: ReplyOutcome) -> Any:
    assert isinstance(outcome, Succeeded), outcome
    return msgspec.json.decode(bytes(outcome.result))


async def opened(tmp_path: Path, name: str) -> tuple[Participant, Path]:
    path = tmp_path / f"{name}.sqlite"
    open_service = {"inventory": open_inventory, "payments": open_payments, "shipping": open_shipping}[name]
    found = {participant.name: participant for participant in await open_service(path)}
    return found[name], path


def booked(path: Path) -> Counter[str]:
    """How often each operation stands in the ledger for our order."""
    return Counter(move.operation for move in read_ledger(path).get(SAGA, Counter()).elements())


async def test_inventory_reserves_once_and_releases_once(tmp_path: Path) -> None:
    """Duplicates in both directions get the recorded answer, and a late action is refused."""
    inventory, path = await opened(tmp_path, "inventory")
    for replayed in (False, True):
        reply = await tell(inventory, STOCK)
        assert result_of(reply.outcome) == {"reservation_id": f"reservation-{SAGA}"}
        assert reply.replayed is replayed
    assert booked(path) == {"reserve": 2}
    for _ in range(2):
        assert result_of((await tell(inventory, STOCK, "undo")).outcome) is None
    assert booked(path) == {"reserve": 2, "release": 2}
    late = await tell(inventory, STOCK, attempt=2)
    assert isinstance(late.outcome, Rejected)
    assert booked(path) == {"reserve": 2, "release": 2}


async def test_inventory_takes_nothing_when_one_article_is_missing(tmp_path: Path) -> None:
    """The first line was moved already when the second turned out to be missing: it goes back with the transaction."""
    inventory, path = await opened(tmp_path, "inventory")
    too_much = ReserveStock(order_id=SAGA, lines=[OrderLine("vase-blue", 2, 3_350), OrderLine("rug-wool", 4, 41_200)])
    reply = await tell(inventory, too_much)
    assert reply.outcome == Rejected("out_of_stock", "rug-wool: 4 ordered, 3 on the shelf")
    assert booked(path) == {}


async def test_inventory_opens_its_ledger_once(tmp_path: Path) -> None:
    """A service that starts again doesn't fill its shelves again."""
    await opened(tmp_path, "inventory")
    _, path = await opened(tmp_path, "inventory")
    opening = read_ledger(path)[""]
    assert opening[Move("open", "rug-wool", 3, "supplier", "shelf")] == 1
    assert set(opening.values()) == {1}


async def test_payments_hold_capture_and_void(tmp_path: Path) -> None:
    """Money is held once, and then captured or let go."""
    payments, path = await opened(tmp_path, "payments")
    payment_id = result_of((await tell(payments, PAYMENT)).outcome)["payment_id"]
    assert result_of((await tell(payments, CapturePayment(payment_id=payment_id, amount_cents=5_000))).outcome) is None
    assert booked(path) == {"authorise": 1, "capture": 1}
    await tell(payments, PAYMENT, "undo")
    assert booked(path) == {"authorise": 1, "capture": 1, "void": 1}


async def test_payments_void_what_was_never_held(tmp_path: Path) -> None:
    """A compensation before its action succeeds, books nothing, and keeps the action out."""
    payments, path = await opened(tmp_path, "payments")
    assert isinstance((await tell(payments, PAYMENT, "undo")).outcome, Succeeded)
    assert isinstance((await tell(payments, PAYMENT)).outcome, Rejected)
    assert booked(path) == {}


@pytest.mark.parametrize(
    ("card", "amount_cents", "code"),
    [("card-stolen-1", 5_000, "card_stolen"), ("card-visa-1", 200_001, "card_limit")],
)
async def test_payments_refuse(tmp_path: Path, card: str, amount_cents: int, code: str) -> None:
    """A business no books nothing."""
    payments, path = await opened(tmp_path, "payments")
    reply = await tell(payments, AuthorisePayment(order_id=SAGA, card=card, amount_cents=amount_cents))
    assert isinstance(reply.outcome, Rejected)
    assert reply.outcome.code == code
    assert booked(path) == {}


async def test_payments_ask_for_another_try_when_the_bank_is_busy(tmp_path: Path) -> None:
    """Transient trouble vouches that nothing was done, and the next attempt succeeds."""
    payments, path = await opened(tmp_path, "payments")
    busy = AuthorisePayment(order_id=SAGA, card="card-visa-1", amount_cents=5_013)
    first = await tell(payments, busy)
    assert isinstance(first.outcome, Failed)
    assert (first.outcome.code, first.outcome.rolled_back, first.outcome.retry_after_ms) == ("bank_busy", True, 100)
    assert isinstance((await tell(payments, busy, attempt=2)).outcome, Succeeded)
    assert booked(path) == {"authorise": 1}


async def test_shipping_dispatches_once(tmp_path: Path) -> None:
    """The same parcel isn't handed over twice, however often the command comes."""
    shipping, path = await opened(tmp_path, "shipping")
    dispatch = DispatchOrder(order_id=SAGA, reservation_id="r", quote_id="q", address=SOMEWHERE)
    for attempt in (1, 1, 2):
        assert result_of((await tell(shipping, dispatch, attempt=attempt)).outcome) == {
            "tracking_code": f"track-{SAGA}"
        }
    assert booked(path) == {"dispatch": 1}


async def test_carriers_quote_or_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A carrier that hangs is a failure in the end, told without the words of the exception."""
    monkeypatch.setattr(world, "HANGING_CARRIER_S", 0)
    quote = QuoteShipping(order_id=SAGA, address=SOMEWHERE)
    assert result_of((await tell(carriers(), quote)).outcome) == {"quote_id": f"quote-{SAGA}", "price_cents": 510}
    nowhere = QuoteShipping(order_id=SAGA, address=msgspec.structs.replace(SOMEWHERE, postcode="99000"))
    reply = await tell(carriers(), nowhere)
    assert isinstance(reply.outcome, Failed)
    assert (reply.outcome.code, reply.outcome.reason) == ("ConnectionError", "")


async def test_every_service_is_complete(tmp_path: Path) -> None:
    """What can be undone has a compensation."""
    for open_service in (open_inventory, open_payments, open_shipping):
        for participant in await open_service(tmp_path / f"{open_service.__name__}.sqlite"):
            participant.check()
