"""One saga told to people, with every kind of node: loops, branches, waits, approvals, children, locks, scopes."""

import io
import json
from collections.abc import Callable

import msgspec
import pytest
from rich.console import Console

from coordinator import node_tales
from coordinator.node_tales import EVERY, HOUR_MS, SAGA_ID, START_MS, Tale, sequence, step
from countermand.coordinator.cli.telling import screen
from countermand.coordinator.core.state import Parent, SagaState
from countermand.coordinator.operate.document import document
from countermand.coordinator.operate.node_stories import NodeStory
from countermand.coordinator.operate.step_stories import ChildLook, LockLook, NextMoment, StepStory
from countermand.coordinator.operate.story import Story
from countermand.coordinator.operate.timeline import Span
from countermand.coordinator.operate.tree import ITEMS_SHOWN, TROUBLED_SHOWN, Line
from countermand.schemas.definition import ForEachNode, LockNode, RetryPolicy, ScopeNode, SleepNode, WaitNode, WhenNode
from countermand.schemas.messages import Failed
from countermand.schemas.operations import PauseSaga, RetryStep, SettleCompensation


def shown(story: Story, *, width: int = 100, encoding: str = "utf-8") -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="")
    terminal = Console(file=out, width=width, highlight=False, no_color=True)
    terminal.print(screen(story, terminal))
    out.flush()
    out.seek(0)
    return out.read()


def node(story: Story, name: str) -> NodeStory:
    (found,) = (each for each in story.nodes if each.name == name)
    return found


def step_of(story: Story, name: str) -> StepStory:
    (found,) = (each for each in story.steps if each.step == name)
    return found


def line(story: Story, name: str) -> Line:
    (found,) = (each for each in story.lines if each.name == name)
    return found


# --- loops


def test_a_loop_is_told_in_numbers() -> None:
    """How many of its items are done, out, to come or were spared: one line for each step, however long the list."""
    story = node_tales.half_a_loop().story()
    assert line(story, "ask_quote").lane.words == "87 of 100 done, 4 out, 9 to come"
    assert line(story, "is_cheap").lane.words == "29 of 100 then, 58 otherwise, 13 to come"
    assert line(story, "hold_quote").lane.words == "29 of 100 done, 13 to come, 58 not taken"
    assert node(story, "quotes").items == 100
    assert len(story.lines) < 10
    assert "87 of 100 done, 4 out, 9 to come" in shown(story, width=80)


def test_what_is_wrong_in_a_loop_is_told_item_by_item() -> None:
    """The one that the saga is stuck on first, with its last word, and the command that frees it."""
    tale = node_tales.stuck_loop()
    story = tale.story()
    names = [each.name for each in story.lines]
    at = names.index("ask_quote")
    assert names[at : at + 4] == ["ask_quote", "ask_quote[3]", "undo", "ask_quote[5]"]
    assert line(story, "ask_quote").lane.words == "6 of 8 undone, 1 rejected, 1 undo needs you"
    assert line(story, "ask_quote").lane.status == "exhausted"
    assert story.trouble is not None
    assert (story.trouble.step, story.trouble.happened) == ("ask_quote[3]", "agency refused to undo ask_quote[3]")
    commands = {each.operation: each.command for each in story.possible}
    assert commands["retry"] == f"countermand retry {SAGA_ID} --step 'ask_quote[3]' --reason '…'"
    tale.operates(SettleCompensation("ticket 7", "ask_quote[3]"))
    undo = step_of(tale.story(), "ask_quote[3]").undo
    assert undo is not None
    assert undo.words == "undone by hand"


def test_more_trouble_than_anybody_reads_is_counted() -> None:
    """Some of the items are told, of the others how many they are."""
    charge = step("charge", retry=RetryPolicy(attempts_max=5))
    tale = Tale(ForEachNode("all", node_tales.path("input.items"), charge, 30), items=list(range(20)))
    for ref in tale.asked[:12]:
        tale.answers(ref, Failed("bank_closed"))
    story = tale.story()
    troubled = [each for each in story.lines if each.name.startswith("charge[")]
    assert len(troubled) == TROUBLED_SHOWN
    assert line(story, "charge").lane.words == "8 of 20 out, 12 to be tried again"
    assert f"and {12 - TROUBLED_SHOWN} more of these, see --items" in [each.name for each in story.lines]


