"""What keeps a saga from going over to another version, and the words in which it is said. Nothing is changed by it."""

import pytest

from core.moving import Moving, step
from core.test_migrating import FORWARD, PAY, RESERVE, SHIP
from countermand.schemas.definition import (
    ApprovalNode,
    ForEachNode,
    LockNode,
    Node,
    ParallelNode,
    RetryPolicy,
    ScopeNode,
    SequenceNode,
    SleepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.messages import Refused
from countermand.schemas.operations import MigrateSaga

LATER = RetryPolicy(attempts_max=5, jitter_percent=0)


def at_ship() -> Moving:
    """Two steps are done, and the third is to be tried again; on hold."""
    saga = Moving(RESERVE, PAY, step("ship", retry=LATER))
    saga.succeeds("reserve", "pay")
    saga.pauses()
    saga.fails("ship")
    return saga


THIRD = step("ship", retry=LATER)

# What the other version is, and why a saga whose third step is to be tried again can't go over to it.
MISFITS: list[tuple[str, tuple[Node, ...], str]] = [
    ("done one is gone", (RESERVE, THIRD), "pay: is done, and moving@2 doesn't have it: nothing could undo it"),
    ("asked one is gone", (RESERVE, PAY), "ship: has been asked for, and moving@2 doesn't have it"),
    ("new one before", (RESERVE, step("new"), PAY, THIRD), "new: comes before pay in moving@2, which has begun"),
    ("new one at the front", (step("new"), RESERVE, PAY, THIRD), "new: comes before reserve"),
    (
        "new branch before",
        (ParallelNode((SequenceNode((RESERVE, PAY)), step("new"))), THIRD),
        "new: comes before ship in moving@2, which has begun: it would be run out of order",
    ),
    ("condition before", (WhenNode("w", {"$": "input.order.total > 1"}, step("x")), RESERVE, PAY, THIRD), "w: comes"),
    ("other order", (PAY, RESERVE, THIRD), "reserve: was done before pay, and in moving@2 it isn't"),
    ("side by side", (ParallelNode((RESERVE, PAY)), THIRD), "they would be undone in another order"),
    ("asked one first", (THIRD, RESERVE, PAY), "ship: comes before reserve in moving@2, which has begun"),
    ("other action", (RESERVE, step("pay", action="charge"), THIRD), "pay: asked for pay, and in moving@2 it asks"),
    ("other node", (RESERVE, SleepNode("pay", 5), THIRD), "pay: is a step, and a sleep in moving@2"),
    ("other kind", (RESERVE, step("pay", kind="pivot"), step("ship", **FORWARD)), "pay: is compensatable, and in"),
    ("elsewhere", (RESERVE, PAY, step("ship", at="carrier", retry=LATER)), "ship: an attempt may still run at shop"),
    ("in a scope", (ScopeNode("s", SequenceNode((RESERVE, PAY))), THIRD), "reserve: stands in another scope"),
    ("in a loop", (RESERVE, ForEachNode("l", [1], PAY), THIRD), "pay: stands in another loop in moving@2"),
    (
        "behind a decision",
        (RESERVE, PAY, WhenNode("w", {"$": "input.order.total > 1"}, THIRD)),
        "ship: has been reached, and stands where this saga wouldn't have come by in moving@2",
    ),
]


@pytest.mark.parametrize(("what", "nodes", "why"), MISFITS, ids=[what for what, _, _ in MISFITS])
def test_a_version_under_which_this_could_not_have_come_about_is_refused(
    what: str, nodes: tuple[Node, ...], why: str
) -> None:
    """The node and the reason are named, and nothing is changed."""
    refusal = at_ship().refusal(*nodes)
    assert refusal.startswith("incompatible: version: ")
    assert why in refusal


def open_nodes() -> Moving:
    """A sleep, a wait, an approval and a loop have begun; on hold."""
    saga = Moving(
        WhenNode("dear", {"$": "input.order.total > 10"}, step("check"), step("pass_on")),
        ParallelNode((SleepNode("night", 60_000), WaitNode("paid", "payment", 50_000), REVIEW)),
    )
    saga.succeeds("check")
    saga.pauses()
    return saga


REVIEW = ApprovalNode("review", 40_000, {"of": 1}, "fraud")
DEAR = WhenNode("dear", {"$": "input.order.total > 10"}, step("check"), step("pass_on"))


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ((DEAR, ParallelNode((WaitNode("paid", "payment", 50_000), REVIEW))), "night: is waited for, and moving@2"),
        ((DEAR, ParallelNode((SleepNode("night", 5), REVIEW))), "paid: is waited for, and moving@2 doesn't have it"),
        (
            (DEAR, ParallelNode((SleepNode("night", 5), WaitNode("paid", "refund", 50_000), REVIEW))),
            "paid: waits for payment, and in moving@2 for refund",
        ),
        (
            (
                WhenNode("dear", {"$": "input.order.total > 10"}, step("pass_on"), step("check")),
                ParallelNode((SleepNode("night", 5), WaitNode("paid", "payment", 5), REVIEW)),
            ),
            "check: has been reached, and stands where this saga wouldn't have come by",
        ),
    ],
)
def test_what_is_waited_for_has_to_be_there(nodes: tuple[Node, ...], why: str) -> None:
    """A wait that has begun can't vanish or become another one, and a branch that was taken stays taken."""
    assert why in open_nodes().refusal(*nodes)


