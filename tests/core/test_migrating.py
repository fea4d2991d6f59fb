"""Stories of sagas that go over to another version of their definition, and go on."""

from typing import Any

import msgspec

from core.moving import Moving, step
from countermand.coordinator.core.journal import OperatorActed, SagaMigrated, SagaReleased
from countermand.coordinator.core.possible import possible_operations
from countermand.coordinator.core.state import Looped
from countermand.schemas.definition import (
    ApprovalNode,
    Concurrency,
    ForEachNode,
    ParallelNode,
    RetryPolicy,
    ScopeNode,
    SequenceNode,
    SleepNode,
    WaitNode,
    WhenNode,
)
from countermand.schemas.operations import CompensateSaga, RetryStep

RESERVE, PAY, SHIP = step("reserve"), step("pay"), step("ship")
FORWARD = {"kind": "retriable", "retry": RetryPolicy(attempts_max=1)}


def paused_after_reserving() -> Moving:
    """The first of three steps is done, and the second, which failed, is to be tried again."""
    saga = Moving(RESERVE, step("pay", retry=RetryPolicy(attempts_max=3, jitter_percent=0)), SHIP)
    saga.succeeds("reserve", result={"value": 7})
    saga.pauses()
    saga.fails("pay")
    return saga


def test_what_is_ahead_is_run_as_the_other_version_says() -> None:
    """A new step is run, one that is gone isn't, and a changed one gets its new input."""
    saga = paused_after_reserving()
    saga.goes_over(RESERVE, step("pay", retry=RetryPolicy(attempts_max=3)), step("wrap"), step("ship", input={"by": 1}))
    assert saga.state.definition == "moving@2"
    assert saga.asked == []
    saga.resumes()
    saga.goes_well()
    assert saga.all_asked == ["reserve", "pay", "pay", "wrap", "ship"]
    assert saga.command("ship").body == b'{"by":1}'
    assert saga.state.phase == "completed"


def test_going_over_is_audited_and_told() -> None:
    """Who did it and why stands in front of what it did, and the entry names both versions."""
    saga = paused_after_reserving()
    before = saga.plan
    saga.goes_over(RESERVE, step("pay", retry=RetryPolicy(attempts_max=3)))
    (acted, moved) = [record.entry for record in saga.records[-2:]]
    assert isinstance(acted, OperatorActed)
    assert (acted.actor, acted.reason, acted.operation) == ("ann", "new version", "migrate")
    assert isinstance(moved, SagaMigrated)
    assert (moved.former, moved.former_hash) == ("moving@1", before.hash)
    assert (moved.definition, moved.definition_hash) == ("moving@2", saga.plan.hash)


def test_what_was_done_is_undone_as_the_version_said_that_did_it() -> None:
    """Its compensation goes to the old participant, with the old input and the old patience, whatever the new says."""
    reserve = step("reserve", input={"lines": {"$": "input.lines"}}, undo_timeout_ms=4_000)
    saga = Moving(reserve, PAY)
    saga.succeeds("reserve")
    saga.pauses()
    saga.succeeds("pay")
    moved = step("reserve", at="warehouse", input={"of": {"$": "input.order.id"}}, undo_timeout_ms=9_000)
    saga.goes_over(moved, PAY, SHIP)
    saga.resumes()
    saga.rejects("ship")
    saga.succeeds("pay")
    undo = saga.command("~reserve")
    assert (undo.participant, undo.action) == ("shop", "reserve")
    assert msgspec.json.decode(undo.body) == {"command": {"lines": [7, 8, 9]}, "result": None}
    assert undo.deadline_ms == saga.now_ms + 4_000
    assert saga.state.undo_routes == ("shop/reserve",)
    saga.succeeds("reserve")
    assert saga.state.phase == "compensated"


def test_a_compensation_that_the_other_version_drops_is_made_all_the_same() -> None:
    """And one that it adds is not: the version that did the step had none."""
    bare = step("quote", compensation=False, because="a quote binds nobody")
    saga = Moving(RESERVE, bare, SHIP)
    saga.succeeds("reserve")
    saga.pauses()
    saga.succeeds("quote")
    dropped = step("reserve", compensation=False, because="it expires")
    target = (dropped, step("quote"), SHIP)
    assert saga.notes(*target) == [
        "reserve: is done, and stays as it is; should the saga turn back, it is undone all the same",
        "quote: is done, and stays as it is; the version that did it has no compensation for it",
    ]
    saga.goes_over(*target)
    saga.resumes()
    saga.rejects("ship")
    assert saga.asked == ["~reserve"]
    saga.goes_well()
    assert saga.state.phase == "compensated"


