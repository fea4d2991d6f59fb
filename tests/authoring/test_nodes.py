"""Each verb writes its node, with the field's defaults, and refuses what makes none."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import pytest

from authoring.orders import CapturePayment, OrderPaid, ReserveStock, fulfil
from authoring.orders import Order as Purchase
from countermand.participants.saga import (
    Concurrency,
    approval,
    child,
    denied,
    for_each,
    lock,
    optional,
    otherwise,
    pivot,
    saga,
    scope,
    sleep,
    sleep_until,
    step,
    timed_out,
    wait_for,
    when,
)
from countermand.schemas import Command, DefinitionError
from countermand.schemas import definition as document
from countermand.schemas.definition import ChildNode, LockNode, Node, SleepNode, StepNode, WaitNode, WhenNode

Naive = Annotated[datetime, msgspec.Meta(tz=False)]


class Order(msgspec.Struct):
    id: str
    number: int
    rush: bool
    ship_at: datetime
    any_day: Naive
    lines: list[str]
    reviewers: list[str]
    price: float = 0.0


class Tell(Command[None], participant="mail", compensatable=False, because="a letter can't be unsent"):
    what: Any = None


Body = Callable[[Any], Any]


def written(body: Body, **options: Any) -> document.Definition:
    @saga("nodes", version=1, **options)
    def nodes(order: Order) -> None:
        body(order)
        step(Tell(), name="last")

    return nodes.definition


def node(body: Body) -> Node:
    return written(body).root.nodes[0]


ID = {"$": "input.id"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda o: sleep("1h30m"), SleepNode("sleep_1", duration_ms=5_400_000)),
        (lambda o: sleep(timedelta(seconds=2), name="nap"), SleepNode("nap", duration_ms=2_000)),
        (lambda o: sleep_until(o.ship_at), SleepNode("sleep_1", until={"$": "input.ship_at"})),
        (lambda o: sleep_until(o.number), SleepNode("sleep_1", until={"$": "input.number"})),
        (
            lambda o: sleep_until(datetime(2030, 1, 31, tzinfo=UTC)),
            SleepNode("sleep_1", until="2030-01-31T00:00:00Z"),
        ),
        (lambda o: wait_for(OrderPaid, deadline="3d"), WaitNode("order_paid", "order_paid", 259_200_000)),
        (
            lambda o: wait_for("came_back", deadline="1d", key=o.number, name="back"),
            WaitNode("back", "came_back", 86_400_000, {"$": "input.number"}),
        ),
        (lambda o: lock("order", o.id), LockNode("lock_order", "order", ID)),
        (lambda o: lock("big-order", "all", timeout="1m"), LockNode("lock_big_order", "big-order", "all", 60_000)),
        (lambda o: child("send-parcel", o.id), ChildNode("send_parcel", "send-parcel", None, ID)),
        (
            lambda o: child("other", version=3, name="it", timeout="1h", compensatable=False, because="it is a report"),
            ChildNode("it", "other", 3, None, "compensatable", False, "it is a report", 3_600_000),
        ),
    ],
)
def test_a_verb_writes_its_node(body: Body, expected: Node) -> None:
    assert node(body) == expected


def test_an_approval_says_who_and_what() -> None:
    @saga("approved", version=1)
    def approved(order: Order) -> None:
        approval("review", deadline="1d", assignees=order.reviewers, shows=Tell(what=order.id), requester=order.id)

    assert approved.definition.root.nodes[0] == document.ApprovalNode(
        "review",
        86_400_000,
        {"what": ID},
        assignees={"$": "input.reviewers"},
        requester=ID,
    )
    anybody = node(lambda order: approval("review", deadline="1d", role="fraud", assignees=[]))
    assert anybody == document.ApprovalNode("review", 86_400_000, role="fraud")


def test_a_child_is_the_saga_that_was_given() -> None:
    """In its version, with the input that it declares, and with its outcome's type."""

    def body(order: Any) -> None:
        receipt = child(fulfil, Purchase(id=order.id, lines=[], total=order.number))
        step(Tell(what=receipt.payment_id))

    found = node(body)
    assert isinstance(found, ChildNode)
    assert (found.name, found.definition, found.version) == ("order_fulfilment", "order-fulfilment", 3)
    with pytest.raises(DefinitionError, match=r"child\(\): expected Order, but input\.number is int"):
        node(lambda order: child(fulfil, order.number))
    with pytest.raises(DefinitionError, match="Receipt has no field 'nope'"):
        node(lambda order: child(fulfil, Purchase(id="o", lines=[], total=1)).nope)  # type: ignore[attr-defined]