def test_a_branch_that_was_taken_has_to_be_there() -> None:
    """A wait that timed out went into its branch: a version without one would think that it was met."""
    branch = WhenNode("dear", {"$": "input.order.total > 99"}, SHIP)
    saga = Moving(WaitNode("paid", "payment", 5_000, on_timeout=branch), PAY, step("mail"))
    saga.waits(5_000)
    saga.pauses()
    saga.succeeds("pay")
    refusal = saga.refusal(WaitNode("paid", "payment", 5_000), PAY, step("mail"))
    assert "paid: has gone into a branch that moving@2 doesn't have" in refusal


def test_nothing_stands_behind_a_scope_that_still_goes_back() -> None:
    """Beside it a step could be done; behind it that step would have had to wait."""
    scope = ScopeNode("attempt", SequenceNode((RESERVE, PAY)))
    saga = Moving(ParallelNode((scope, SHIP)))
    saga.succeeds("ship", "reserve")
    saga.rejects("pay")
    saga.fails("reserve", retryable=False)
    assert saga.state.stuck is not None
    refusal = saga.refusal(scope, SHIP)
    assert "attempt: comes before ship in moving@2, which has begun" in refusal
    assert "has failed, and moving@2 doesn't have it" in saga.refusal(SequenceNode((RESERVE, PAY)), SHIP)


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ((RESERVE, step("capture"), step("ship")), "capture: is pivot, and in moving@2 it is compensatable"),
        ((RESERVE, step("other", kind="pivot"), step("ship", **FORWARD)), "capture: is done, and moving@2"),
    ],
)
def test_past_the_pivot_it_stays_the_pivot(nodes: tuple[Node, ...], why: str) -> None:
    """Whoever is past the point of no return can't go over to a version in which it isn't."""
    saga = Moving(RESERVE, step("capture", kind="pivot"), step("ship", **FORWARD))
    saga.succeeds("reserve", "capture")
    saga.rejects("ship")
    assert why in saga.refusal(*nodes)


def test_what_the_other_version_reads_has_to_be_there() -> None:
    """A field that the results, or the input, of this saga don't have is named."""
    saga = at_ship()
    read = step("mail", input={"id": {"$": "steps.pay.receipt"}, "to": {"$": "input.customer"}})
    refusal = saga.refusal(RESERVE, PAY, THIRD, read)
    assert "steps.pay.receipt" in refusal
    assert "moving@2 reads it of the result" in refusal
    assert "moving@2 reads it of the saga's input" in refusal
    # What is done has been read: its own input is no matter any more.
    assert at_ship().notes(RESERVE, step("pay", input={"to": {"$": "input.customer"}}), THIRD)


def test_another_lock_is_another_lock() -> None:
    """A saga that holds one can't go over to a version in which it would hold another."""
    saga = Moving(LockNode("mine", "order", {"$": "input.order.id"}), PAY)
    saga.succeeds("mine")
    saga.pauses()
    saga.succeeds("pay")
    refusal = saga.refusal(LockNode("mine", "customer", {"$": "input.order.id"}), PAY, SHIP)
    assert "mine: asked for the lock order, and in moving@2 it asks for customer" in refusal


def test_only_a_saga_on_hold_with_nothing_out_goes_over() -> None:
    """Running, waiting for an answer, going back, without such a version, at that version: each is refused in words."""
    saga = Moving(RESERVE, PAY)
    assert saga.refusal(RESERVE, PAY, SHIP) == "not_on_hold: the saga is running; pause it first"
    saga.pauses()
    assert saga.refusal(RESERVE, PAY, SHIP).startswith("attempt_out: an attempt of reserve is out; wait for its answer")
    saga.succeeds("reserve")
    missing = saga.operates(MigrateSaga(9))
    assert isinstance(missing, Refused)
    assert (missing.code, missing.problem) == ("unknown_definition", "version: moving@9 is not registered")
    same = saga.operates(MigrateSaga(1), saga.plan)
    assert isinstance(same, Refused)
    assert (same.code, same.problem) == ("same_version", "version: the saga is at moving@1 already")
    saga.resumes()
    saga.rejects("pay")
    assert saga.refusal(RESERVE, PAY, SHIP).startswith("already_compensating: the saga is going back")


def test_a_saga_that_has_lost_state_stays_where_it_is() -> None:
    """Nobody knows what is done: nothing can be compared."""
    saga = Moving(RESERVE, PAY)
    saga.succeeds("reserve")
    saga.forgets("pay")
    assert saga.state.halted
    assert saga.refusal(RESERVE, PAY, SHIP).startswith("state_lost: ")


def test_many_reasons_are_told_in_part() -> None:
    """A refusal names five reasons, and says how many more there are."""
    names = [f"s{number}" for number in range(8)]
    saga = Moving(*(step(name) for name in names), step("last", retry=LATER))
    saga.succeeds(*names)
    saga.pauses()
    saga.fails("last")
    refusal = saga.refusal(step("last", retry=LATER))
    assert refusal.count("nothing could undo it") == 5
    assert refusal.endswith("; and 3 more")