def test_items_are_told_one_by_one_where_that_is_asked_for() -> None:
    """Each under its number, with the branch that it took; and no more of them than anybody reads."""
    story = node_tales.half_a_loop().story(items=True)
    names = [each.name for each in story.lines]
    assert names[names.index("[0]") :][:5] == ["[0]", "ask_quote[0]", "is_cheap[0]", "then:", "hold_quote[0]"]
    assert names[names.index("[1]") :][:4] == ["[1]", "ask_quote[1]", "is_cheap[1]", "then: not taken"]
    many = node_tales.loop(ITEMS_SHOWN + 50).story(items=True)
    assert many.lines[-2].name == "and 50 more items, see --output json"
    assert sum(each.name.startswith("[") for each in many.lines) == ITEMS_SHOWN


def test_a_loop_that_was_not_reached_has_no_numbers() -> None:
    """Nobody knows yet how many items it has; a loop over nothing is over."""
    ahead = Tale(step("first"), ForEachNode("all", [], step("charge")))
    assert line(ahead.story(), "charge").lane.words == "not yet"
    ahead.succeeds("first")
    assert node(ahead.story(), "all").lane.words == "0 items"
    assert ahead.state.phase == "completed"


def test_loops_in_loops_count_every_item() -> None:
    """And the steps are known by both places."""
    inner = ForEachNode("lines", node_tales.path("each.orders.item"), step("pack"), 5)
    tale = Tale(ForEachNode("orders", node_tales.path("input.orders"), inner, 5), orders=[[1, 2], [3]])
    tale.succeeds("pack[1][0]")
    story = tale.story()
    assert line(story, "pack").lane.words == "1 of 3 done, 2 out"
    assert [each.step for each in story.steps] == ["pack[0][0]", "pack[0][1]", "pack[1][0]"]


def test_a_retry_of_one_item_is_offered_even_if_many_others_are_known() -> None:
    """What the saga is stuck on is never left out of what can be done."""
    tale = Tale(ForEachNode("all", node_tales.path("input.items"), step("charge"), 100), items=list(range(100)))
    tale.rejects("charge[99]")
    for ref in tale.asked[:-1]:
        tale.succeeds(ref)
    (last,) = tale.asked
    tale.rejects(last, "not_ours")
    assert tale.state.stuck is not None
    assert tale.state.stuck.step == last
    offered = [each.step for each in tale.story().possible if each.operation == "retry"]
    assert offered == [last]
    tale.operates(RetryStep(last))
    assert tale.asked == [last]


# --- branches, waits, approvals


def test_branches_say_which_one_was_taken() -> None:
    """The other one says that it wasn't, and its steps that they never will."""
    story = node_tales.everything().story()
    assert (node(story, "is_large").then, node(story, "is_large").lane.status) == (True, "then")
    assert "otherwise: not taken" in [each.name for each in story.lines]
    assert step_of(story, "say_thanks").do.words == "branch not taken"
    assert step_of(story, "remind").do.words == "not yet"
    before = Tale(WhenNode("later", node_tales.path("steps.first.ok"), step("pay")), step("last"))
    assert before.state.phase != "running" or "then:" in [each.name for each in before.story().lines]


def test_waits_say_for_what_and_how_long() -> None:
    """By name and key, with the moment at which they are given up, and as a line in time."""
    tale = node_tales.everything()
    paid = node(tale.story(), "paid")
    since_ms = START_MS + 2_800
    assert (paid.event, paid.key, paid.lane.words) == (
        "payment_received",
        "carol",
        "waits for payment_received, key carol",
    )
    assert paid.lane.next == NextMoment("given_up", since_ms + 2 * HOUR_MS)
    assert paid.lane.spans == (Span("wait", 0, since_ms),)
    sleep = node(tale.story(), "cool_down").lane
    assert (sleep.words, sleep.next and sleep.next.what) == ("sleeps", "goes_on")
    tale.signals("payment_received", "paid")
    met = node(tale.story(), "paid").lane
    assert (met.words, met.next, met.spans[-1].to_ms) == ("payment_received came", None, tale.now_ms)
    assert step_of(tale.story(), "remind").do.words == "branch not taken"


def test_time_that_stands_still_makes_no_promise() -> None:
    """Of a paused saga's waits no moment is told: nothing will happen at it."""
    tale = node_tales.everything()
    tale.operates(PauseSaga())
    assert all(each.lane.next is None for each in tale.story().nodes)