def test_after_the_pivot_everything_is_retriable() -> None:
    """A child, a lock and a step that stand behind it need no undoing."""

    def body(order: Any) -> None:
        pivot(CapturePayment(payment_id=order.id), on_unknown="probe")
        child("report", order.id, compensatable=False, because="it is read by nobody")
        lock("order", order.id)

    first, report, held, last = written(body).root.nodes
    assert isinstance(first, StepNode)
    assert (first.kind, first.on_unknown) == ("pivot", "probe")
    assert isinstance(report, ChildNode)
    assert (report.kind, report.compensation, report.because) == ("retriable", True, "")
    assert isinstance(held, LockNode)
    assert isinstance(last, StepNode)
    assert (held.kind, last.kind) == ("retriable", "retriable")


def test_branches_belong_to_what_stands_before_them() -> None:
    """One node stands alone in its branch, several in a sequence; branches can hold branches."""

    def body(order: Any) -> None:
        with when(order.rush):
            step(Tell(), name="a")
            with when(order.number > 3):
                step(Tell(), name="b")
        with otherwise(), when(order.number > 9):
            step(Tell(), name="c")
        with otherwise():
            step(Tell(), name="d")

    with pytest.raises(DefinitionError, match=r"this when\(\) has an otherwise\(\) already, at .*test_nodes.py:\d+"):
        node(body)

    def sound(order: Any) -> None:
        with when(order.rush, name="rushed"):
            step(Tell(), name="a")
            with when(order.number > 3):
                step(Tell(), name="b")
        with otherwise():
            step(Tell(), name="c")

    found = node(sound)
    assert isinstance(found, WhenNode)
    assert found.name == "rushed"
    assert isinstance(found.then, document.SequenceNode)
    assert [getattr(each, "name", "") for each in found.then.nodes] == ["a", "when_1"]
    assert isinstance(found.otherwise, StepNode)


