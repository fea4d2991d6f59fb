"""The expense in the test kit: its saga, its services and their databases are real; days pass in milliseconds."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest
from expenses import finance, mail
from expenses.contracts import (
    Appealed,
    ConfirmClaim,
    Expense,
    ReceiptsHandedIn,
    Reimbursed,
    ReserveBudget,
    SendMail,
)
from expenses.database import open_database
from expenses.finance import BUDGET_CENTS, finance_on
from expenses.mail import mail_on
from expenses.saga import reimburse
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from countermand.coordinator.testing import Story, exhaustive_async, given
from countermand.participants import Participant
from countermand.participants.testing import check_participant

CLAIM = Expense(id="exp-1", employee="ada", department="sales", purpose="train to Lisbon", cents=24_000)
# So cheap that the budget suffices for all cases, which share it.
CHEAP = msgspec.structs.replace(CLAIM, cents=100)
TOO_DEAR = msgspec.structs.replace(CLAIM, cents=BUDGET_CENTS["sales"] + 1)
# Letters are left to the check of the mail service: with them this takes twice as long and meets nothing new.
WITHOUT_LETTERS = {"reserve_budget", "receipts", "review", "appeal", "hearing", "book_expense", "pay_out"}
RECEIPTS = ReceiptsHandedIn(link="archive/4711")
MANAGER = ["managers"]
DIRECTOR = ["directors"]
PAID = {"confirmed": 1, "paid cents": 24_000}
BOOKED_UNDONE = ("reserve_budget", "confirm_claim")

Effects = Callable[[], dict[str, int]]


@pytest.fixture(autouse=True)
def databases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for service in ("finance", "mail"):
        monkeypatch.setenv(f"{service.upper()}_DATABASE", f"sqlite+aiosqlite:///{tmp_path}/{service}.sqlite")


@asynccontextmanager
async def services() -> AsyncIterator[list[Participant]]:
    """Both services, each on its database."""
    money = await open_database("finance", finance.Base.metadata)
    letters = await open_database("mail", mail.Base.metadata)
    try:
        for engine in (money, letters):
            # A test's database needs to survive no power failure, and waiting for the disk is most of its time.
            event.listen(engine.sync_engine, "connect", _in_a_hurry)
            await engine.dispose()
        yield [finance_on(money), mail_on(letters)]
    finally:
        await money.dispose()
        await letters.dispose()


def _in_a_hurry(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """What was done and not undone: money by its state, and confirmations that still hold."""

    def read() -> dict[str, int]:
        with closing(sqlite3.connect(tmp_path / "finance.sqlite")) as database:
            cents = database.execute("SELECT state, SUM(cents) FROM reservations WHERE state != 'released' GROUP BY 1")
            found = {f"{state} cents": total for state, total in cents}
        with closing(sqlite3.connect(tmp_path / "mail.sqlite")) as database:
            kinds = dict(database.execute("SELECT kind, COUNT(*) FROM letters GROUP BY 1").fetchall())
        return found | {"confirmed": kinds.get("confirmed", 0) - kinds.get("withdrawn", 0)}

    return read


@pytest.fixture
def story(effects: Effects) -> Story:
    return given(reimburse, CLAIM, participants=services, effects=effects)


def test_an_expense_is_paid_after_days(story: Story) -> None:
    """The receipts come after a day, the manager decides two days later, and the money is paid."""
    story.advance("1d").expect_waiting("receipts").publishes("receipts_handed_in", RECEIPTS, key="exp-1")
    story.advance("1d").expect_waiting("review").approves("review", by="grace", roles=MANAGER)
    story.expect_completed(Reimbursed(payment_id="payment-saga-1", reviewed_by="grace", heard_by=None))
    story.expect_not_ran("remind", "tell_denied", "hearing").expect_effects(PAID)


def test_receipts_that_came_before_the_claim_count(story: Story) -> None:
    """An event is kept for the saga that will wait for it."""
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-1").approves("review", by="grace", roles=MANAGER)
    story.expect_completed().expect_not_ran("remind")


def test_receipts_of_another_expense_do_not_count(story: Story) -> None:
    """The business key decides whose event it is; without receipts, and after a reminder, nothing is paid."""
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-2")
    story.advance("4d").expect_waiting("late_receipts")
    story.expect_compensated(*BOOKED_UNDONE, because="wait_timed_out").expect_ran("remind").expect_effects({})


def test_a_reminder_helps(story: Story) -> None:
    """Receipts that are handed in after the reminder are as good as others."""
    story.advance("4d").publishes("receipts_handed_in", RECEIPTS, key="exp-1")
    story.approves("review", by="grace", roles=MANAGER)
    story.expect_completed().expect_ran("remind").expect_effects(PAID)


def test_nobody_approves_their_own_expense(story: Story) -> None:
    """A manager who claims is still the one who claims."""
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-1").advance("1h")
    story.approves("review", by="ada", roles=MANAGER, refused="requester").advance("1h").expect_waiting("review")
    story.approves("review", by="grace", roles=MANAGER).expect_completed()


def test_directors_decide_when_managers_do_not(story: Story) -> None:
    """Before the escalation a director isn't asked; two days later either may decide."""
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-1").advance("1d")
    story.approves("review", by="dora", roles=DIRECTOR, refused="not_allowed").advance("2d")
    story.approves("review", by="dora", roles=DIRECTOR)
    story.expect_completed(Reimbursed(payment_id="payment-saga-1", reviewed_by="dora", heard_by=None))