def test_an_approval_says_who_may_decide_what_until_when() -> None:
    """What is shown stands there in full, with its digest and the command that decides it."""
    story = node_tales.everything().story()
    (approval,) = story.approvals
    assert approval.who == "role fraud or alice or bob, but not carol, who asked"
    text = shown(story, width=80)
    for words in (
        "APPROVAL fraud_review: given up in 23h 59m",
        "role managers, too, in 3h 59m",
        '"total": 1200.0',
        approval.digest,
        f"countermand approvals approve {SAGA_ID} fraud_review --role fraud --comment '…'",
        "possible now: decide,",
    ):
        assert words in text
    decide = [each.command.split()[2] for each in story.possible if each.operation == "decide"]
    assert decide == ["approve", "deny"]


def test_what_is_stuck_after_the_pivot_says_what_it_waited_for() -> None:
    """A wait in vain is no refusal of a participant; it can begin again, and nothing is offered that can't be done."""
    tale = Tale(step("pay", kind="pivot", compensation=False), WaitNode("picked_up", "parcel_picked_up", HOUR_MS))
    tale.succeeds("pay")
    tale.goes_by(2 * HOUR_MS)
    trouble = tale.story().trouble
    assert trouble is not None
    assert (trouble.happened, trouble.detail) == (
        "picked_up waited in vain, after the pivot",
        "wait_timed_out: no parcel_picked_up came in time",
    )
    assert "has to begin again" in trouble.means
    assert [(each.operation, each.step) for each in tale.story().possible if each.step] == [("retry", "picked_up")]


def test_a_decision_can_be_made_while_the_saga_is_on_hold() -> None:
    """It stands with what is to be decided, and not a second time below."""
    tale = node_tales.everything()
    tale.operates(PauseSaga())
    text = shown(tale.story())
    assert text.count("approvals approve") == 1
    assert "or the same with deny" in text


def test_an_approval_that_is_over_says_by_whom() -> None:
    """And whoever was asked after that is told no more."""
    tale = node_tales.everything()
    tale.signals("payment_received", "paid")
    tale.goes_by(5 * HOUR_MS)
    (approval,) = tale.story().approvals
    assert (approval.roles, approval.escalate_ms) == (("fraud", "managers"), None)
    tale.decides("fraud_review", "approved", "managers", actor="meg")
    story = tale.story()
    review = node(story, "fraud_review")
    assert (review.lane.words, story.approvals) == ("approved by meg", ())
    assert review.approval is not None
    assert (review.approval.by, review.approval.comment) == ("meg", "looks good")


# --- the coordinator's own, scopes, probes


def test_children_and_locks_are_links() -> None:
    """A child is told with its phase and the command that shows it, a lock with its key and who else wants it."""
    tale = node_tales.everything()
    child = Tale(step("rent"), saga_id=f"{SAGA_ID}:book_car").state
    story = tale.story(children={child.saga_id: child})
    car, lock, limit = (step_of(story, name) for name in ("book_car", "hold_customer", "countermand_limit"))
    assert (car.sort, car.child, car.do.words) == ("child", ChildLook(child.saga_id, "running"), "child saga runs")
    assert (lock.lock, lock.do.words) == (LockLook("customer", "carol"), "held")
    assert (limit.sort, limit.lock, limit.do.words) == ("limit", LockLook("definition:trip", ""), "let in")
    text = shown(story)
    assert f"saga {child.saga_id} is running: countermand show {child.saga_id}" in text
    assert "countermand locks show customer carol" in text


def test_a_lock_that_is_waited_for_says_so() -> None:
    """Until it is given, and until when."""
    tale = Tale(LockNode("hold", "customer", "carol", timeout_ms=60_000))
    hold = step_of(tale.story(), "hold")
    assert (hold.do.words, hold.do.next) == ("waits for its turn", NextMoment("reply_overdue", START_MS + 60_000))
    assert "given up in 1m" in shown(tale.story())


def test_a_scope_that_was_undone_says_why() -> None:
    """What was done in it was undone; what came after it goes on."""
    story = node_tales.everything().story()
    hotel = node(story, "hotel")
    assert hotel.lane.words == "undone: sold_out in step book_breakfast: none left"
    undo = step_of(story, "book_hotel").undo
    assert undo is not None
    assert undo.words == "undone"
    assert step_of(story, "check_credit").undo is None
    assert story.turned_back is None
    entered = Tale(ScopeNode("hotel", sequence(step("book"), step("pay"))))
    assert node(entered.story(), "hotel").lane.status == "entered"