def test_names_that_nobody_gave_are_counted_around_those_that_were_given() -> None:
    def body(order: Any) -> None:
        sleep("1s", name="sleep_1")
        sleep("2s")
        sleep("3s")

    names = [getattr(each, "name", "") for each in written(body).root.nodes]
    assert names == ["sleep_1", "sleep_2", "sleep_3", "last"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, document.Concurrency(5)),
        (Concurrency(2, timeout="1m"), document.Concurrency(2, timeout_ms=60_000)),
        (Concurrency(1, key=lambda order: order.id), document.Concurrency(1, ID)),
        (
            Concurrency(1, key=lambda order: order.id + "/" + order.lines[0]),
            document.Concurrency(1, {"$": 'input.id + "/" + input.lines[0]'}),
        ),
    ],
)
def test_a_saga_says_how_many_run_at_once(given: Any, expected: document.Concurrency) -> None:
    assert written(lambda order: None, concurrency=given).concurrency == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, "concurrency: 0 is not a whole number above zero"),
        ("many", "expected a whole number or Concurrency"),
        (True, "expected a whole number or Concurrency"),
        (Concurrency(1, timeout="soon"), "'soon' is not a duration"),
        (
            Concurrency(1, key=lambda order: order.price),
            "concurrency.key: expected str | int, but input.price is float",
        ),
        (Concurrency(1, key=lambda order: order.nope), "Order has no field 'nope'"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(given: Any, expected: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        written(lambda order: None, concurrency=given)
    assert expected in str(caught.value)
    assert "test_nodes.py:" in caught.value.path


def stray_otherwise(order: Any) -> None:
    with when(order.rush):
        step(Tell())
    sleep("1s")
    with otherwise():
        step(Tell(), name="again")


def stray_timed_out(order: Any) -> None:
    paid = wait_for(OrderPaid, deadline="1d")
    sleep("1s")
    with timed_out(paid):
        step(Tell())


def timed_out_of_another(order: Any) -> None:
    first = wait_for(OrderPaid, deadline="1d")
    wait_for(OrderPaid, deadline="1d", name="second")
    with timed_out(first):
        step(Tell())


def denied_wait(order: Any) -> None:
    paid = wait_for(OrderPaid, deadline="1d")
    with denied(paid):
        step(Tell())


def timed_out_twice(order: Any) -> None:
    paid = wait_for(OrderPaid, deadline="1d")
    with timed_out(paid):
        step(Tell())
    with timed_out(paid):
        step(Tell(), name="again")


def four_loops(order: Any) -> None:
    with for_each(order.lines), for_each(order.lines), for_each(order.lines), for_each(order.lines):
        step(Tell())


def item_without_part(order: Any) -> None:
    with for_each(order.lines) as line:
        step(Tell(what={"line": line}))


def scope_as_condition(order: Any) -> None:
    with scope("hotel") as hotel:
        step(Tell())
    with when(hotel):  # type: ignore[arg-type]
        step(Tell(), name="again")


def asleep_twice(order: Any) -> None:
    sleep("1s", name="a")
    sleep("1s", name="a")


def loop_over(items: Callable[[Any], Any]) -> Body:
    def body(order: Any) -> None:
        with for_each(items(order)) as each:
            step(Tell(what=each.item))

    return body


def in_when(condition: Callable[[Any], Any]) -> Body:
    def body(order: Any) -> None:
        with when(condition(order)):
            step(Tell())

    return body


def within_scope(name: str) -> Body:
    def body(order: Any) -> None:
        with scope(name):
            step(Tell())

    return body


MISTAKES: dict[str, tuple[Body, str]] = {
    "otherwise alone": (stray_otherwise, "otherwise() stands directly after what is in `with when(…):`"),
    "timed_out alone": (stray_timed_out, "timed_out() stands directly after its wait_for() and takes what that gave"),
    "timed_out of another": (timed_out_of_another, "timed_out() stands directly after its wait_for()"),
    "denied of a wait": (denied_wait, "denied() stands directly after its approval()"),
    "timed_out twice": (timed_out_twice, "there is a timed_out() for it already, at"),
    "timed_out of nothing": (lambda o: timed_out("paid").__enter__(), "takes what that gave"),
    "loops in loops": (four_loops, "loops stand in one another at most 3 deep; make a child saga of the inner one"),
    "loop over text": (loop_over(lambda o: o.id), "input.id is str, not a list"),
    "loop over constants": (loop_over(lambda o: ["a"]), "over a list that is known now, write a plain `for`"),
    "loop, no number": (lambda o: for_each(o.lines, concurrency="3").__enter__(), "'3' is not a whole number"),  # type: ignore[arg-type]
    "known condition": (in_when(lambda o: True), "what is known now is decided by a plain `if`"),
    "number as condition": (in_when(lambda o: o.number), "when(): expected bool, but input.number is int"),
    "item without a part": (
        item_without_part,
        "Tell.what['line']: what the `with` gives is no value itself; write .item",
    ),
    "scope as condition": (scope_as_condition, "write .failed, .code, .reason or .step behind it"),
    "scope's name": (within_scope("The hotel"), "scope(): name: 'The hotel' is not valid"),
    "name twice": (asleep_twice, "'a' is already used at"),
    "name of the verb": (lambda o: sleep("1s", name="A"), "sleep(): name: 'A' is not valid"),
    "bare number": (lambda o: sleep(5), "sleep(): duration: 5 is not a duration"),  # type: ignore[arg-type]
    "naive moment": (lambda o: sleep_until(datetime(2030, 1, 1)), "has no zone"),  # noqa: DTZ001
    "naive field": (lambda o: sleep_until(o.any_day), "input.any_day is declared without a zone"),
    "no moment": (lambda o: sleep_until(o.rush), "sleep_until()"),
    "wait for a command": (lambda o: wait_for(Tell, deadline="1d"), "or an event's name, not Tell"),  # type: ignore[type-var]
    "wait for a value": (lambda o: wait_for(o.id, deadline="1d"), "or an event's name, not a value of the saga"),
    "wait for a bad name": (lambda o: wait_for("Paid!", deadline="1d"), "wait_for(): event: 'Paid!' is not valid"),
    "wait, bad key": (lambda o: wait_for(OrderPaid, deadline="1d", key=o.lines), "expected str | int, but input.lines"),
    "approval, bad requester": (
        lambda o: approval("a", role="r", deadline="1d", requester=o.number),
        "approval().requester: expected str, but input.number is int",
    ),
    "approval, bad assignees": (
        lambda o: approval("a", assignees="ann", deadline="1d"),
        "approval().assignees: expected list[str], got str",
    ),
    "child of nothing": (lambda o: child(o.id), "child() takes a saga"),
    "child by function": (lambda o: child(written, o.id), "child() takes a saga"),  # type: ignore[call-overload]
    "child's bad name": (lambda o: child("Other"), "child(): name: 'Other' is not valid"),
    "child's bad version": (lambda o: child("other", version="3"), "version: '3' is not a whole number"),  # type: ignore[call-overload]
    "child without outcome": (lambda o: step(Tell(what=child("other"))), "step 'other' has no result"),
    "lock's bad name": (lambda o: lock("Order", o.id), "lock(): name: 'Order' is not valid"),
    "lock's bad key": (lambda o: lock("order", o.price), "lock().key: expected str | int, but input.price is float"),
    "unknown on_unknown": (
        lambda o: step(Tell(), on_unknown="ask"),  # type: ignore[arg-type]
        "on_unknown: 'ask' is neither 'compensate' nor 'probe'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_verb_used_wrongly_says_what_to_write(name: str) -> None:
    body, expected = MISTAKES[name]
    with pytest.raises(DefinitionError) as caught:
        written(body)
    assert expected in str(caught.value)
    assert "test_nodes.py:" in caught.value.path


def test_verbs_stand_inside_a_saga() -> None:
    verbs: list[Callable[[], object]] = [
        lambda: sleep("1s"),
        lambda: wait_for(OrderPaid, deadline="1d"),
        lambda: approval("a", deadline="1d"),
        lambda: child("other"),
        lambda: lock("order", "1"),
        lambda: when(True).__enter__(),
        lambda: scope("hotel").__enter__(),
        lambda: for_each([1]).__enter__(),
    ]
    for verb in verbs:
        with pytest.raises(DefinitionError, match=r"test_nodes\.py:\d+: .* stands inside a function decorated with"):
            verb()


def test_findings_of_the_lint_have_the_line_of_their_node() -> None:
    def body(order: Any) -> None:
        with when(order.rush):
            step(ReserveStock(order_id=order.id, lines=[]))
            wait_for(OrderPaid, deadline="3000d")

    with pytest.raises(DefinitionError) as caught:
        written(body)
    assert caught.value.path.endswith(f"test_nodes.py:{body.__code__.co_firstlineno + 3}")


def test_optional_results_of_both_branches_can_be_told_apart() -> None:
    def body(order: Any) -> None:
        with when(order.rush):
            fast = wait_for(OrderPaid, deadline="1d", name="fast")
        with otherwise():
            slow = wait_for(OrderPaid, deadline="1d", name="slow")
        step(Tell(what=[optional(fast.amount), optional(slow.amount)]))

    _, tell, _ = written(body).root.nodes
    assert isinstance(tell, StepNode)
    assert tell.input["what"] == [
        {"$": "has(steps.fast) ? steps.fast.amount : null"},
        {"$": "has(steps.slow) ? steps.slow.amount : null"},
    ]
