"""Transfers in the test kit: the bank's SQL database and its inbox are real, no server runs, and time is virtual."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from money_transfer.bank import bank_on, open_bank
from money_transfer.contracts import Deposit, Receipt, Transfer, Withdraw
from money_transfer.saga import transfer
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from countermand.coordinator.testing import Story, exhaustive_async, given
from countermand.participants import Participant
from countermand.participants.testing import check_participant

RENT = Transfer("rent", source="alice", target="bob", cents=2_500)
REFUND = Transfer("refund", source="bob", target="alice", cents=1_000)
ALL_OF_IT = Transfer("all", source="alice", target="carol", cents=10_000)
TO_NOBODY = Transfer("lost", source="alice", target="nobody", cents=10_000)
TOO_MUCH = Transfer("dream", source="carol", target="bob", cents=1)
TO_MYSELF = Transfer("back", source="alice", target="alice", cents=100)
PAID = {"alice": -2_500, "bob": 2_500}

Look = Callable[[], dict[str, int]]
Told = Callable[[Transfer], Story]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "bank.sqlite"


@pytest.fixture
def balances(database: Path) -> Look:
    """What is on each account."""

    def read() -> dict[str, int]:
        with closing(sqlite3.connect(database)) as connection:
            return dict(connection.execute("SELECT name, cents FROM accounts"))

    return read


@asynccontextmanager
async def bank_at(database: Path) -> AsyncIterator[list[Participant]]:
    engine = await open_bank(f"sqlite+aiosqlite:///{database}")
    # A test's accounts need to survive no power failure, and waiting for the disk is most of its time.
    event.listen(engine.sync_engine, "connect", in_a_hurry)
    await engine.dispose()  # So that the connections to come are in a hurry too.
    try:
        yield [bank_on(engine)]
    finally:
        await engine.dispose()


def in_a_hurry(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


@pytest.fixture
def told(database: Path, balances: Look) -> Told:
    """Begins the story of one transfer."""
    return lambda order: given(transfer, order, participants=lambda: bank_at(database), effects=balances)


def test_money_moves(told: Told) -> None:
    """It is in the one account and no more in the other."""
    receipt = Receipt("rent", withdrawal="alice -2500 (rent)", deposit="bob +2500 (rent)")
    told(RENT).expect_completed(receipt).expect_effects(PAID)


def test_money_for_nobody_comes_back(told: Told) -> None:
    """The deposit is refused, so the withdrawal is undone."""
    told(TO_NOBODY).expect_compensated("withdraw", because="no_account").expect_effects({})


def test_an_empty_account_gives_nothing(told: Told) -> None:
    """The first step says no: there is nothing to undo."""
    told(TOO_MUCH).expect_compensated(set(), because="no_funds").expect_effects({})


# --- nobody knows


def test_a_withdrawal_that_was_done_is_found(told: Told) -> None:
    """The bank did it and no answer ever arrived. It is asked what became of it, and the transfer goes on."""
    told(RENT).loses_reply("withdraw", times=None).expect_completed().expect_effects(PAID)


def test_a_withdrawal_that_was_not_done_is_not_undone(told: Told) -> None:
    """The bank never got to it. It says so, and the transfer ends without a compensation."""
    told(RENT).fails("withdraw", times=None).expect_compensated(set()).expect_effects({})


def test_a_withdrawal_that_was_booked_by_hand_is_found(told: Told, database: Path) -> None:
    """The inbox knows nothing of it: the probe looks at the bookings themselves."""
    book_by_hand(database, "saga-1/withdraw")
    story = told(RENT).fails("withdraw", times=None)
    story.expect_completed().expect_effects({"bob": 2_500})


def book_by_hand(database: Path, key: str) -> None:
    async def open_it() -> None:
        async with bank_at(database):
            pass

    asyncio.run(open_it())
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO bookings VALUES (?, 'rent', 'alice', -2500)", (key,))
        connection.execute("UPDATE accounts SET cents = cents - 2500 WHERE name = 'alice'")


def test_a_deposit_that_was_done_is_found(told: Told) -> None:
    """The pivot decides the transfer, and the bank knows whether it was done: nobody has to look into it."""
    told(RENT).loses_reply("deposit", times=None).expect_completed().expect_effects(PAID)


def test_a_deposit_that_was_not_done_turns_the_transfer_back(told: Told) -> None:
    """Without a probe this transfer would be stuck: nobody would know whether the pivot was done."""
    told(RENT).fails("deposit", times=None).expect_compensated("withdraw").expect_effects({})


# --- two at once


def test_a_transfer_does_not_see_money_that_comes_back(told: Told, balances: Look) -> None:
    """While the first one has taken all the money, and will give it back, the second one waits and isn't refused."""
    story = told(TO_NOBODY).delays("deposit", "1s").meanwhile(transfer, ALL_OF_IT, after="withdraw")
    story.expect_compensated("withdraw")
    assert balances() == {"alice": 0, "bob": 5_000, "carol": 10_000}
    assert_in_turn(story)


def test_transfers_in_opposite_ways_do_not_wait_for_each_other(told: Told, balances: Look) -> None:
    """Each takes the two locks in the same order, so one has both and the other has none."""
    story = told(RENT).meanwhile(transfer, REFUND).expect_completed()
    assert balances() == {"alice": 8_500, "bob": 6_500, "carol": 0}
    assert_in_turn(story)


def test_a_transfer_to_the_same_account_does_not_wait_for_itself(told: Told) -> None:
    """One account is one lock."""
    told(TO_MYSELF).expect_completed().expect_not_ran("then_lock_source").expect_effects({})


def assert_in_turn(story: Story) -> None:
    """The second saga asks the bank for nothing before the first one has ended."""
    lines = story.timeline.splitlines()
    ended = next(place for place, line in enumerate(lines) if "saga-1" in line and "the saga: comp" in line)
    begun = next(place for place, line in enumerate(lines) if "saga-2" in line and "asks bank" in line)
    assert ended < begun, story.timeline


@pytest.mark.parametrize("order", [RENT, TO_NOBODY], ids=["good", "for-nobody"])
def test_every_step_survives_every_trouble(order: Transfer, database: Path, balances: Look) -> None:
    """All done or all undone, whatever crashes, is lost, late, repeated or overtaken."""

    async def all_cases() -> None:
        async with bank_at(database) as bank:
            report = await exhaustive_async(transfer, order, participants=bank, effects=balances)
        report.check()

    asyncio.run(all_cases())


def test_every_handler_keeps_the_rules(database: Path, balances: Look) -> None:
    """Twice, undone before, after and without its action, probed, and through crashes."""

    async def check() -> None:
        async with bank_at(database) as (bank,):
            withdraw = Withdraw(transfer_id="t", account="alice", cents=10)
            await check_participant(bank, withdraw, Deposit(transfer_id="t", account="bob", cents=10), effects=balances)

    asyncio.run(check())