def test_an_appeal_is_heard(story: Story) -> None:
    """A manager's no isn't the last word: who appeals is heard by the directors."""
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-1")
    story.denies("review", by="grace", roles=MANAGER, comment="Take the bus.").advance("2d").expect_waiting("appeal")
    story.publishes("appealed", Appealed(text="There is no bus."), key="exp-1")
    story.approves("hearing", by="dora", roles=DIRECTOR)
    story.expect_completed(Reimbursed(payment_id="payment-saga-1", reviewed_by="grace", heard_by="dora"))
    story.expect_effects(PAID)


def test_a_second_no_is_the_last_word(story: Story) -> None:
    """The budget is free again, and the employee is told."""
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-1").denies("review", by="grace", roles=MANAGER)
    story.publishes("appealed", Appealed(text="Please."), key="exp-1").denies("hearing", by="dora", roles=DIRECTOR)
    story.expect_compensated(*BOOKED_UNDONE, because="approval_denied").expect_effects({})


def test_silence_is_a_no(story: Story) -> None:
    """When nobody decides in time and nobody appeals, nothing is paid: it fails closed."""
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-1")
    story.expect_compensated(*BOOKED_UNDONE, because="wait_timed_out").expect_ran("tell_denied").expect_effects({})


def test_what_exceeds_the_budget_is_not_asked_about(effects: Effects) -> None:
    """No manager is bothered with what can't be paid; only the confirmation is set right."""
    story = given(reimburse, TOO_DEAR, participants=services, effects=effects)
    story.expect_compensated("confirm_claim", because="over_budget").expect_not_ran("review").expect_effects({})


def test_a_coordinator_that_dies_forgets_no_decision(story: Story) -> None:
    """What a person decided is decided, whatever crashes in that moment."""
    story.crashes_coordinator("review", "before").crashes_coordinator("book_expense", "after")
    story.publishes("receipts_handed_in", RECEIPTS, key="exp-1").approves("review", by="grace", roles=MANAGER)
    story.expect_completed().expect_effects(PAID)


def test_every_step_survives_every_trouble(effects: Effects) -> None:
    """All done or all undone, whatever crashes, is lost, late or repeated, and whatever people decide."""

    async def all_cases() -> None:
        async with services() as opened:
            report = await exhaustive_async(
                reimburse, CHEAP, participants=opened, effects=effects, steps=WITHOUT_LETTERS
            )
        report.check()

    asyncio.run(all_cases())


def test_every_handler_keeps_the_rules(effects: Effects) -> None:
    """Twice, undone before, after and without its action, and through crashes."""

    async def check() -> None:
        async with services() as (money, letters):
            await check_participant(money, ReserveBudget(department="sales", cents=100), effects=effects)
            await check_participant(
                letters,
                ConfirmClaim(expense_id="exp-1", employee="ada"),
                SendMail(to="ada", text="Paid."),
                effects=effects,
            )

    asyncio.run(check())