def test_a_saga_goes_over_twice_and_keeps_what_did_the_step() -> None:
    """The route and the input are those of the first version, not those of the one between."""
    saga = Moving(step("reserve", input={"first": 1}), PAY)
    saga.succeeds("reserve")
    saga.pauses()
    saga.succeeds("pay")
    saga.goes_over(step("reserve", at="second", input={"second": 2}), PAY, SHIP)
    saga.goes_over(step("reserve", at="third", input={"third": 3}), PAY, step("drop"), number=3)
    saga.operates(CompensateSaga())
    saga.succeeds("pay")
    undo = saga.command("~reserve")
    assert (undo.participant, msgspec.json.decode(undo.body)["command"]) == ("shop", {"first": 1})


def test_a_step_that_is_to_be_tried_again_keeps_its_input() -> None:
    """An old attempt may still run under the same key; timeouts and retries are the new ones."""
    saga = paused_after_reserving()
    pay = step("pay", input={"new": True}, timeout_ms=7_000, retry=RetryPolicy(attempts_max=2, jitter_percent=0))
    assert saga.notes(RESERVE, pay, SHIP) == [
        "pay: goes on with what it was asked with; its timeouts and retries count from now on"
    ]
    saga.goes_over(RESERVE, pay, SHIP)
    saga.resumes()
    saga.waits(2_000)
    again = saga.command("pay")
    assert (again.attempt, msgspec.json.decode(again.body)) == (2, {"order": {"id": 1, "total": 20}})
    asked_ms = next(record.at_ms for record in reversed(saga.records))
    assert again.deadline_ms == asked_ms + 7_000


def test_a_rejected_step_is_tried_again_with_what_the_other_version_says() -> None:
    """The definition is mended, the saga goes over, and a retry under a new key sends what is mended."""
    saga = Moving(step("capture", kind="pivot"), step("ship", input={"to": "?"}, **FORWARD))
    saga.succeeds("capture")
    saga.rejects("ship")
    assert saga.state.stuck is not None
    saga.goes_over(step("capture", kind="pivot"), step("ship", at="carrier", input={"to": "Bern"}, **FORWARD))
    assert saga.state.stuck is not None
    saga.operates(RetryStep("ship"))
    again = saga.command("ship")
    assert (again.participant, again.key, again.body) == ("carrier", "order-1/ship~1", b'{"to":"Bern"}')
    saga.succeeds("ship")
    assert saga.state.phase == "completed"


def test_a_rejected_step_that_is_gone_holds_nobody_up() -> None:
    """A saga that is stuck on a step which the other version doesn't have goes on at once."""
    saga = Moving(step("capture", kind="pivot"), step("ship", **FORWARD), step("thank", **FORWARD))
    saga.succeeds("capture")
    saga.rejects("ship")
    target = (step("capture", kind="pivot"), step("thank", **FORWARD))
    assert saga.notes(*target) == ["ship: is gone; it was rejected, and is not asked for again"]
    saga.goes_over(*target)
    assert saga.state.stuck is None
    assert saga.asked == ["thank"]
    saga.succeeds("thank")
    assert saga.state.phase == "completed"


def test_what_could_not_be_made_is_made_as_the_other_version_says() -> None:
    """A saga that is stuck because a field is missing goes on once the definition asks for another."""
    ship = step("ship", input={"to": {"$": "steps.capture.address"}}, **FORWARD)
    mended = step("ship", input={"to": {"$": "input.order.id"}}, **FORWARD)
    saga = Moving(step("capture", kind="pivot"), ship)
    saga.succeeds("capture", result={"amount": 3})
    assert saga.state.stuck is not None
    assert "steps.capture.address" in saga.refusal(step("capture", kind="pivot"), ship, outcome={"new": 1})
    saga.goes_over(step("capture", kind="pivot"), mended)
    assert [record.entry for record in saga.records if isinstance(record.entry, SagaReleased)]
    assert saga.command("ship").body == b'{"to":1}'


