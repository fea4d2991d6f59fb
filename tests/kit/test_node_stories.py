"""Stories of the nodes that are no steps: branches, loops, waits, sleeps, approvals, scopes."""

import pytest

from countermand.coordinator.testing import Story, StoryFailed, given
from kit.market import ALL_DONE, BASKET, SMALL, Basket, Bill, Market, Parcel, errand, market, two_gifts

PAID = Bill(shelves=["s-pear", "s-plum"], paid=2_000)
FRAUD = ("fraud",)


def bought(basket: Basket = BASKET, *careless: str, seed: int = 0) -> Story:
    here = Market(*careless)
    return given(market, basket, participants=here.participants, effects=here.effects, seed=seed)


def paid(basket: Basket = BASKET) -> Story:
    return bought(basket).publishes("payment_received", {"cents": 2_000}, key="b-1", after="fetch")


def test_every_node_is_run() -> None:
    """Loop, scope, wait, branch and approval, to the outcome as a whole."""
    story = paid().approves("review", by="ann", roles=FRAUD).expect_completed(PAID).expect_effects(ALL_DONE)
    assert "for_each_1 goes through 2 items" in story.timeline
    assert "asks depot for fetch[1]" in story.timeline
    assert "paid waits for payment_received with the key b-1, 3d at most" in story.timeline
    assert "review was approved by ann" in story.timeline
    assert max(map(len, story.timeline.splitlines())) <= 100


def test_a_branch_that_is_not_taken_is_not_run() -> None:
    """What was reached can be asked for, and what was not."""
    story = paid(SMALL).expect_completed(PAID)
    story.expect_ran("is_large", "paid", "collect", "fetch[1]", "fetch").expect_not_ran("review", "remind", "say_sorry")
    with pytest.raises(StoryFailed, match=r"to be reached: review\n.*reached were for_each_1, fetch\[0\]"):
        story.expect_ran("collect", "review")
    with pytest.raises(StoryFailed, match=r"not to be reached: fetch\n"):
        story.expect_not_ran("fetch", "review")


def test_trouble_meets_one_item_or_any() -> None:
    """With its place an instance of a step; without it whichever comes first."""
    bought().rejects("fetch[1]", "sold_out").expect_compensated("fetch[0]", because="sold_out").expect_effects({})
    story = (
        bought()
        .fails("fetch", times=2)
        .publishes("payment_received", key="b-1")
        .approves("review", by="ann", roles=FRAUD)
    )
    story.expect_completed()
    assert story.timeline.count("answers fetch[0]: failed") == 1
    assert story.timeline.count("answers fetch[1]: failed") == 1


def test_every_item_is_undone() -> None:
    """Instance by instance, or all of them at once."""
    story = paid(SMALL).rejects("collect").expect_compensated("ribbon", "wrap", {"fetch[0]", "fetch[1]"})
    story.expect_compensated("ribbon", "wrap", "fetch[*]")
    with pytest.raises(StoryFailed, match="undone were ribbon, wrap, fetch"):
        story.expect_compensated("ribbon", "wrap", "fetch[0]")
    with pytest.raises(StoryFailed, match=r"expected to be undone: wrap\[\*\]"):
        bought(Basket(skus=["moon"])).expect_compensated("wrap[*]")


def test_an_event_may_come_early() -> None:
    """It is kept until the saga waits for it."""
    story = bought(SMALL).publishes("payment_received", {"cents": 2_000}, key="b-1").expect_completed(PAID)
    assert story.timeline.index("publishes payment_received") < story.timeline.index("paid waits for")


def test_a_wait_times_out() -> None:
    """Its branch is taken; the payload is missing from the outcome."""
    bought(SMALL).expect_completed(Bill(shelves=["s-pear", "s-plum"], paid=None)).expect_ran("remind")
    bought(SMALL).publishes("payment_received", key="b-2").expect_completed().expect_ran("remind")


def test_where_a_saga_waits_can_be_asked() -> None:
    """At that moment, all of its waits; no time goes by."""
    story = bought().advance("1s").expect_waiting("paid").publishes("payment_received", key="b-1")
    story.advance("1s").expect_waiting("review")
    with pytest.raises(StoryFailed, match="expected the saga to wait at paid\n   it waits at review"):
        story.expect_waiting("paid")


