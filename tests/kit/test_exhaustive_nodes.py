"""The exhaustive test on every kind of node: what it tries there, and that it finds what is wrong."""

from collections import Counter

import pytest

from countermand.coordinator.testing import Report, exhaustive
from countermand.coordinator.testing.answering import SagaDocument
from countermand.coordinator.testing.cases import Place, forward_cases
from countermand.participants.saga import approval, for_each, parallel, pivot, saga, scope, sequence, step, wait_for
from countermand.schemas.errors import DefinitionError
from kit.market import BASKET, Basket, Collect, Fetch, Market, Ribbon, Wrap, errand, market, shopping
from kit.shop import ORDER, TWICE
from kit.test_probed_steps import Bank, probed_trade

EVENTS = {"paid": {"cents": 2_000}}


def examined(of: SagaDocument, *careless: str, basket: Basket = BASKET, **more: object) -> Report:
    here = Market(*careless)
    return exhaustive(of, basket, participants=here.participants, effects=here.effects, **more)  # type: ignore[arg-type]


def test_a_sound_market_passes() -> None:
    """Loops, scopes, waits and approvals: events come, early, twice or not at all; it is approved, denied or not."""
    report = examined(market)
    report.check()
    assert report.cases > 150
    assert report.notes == ()


def test_a_sound_family_passes() -> None:
    """The children's steps meet trouble too, and the locks."""
    report = examined(shopping)
    report.check()
    assert report.cases > 130


def test_an_errand_passes() -> None:
    """Assignees, signals and sleeps; a branch that is only reached by a denial."""
    report = examined(errand)
    report.check()
    assert report.notes == ()


@pytest.mark.parametrize(
    ("careless", "step_name", "words"),
    [
        ("wrapped", "wrap", "its compensation answered that all was undone, and undid nothing of wrapped +1"),
        ("fetched", "fetch[0]", "its compensation answered that all was undone, and undid nothing of fetched +1"),
    ],
)
def test_what_a_scope_or_an_item_leaves_behind_is_found(careless: str, step_name: str, words: str) -> None:
    """A scope that failed has to leave nothing, although the saga completes."""
    report = examined(market, careless, answers=EVENTS, findings_max=2)
    assert words in " ".join(report.why[step_name]), report.text
    assert max(map(len, report.text.splitlines())) <= 100


def test_what_a_child_leaves_behind_is_found() -> None:
    """It is named with the child's name, and the timeline tells both sagas."""
    report = examined(shopping, "wrapped", findings_max=1)
    assert list(report.why) == ["delivery/wrap"]
    assert "case-" in report.text
    assert ":delivery  depot" in report.text


@saga("many", version=1)
def many(basket: Basket) -> None:
    with for_each(basket.skus, concurrency=5) as line:
        step(Fetch(sku=line.item), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
    pivot(Collect(basket=basket.id))


def test_of_many_items_a_few_meet_trouble_and_it_is_said() -> None:
    """The first two and the last."""
    report = examined(many, basket=Basket(skus=[f"s{number}" for number in range(8)]), steps={"fetch[0]", "fetch[7]"})
    report.check()
    assert report.notes == ("of fetch's 8 instances only [0], [1], [7] met trouble",)
    assert report.notes[0] in report.text


def test_the_number_of_cases_is_bounded_and_what_is_left_out_is_said() -> None:
    """Never silently."""
    whole = examined(many)
    some = examined(many, cases_max=20)
    assert some.cases == 20
    (note,) = some.notes
    assert note == f"{whole.cases - 20} more cases were left out, over cases_max=20"


def test_what_is_never_reached_is_said() -> None:
    """Another input has to come there."""
    report = examined(market, basket=Basket(cents=1), answers=EVENTS, steps={"paid"})
    assert report.notes == ("this input never comes to: review",)


def test_answers_are_checked() -> None:
    """A node that isn't there."""
    with pytest.raises(DefinitionError, match="did you mean 'paid'"):
        examined(market, answers={"payd": {}})


@saga("beside", version=1)
def beside(basket: Basket) -> None:
    with parallel():
        with scope("reviewed"), parallel():
            step(Fetch(sku=basket.id), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
            with sequence():
                step(Ribbon(basket=basket.id), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
                approval("review", role="fraud", deadline="1d")
            wait_for("called", deadline="1h")
        step(Wrap(basket=basket.id), timeout="5s", retry=TWICE, undo_timeout="5s", undo_retry=TWICE)
    pivot(Collect(basket=basket.id), timeout="5s", retry=TWICE)


@pytest.mark.parametrize("seed", range(4))
def test_what_comes_when_nobody_waits_any_more_does_no_harm(seed: int) -> None:
    """A decision and an event for a part of the saga that has turned back meanwhile."""
    report = examined(beside, seed=seed, steps={"review", "fetch"})
    report.check()
    assert report.notes == ()


@saga("too_late", version=1)
def too_late(basket: Basket) -> None:
    pivot(Collect(basket=basket.id), timeout="5s", retry=TWICE)
    wait_for("called", deadline="1h")


def test_a_wait_after_the_pivot_that_has_no_branch_is_found() -> None:
    """There is no way back from there, and the report says what is missing."""
    report = examined(too_late)
    assert report.why == {
        "called": ["it came to nothing after the pivot, where there is no way back: give it a branch for that case"]
    }


def test_a_step_with_a_probe_is_given_up_in_doubt() -> None:
    """Its probe then meets what every command can meet; a pivot may be given up for good, as it can be asked about."""
    bank = Bank()
    report = exhaustive(probed_trade, ORDER, participants=[bank.participant], effects=bank.effects)
    report.check()
    asked_about = forward_cases([Place(step.name, step) for step in probed_trade.definition.steps()])
    probes = Counter(each.step for case in asked_about for each in case.troubles if each.direction == "probe")
    assert probes == {"pay": 13, "capture": 13}