def test_a_loop_keeps_its_items_and_its_finished_ones() -> None:
    """Items that are done stay done, under the input that they had; those to come get the new one."""
    first = step("ask", input={"line": {"$": "each.lines.item"}})
    saga = Moving(ForEachNode("lines", {"$": "input.lines"}, first, 1))
    saga.pauses()
    saga.succeeds("ask[0]")
    second = step("ask", input={"sku": {"$": "each.lines.item"}})
    body = SequenceNode((second, step("thank")))
    saga.goes_over(ForEachNode("lines", {"$": "input.order.id"}, body, 3))
    assert saga.state.marks["lines"] == Looped(3)
    saga.resumes()
    assert saga.asked == ["ask[1]", "ask[2]", "thank[0]"]
    assert saga.command("ask[2]").body == b'{"sku":9}'
    saga.operates(CompensateSaga())
    undone = {each.step: msgspec.json.decode(each.body)["command"] for each in saga.pending}
    assert undone["thank[0]"] == {"order": {"id": 1, "total": 20}}
    saga.succeeds("thank[0]")
    assert msgspec.json.decode(saga.command("~ask[0]").body)["command"] == {"line": 7}
    saga.goes_well()
    assert saga.state.phase == "compensated"


def test_what_is_waited_for_goes_on_as_it_began() -> None:
    """A sleep, a wait and an approval keep their moments, a `when` its branch; the branches ahead are the new ones."""
    saga = Moving(
        WhenNode("dear", {"$": "input.order.total > 10"}, step("check"), step("skip_it")),
        ParallelNode(
            (
                SleepNode("night", 60_000),
                WaitNode("paid", "payment", 50_000, on_timeout=step("remind")),
                ApprovalNode(
                    "review",
                    40_000,
                    {"order": {"$": "input.order"}},
                    "fraud",
                    otherwise=step("report", timeout_ms=60_000),
                ),
            )
        ),
    )
    saga.succeeds("check")
    saga.pauses()
    target = (
        WhenNode("dear", {"$": "input.order.total > 1000"}, step("check")),
        ParallelNode(
            (
                SleepNode("night", 90_000),
                WaitNode("paid", "payment", 70_000, on_timeout=step("call", timeout_ms=60_000)),
                ApprovalNode("review", 70_000, {"new": 1}, "board", otherwise=step("report", timeout_ms=60_000)),
            )
        ),
        SHIP,
    )
    assert saga.notes(*target) == [
        "dear: has changed, and stays as decided",
        "night: has changed, and waits on as it has begun",
        "paid: has changed, and waits on as it has begun",
        "call: is new, and will be run",
        "review: has changed, and waits on as it has begun",
        "ship: is new, and will be run",
        "remind: is gone, and will not be run",
    ]
    marks = saga.state.marks
    saga.goes_over(*target)
    assert saga.state.marks == marks
    saga.resumes()
    saga.waits(60_000)
    assert saga.asked == ["call", "report"]


def test_a_scope_that_goes_back_ends_going_back() -> None:
    """What failed in the former version is undone as it said; the saga then goes on as the other says."""
    body = SequenceNode((RESERVE, PAY))
    saga = Moving(ScopeNode("attempt", body), SHIP)
    saga.succeeds("reserve")
    saga.rejects("pay")
    saga.pauses()
    saga.fails("reserve", retryable=False)
    saga.goes_over(ScopeNode("attempt", SequenceNode((step("reserve", at="warehouse"), PAY))), step("mail"))
    saga.resumes()
    offered = {each.operation: each.effect for each in possible_operations(saga.plan, saga.state, saga.now_ms)}
    assert offered["retry"].startswith("asks shop again to undo reserve")
    saga.operates(RetryStep("reserve"))
    assert saga.command("~reserve").participant == "shop"
    saga.succeeds("reserve")
    assert saga.asked == ["mail"]


def test_a_new_limit_and_a_new_deadline_are_for_new_sagas() -> None:
    """A saga that goes over keeps its moment and waits for nobody's turn."""
    saga = Moving(RESERVE, PAY, deadline_ms=3_600_000)
    saga.pauses()
    saga.succeeds("reserve")
    deadline_ms = saga.state.deadline_ms
    limited: dict[str, Any] = {"deadline_ms": 60_000, "concurrency": Concurrency(1)}
    assert saga.notes(RESERVE, PAY, **limited) == [
        "its deadline stays the moment that it is; that of moving@2 is for new sagas",
        "moving@2 limits how many run at once: this saga is not counted",
    ]
    saga.goes_over(RESERVE, PAY, **limited)
    assert saga.state.deadline_ms == deadline_ms
    saga.resumes()
    assert saga.asked == ["pay"]
    saga.succeeds("pay")
    assert saga.state.phase == "completed"


