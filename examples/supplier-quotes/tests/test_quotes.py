"""The purchase in the test kit: the saga and the services are the real ones, no server runs, and time is virtual."""

import asyncio

import pytest
from supplier_quotes.contracts import AskQuote, ChooseQuote, DeclineQuote, Enquiry, PlaceOrder, Purchase, Quote
from supplier_quotes.purchasing import purchasing
from supplier_quotes.saga import buy
from supplier_quotes.suppliers import Books, price_cents, suppliers

from countermand.coordinator.testing import Story, exhaustive, given
from countermand.participants.testing import check_participant

HUNDRED = [f"supplier-{number:03}" for number in range(100)]
# Ten have nothing to sell, and one never picks up.
WILLING = [name for name in HUNDRED if not name.endswith(("7", "099"))]


def enquiry(names: list[str], limit_cents: int = 1_000_000) -> Enquiry:
    return Enquiry("1", part="ball bearing", quantity=100, limit_cents=limit_cents, suppliers=names)


def told(asked: Enquiry) -> Story:
    books = Books()
    return given(buy, asked, participants=[suppliers(books), purchasing()], effects=books.counted)


def test_the_best_of_a_hundred_gets_the_order() -> None:
    """The others are told, so no quote is left open."""
    best = min(WILLING, key=lambda name: price_cents(name, "ball bearing"))
    purchase = Purchase("order-saga-1", best, price_cents(best, "ball bearing") * 100)
    told(enquiry(HUNDRED)).expect_completed(purchase).expect_effects({"orders": 1})


def test_a_supplier_who_says_no_costs_its_own_quote_only() -> None:
    """Its scope is undone alone, and its place in the list of quotes is empty."""
    story = told(enquiry(["supplier-001", "supplier-007", "supplier-002"])).expect_completed()
    story.expect_rolled_back("asking[1]", set(), because="no_bid").expect_effects({"orders": 1})


def test_a_busy_supplier_is_asked_again() -> None:
    """Passing trouble costs an attempt and nothing else."""
    told(enquiry(["supplier-003"])).expect_completed().expect_effects({"orders": 1})


def test_a_quote_that_may_be_kept_for_us_is_withdrawn() -> None:
    """Its answer was lost twice: nobody knows of the quote, so it is undone, and the purchase goes on without it."""
    story = told(enquiry(["supplier-001", "supplier-002"])).loses_reply("ask_quote[0]", times=2)
    story.expect_rolled_back("asking[0]", "ask_quote[0]").expect_completed().expect_effects({"orders": 1})


def test_too_dear_a_best_quote_withdraws_all_of_them() -> None:
    """Nothing is bought, and no supplier keeps anything for us."""
    story = told(enquiry(HUNDRED, limit_cents=1))
    story.expect_compensated("ask_quote[*]", because="too_dear").expect_effects({})


@pytest.mark.parametrize("names", [[], ["supplier-007"]], ids=["nobody-asked", "nobody-willing"])
def test_without_a_quote_nothing_is_bought(names: list[str]) -> None:
    """The saga turns back at the choice."""
    told(enquiry(names)).expect_compensated(set(), because="no_quotes").expect_effects({})


def test_at_most_twenty_are_asked_at_once() -> None:
    """The twenty-first is asked when the first has answered."""
    lines = told(enquiry(HUNDRED)).expect_completed().timeline.splitlines()
    under_way, most = 0, 0
    for line in lines:
        under_way += "asks suppliers for ask_quote" in line
        under_way -= "answers ask_quote" in line
        most = max(most, under_way)
    assert most == 20


@pytest.mark.parametrize("limit_cents", [1_000_000, 1], ids=["good", "too-dear"])
def test_every_step_survives_every_trouble(limit_cents: int) -> None:
    """All done or all undone, whatever crashes, is lost, late, repeated or overtaken."""
    books = Books()
    asked = enquiry(["supplier-001", "supplier-007", "supplier-002"], limit_cents)
    exhaustive(buy, asked, participants=[suppliers(books), purchasing()], effects=books.counted).check()


def test_every_handler_keeps_the_rules() -> None:
    """Twice, undone before, after and without its action, and through crashes."""

    async def check() -> None:
        books = Books()
        books.quotes |= {f"quote-{number}": "supplier-001" for number in range(20)}
        await check_participant(
            suppliers(books),
            AskQuote(supplier="supplier-001", part="ball bearing", quantity=1),
            lambda number: PlaceOrder(quote_id=f"quote-{number}"),
            lambda number: DeclineQuote(quote_id=f"quote-{number + 10}"),
            effects=books.counted,
        )
        await check_participant(purchasing(), ChooseQuote(quotes=[Quote("q", "supplier-001", 5), None], limit_cents=9))

    asyncio.run(check())