def test_a_scope_on_its_way_back_undoes_its_own() -> None:
    """In a saga that goes forward: the undo is out, and what waits for it says so."""
    tale = Tale(ScopeNode("hotel", sequence(step("book"), step("pay"), step("tip"))), step("last"))
    tale.succeeds("book", "pay")
    tale.rejects("tip")
    story = tale.story()
    book, pay = step_of(story, "book").undo, step_of(story, "pay").undo
    assert book is not None
    assert pay is not None
    assert (book.words, pay.words) == ("to be undone", "undo asked, no reply yet")
    assert pay.next is not None
    assert (node(story, "hotel").lane.status, step_of(story, "last").do.words) == ("undoing", "not yet")


def test_a_probe_is_a_line_of_its_own() -> None:
    """What became of the action is being asked; the answer says it in words."""
    tale = node_tales.probed()
    probe = step_of(tale.story(), "book_flight").probe
    assert probe is not None
    assert (probe.words, len(probe.spans)) == ("asked what became of it", 1)
    assert "? probe" in shown(tale.story())
    tale.rejects("book_flight", "not_done")
    after = step_of(tale.story(), "book_flight")
    assert after.probe is not None
    assert (after.probe.words, after.do.words) == ("it was not done", "rejected")


def test_a_saga_that_turned_back_waits_for_nothing_more() -> None:
    """What was waited for is given up, and so it says."""
    story = node_tales.turned_back().story()
    assert story.turned_back == "archive_full in step note_refusal: none left"
    assert node(story, "paid").lane.words == "payment_received given up"
    assert node(story, "fraud_review").lane.words == "denied by ana"
    assert not [each for each in story.nodes if each.lane.next is not None]
    car = step_of(story, "book_car")
    assert car.undo is not None
    assert car.undo.words == "child is being undone"


def test_a_child_says_who_started_it() -> None:
    """With the command that shows the parent; in JSON too."""
    tale = Tale(step("rent"))
    assert tale.saga is not None
    state: SagaState = msgspec.structs.replace(tale.state, parent=Parent("trip-9", "book_car", "key"))
    tale.saga = msgspec.structs.replace(tale.saga, state=state)
    assert "child of trip-9, at its step book_car: countermand show trip-9" in shown(tale.story())
    assert document(tale.story(), tale.whole)["parent"] == {"saga_id": "trip-9", "step": "book_car"}


# --- the screen and the JSON of all of them


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize(("width", "encoding"), [(80, "utf-8"), (120, "utf-8"), (80, "ascii"), (40, "utf-8")])
@pytest.mark.parametrize("items", [False, True])
def test_the_screen_fits(make: Callable[[], Tale], width: int, encoding: str, items: bool) -> None:
    """No line is wider than the terminal, but a digest, which comes whole; every state stands there as words."""
    story = make().story(items=items)
    text = shown(story, width=width, encoding=encoding)
    wide = [each for each in text.splitlines() if len(each) > width and "digest" not in each]
    assert not [each for each in wide if " countermand " not in f" {each}"], text
    said = " ".join(text.split())
    for each in story.lines:
        assert each.lane.words in said


@pytest.mark.parametrize("make", EVERY)
def test_the_json_tells_everything(make: Callable[[], Tale]) -> None:
    """Every step and every other node by name and place, and no secret; the fields of a node are always the same."""
    tale = make()
    found = json.loads(json.dumps(document(tale.story(), tale.whole)))
    assert {each["step"] for each in found["steps"]} >= set(tale.state.steps)
    assert {each["name"] for each in found["nodes"]} >= set(tale.state.marks)
    assert len({tuple(each) for each in found["nodes"]}) <= 1
    assert len({tuple(each) for each in found["steps"]}) == 1
    assert "0123456789abcdef" * 2 not in json.dumps(found)
    assert {each["step"] for each in found["approvals"]} == {each.step for each in tale.story().approvals}


def test_a_saga_with_nothing_but_a_sleep_is_told() -> None:
    """Also where there is no step at all."""
    tale = Tale(SleepNode("nap", HOUR_MS))
    text = shown(tale.story())
    assert "nap" in text
    assert "goes on in 1h" in text