def test_a_turn_at_a_limit_that_is_no_more_is_given_back() -> None:
    """The lock that the former version's limit is stays the saga's until it ends."""
    saga = Moving(RESERVE, PAY, concurrency=Concurrency(1))
    saga.succeeds("countermand_limit")
    saga.pauses()
    saga.succeeds("reserve")
    saga.goes_over(RESERVE, PAY)
    saga.resumes()
    assert saga.asked == ["pay"]
    saga.succeeds("pay")
    assert saga.state.phase == "completed"
    assert [held.lock for held in saga.state.held] == ["definition:moving"]


def test_state_that_is_lost_after_going_over_is_asked_for_again() -> None:
    """What the store still knows of the former version's limit is nobody's to be asked for."""
    saga = Moving(RESERVE, PAY, SHIP, concurrency=Concurrency(1))
    saga.succeeds("countermand_limit")
    saga.pauses()
    saga.succeeds("reserve")
    saga.goes_over(RESERVE, PAY, SHIP)
    saga.resumes()
    saga.is_backed_up()
    saga.succeeds("pay")
    saga.forgets("ship")
    assert saga.state.halted
    saga.operates(RetryStep())
    assert saga.asked == ["pay", "reserve"]
    saga.goes_well()
    assert saga.state.phase == "completed"


def test_a_result_that_nobody_reads_any_more_is_said_so() -> None:
    """What is lost is listed, too: the step stays done, and can be undone."""
    saga = Moving(RESERVE, step("pay", input={"of": {"$": "steps.reserve.value"}}))
    saga.pauses()
    saga.succeeds("reserve", result={"value": 7})
    assert saga.notes(RESERVE, step("pay")) == [
        "pay: has changed, and is run as moving@2 says",
        "reserve: is done; its result is not read any more; it can still be undone",
    ]


def test_a_wait_that_is_over_may_be_gone() -> None:
    """What is left is where it was, though it stands at another place in the tree."""
    saga = Moving(SleepNode("night", 5_000), RESERVE, step("pay", retry=RetryPolicy(attempts_max=3)), SHIP)
    saga.waits(5_000)
    saga.succeeds("reserve")
    saga.pauses()
    saga.fails("pay")
    target = (RESERVE, step("pay", retry=RetryPolicy(attempts_max=3)), SHIP)
    assert saga.notes(*target) == ["night: is gone; it is over already"]
    saga.goes_over(*target)
    assert "night" not in saga.state.marks
    saga.resumes()
    assert saga.asked == []
    saga.goes_well()
    assert saga.all_asked == ["reserve", "pay", "pay", "ship"]


def test_a_branch_that_was_missing_lets_a_stuck_saga_go_on() -> None:
    """A wait after the pivot was in vain, and the former version didn't say what then."""
    capture = step("capture", kind="pivot")
    saga = Moving(capture, WaitNode("paid", "payment", 5_000), step("ship", **FORWARD))
    saga.succeeds("capture")
    saga.waits(5_000)
    assert saga.state.stuck is not None
    branch = step("remind", **FORWARD)
    saga.goes_over(capture, WaitNode("paid", "payment", 5_000, on_timeout=branch), step("ship", **FORWARD))
    assert saga.state.stuck is None
    assert saga.asked == ["remind"]
    saga.goes_well()
    assert saga.state.phase == "completed"


def test_of_a_large_saga_what_was_put_away_goes_over_too() -> None:
    """A hundred steps are done and stand beside the state: each is undone with the input that it had."""
    count = 100
    old = [step(f"s{number}", input={"old": number}) for number in range(count)]
    new = [step(f"s{number}", at="elsewhere", input={"new": number}) for number in range(count)]
    saga = Moving(*old, PAY)
    saga.succeeds(*(each.name for each in old))
    assert saga.saga is not None
    assert len(saga.saga.steps) > count / 2
    saga.pauses()
    saga.succeeds("pay")
    saga.goes_over(*new, PAY, SHIP)
    saga.resumes()
    assert saga.asked == ["ship"]
    saga.rejects("ship")
    saga.goes_well()
    undone = [each for each in saga.sent if each.direction == "undo" and each.step != "pay"]
    assert [each.step for each in undone] == [each.name for each in reversed(old)]
    assert {each.participant for each in undone} == {"shop"}
    assert all("old" in msgspec.json.decode(each.body)["command"] for each in undone)
    assert saga.state.phase == "compensated"