def test_a_decision_waits_to_be_asked_for() -> None:
    """It is made as soon as the saga asks, or at the moment that the story tells."""
    paid().denies("review", by="ann", roles=FRAUD).expect_compensated(because="approval_denied").expect_effects({})
    later = paid().advance("5h").approves("review", by="eve", roles=["managers"]).expect_completed()
    assert "5:00:00" in later.timeline
    paid().expect_compensated(because="approval_timed_out")


def test_whoever_may_not_decide_is_refused() -> None:
    """The story says that it expects so; a refusal that it doesn't expect fails it, and so does one that is missing."""
    story = paid().approves("review", by="bob", roles=["fraud"], refused="requester")
    story.approves("review", by="eve", roles=["managers"], refused="not_allowed")
    story.approves("review", by="ann", roles=FRAUD).expect_completed(PAID)
    with pytest.raises(StoryFailed, match="expected to be taken: bob decides review: approved\n   it was refused with"):
        paid().approves("review", by="bob", roles=["fraud"]).approves(
            "review", by="ann", roles=FRAUD
        ).expect_completed()
    with pytest.raises(StoryFailed, match="expected to be refused with requester: ann decides review"):
        paid().approves("review", by="ann", roles=["fraud"], refused="requester").expect_completed()
    with pytest.raises(StoryFailed, match="never happened: ann decides review: approved"):
        paid(SMALL).approves("review", by="ann", roles=FRAUD).expect_completed()


def test_what_may_be_decided_is_checked_where_it_is_written() -> None:
    """Only approvals are decided, and a place needs a for-each."""
    with pytest.raises(ValueError, match=r"paid of market@1 is no approval"):
        bought().approves("paid", by="ann")
    with pytest.raises(ValueError, match=r"no node 'fetch\[1\]\[2\]'; it stands inside so many for-eachs"):
        bought().rejects("fetch[1][2]")


def test_a_scope_is_rolled_back_alone() -> None:
    """Its steps are undone, and the saga goes on and completes."""
    story = paid(SMALL).rejects("ribbon", "no_silk").expect_completed(PAID)
    story.expect_rolled_back("gift", "wrap", because="no_silk").expect_ran("say_sorry")
    story.expect_effects({"fetched": 2, "collected": 1})
    assert "the scope gift turns back: no_silk in step ribbon" in story.timeline
    assert "the saga: compensating" not in story.timeline
    with pytest.raises(StoryFailed, match="expected to be undone: ribbon\n   undone were wrap"):
        story.expect_rolled_back("gift", "ribbon")
    with pytest.raises(StoryFailed, match="because of late\n   it did because of no_silk"):
        story.expect_rolled_back("gift", because="late")
    with pytest.raises(StoryFailed, match="scope gift to be rolled back\n   rolled back were none"):
        paid(SMALL).expect_rolled_back("gift")


def test_each_scope_has_steps_of_its_own() -> None:
    """What another one undid isn't counted."""
    story = given(two_gifts, SMALL).rejects("first_card").rejects("second_card").expect_completed(None)
    story.expect_rolled_back("first", "wrap").expect_rolled_back("second", "ribbon")


def test_signals_and_sleeps() -> None:
    """A signal goes to the saga itself; a sleep is over in no time."""
    story = given(errand, SMALL).approves("go", by="ann").signals("called", after="go").answers("fetch", {"shelf": "x"})
    story.advance("1h").expect_waiting("rest").expect_completed(Parcel(shelf="x"))
    assert "rest sleeps for 8h" in story.timeline
    given(errand, SMALL).denies("go", by="ann").signals("called").expect_completed().expect_ran("say_no")
    given(errand, SMALL).approves("go", by="ann").expect_compensated(set(), because="wait_timed_out")


@pytest.mark.parametrize("node", ["paid", "review"])
def test_the_coordinator_crashes_as_it_takes_an_event_or_a_decision(node: str) -> None:
    """Whichever it is, it comes again."""
    for when in ("before", "after"):
        story = paid().approves("review", by="ann", roles=FRAUD).crashes_coordinator(node, when).expect_completed(PAID)
        assert f"{when} its commit" in story.timeline


def test_what_people_do_and_never_comes_to_it_is_noticed() -> None:
    """A story that says more than happened proves nothing."""
    with pytest.raises(StoryFailed, match="never happened: cancels saga-1"):
        paid(SMALL).cancels(after="review").expect_completed()
    with pytest.raises(StoryFailed, match="expected to be taken: cancels saga-1\n   it was refused with wrong_phase"):
        paid(SMALL).cancels(after="collect").expect_completed()
    paid(SMALL).cancels(after="collect", refused="wrong_phase").expect_completed()
