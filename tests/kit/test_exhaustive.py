"""The exhaustive test as a tool: what it tries, what it reports, and that it can be had again."""

import asyncio
from collections import Counter

import pytest

from countermand.coordinator.testing import Report, exhaustive, exhaustive_async
from countermand.coordinator.testing.effects import difference, in_words, together
from countermand.participants import Context, Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import Retry, pivot, saga, step
from countermand.schemas.errors import DefinitionError
from kit.shop import ALL_DONE, ORDER, Capture, Order, Pay, Reserve, Reserved, Shop, trade

TIMES_OF_ONE_STEP = 13


def examined(order: Order = ORDER, **more: object) -> Report:
    shop = Shop()
    return exhaustive(trade, order, participants=shop.participants, effects=shop.effects, **more)  # type: ignore[arg-type]


def test_a_sound_saga_passes() -> None:
    """Every step, every trouble, in both directions; with the effects that it should have."""
    report = examined(all_done=ALL_DONE)
    report.check()
    assert report.cases > 5 * TIMES_OF_ONE_STEP
    assert report.text.endswith("each ended all done or all undone")


def test_a_saga_that_turns_back_by_itself_passes() -> None:
    """Then there is nothing to be done at all."""
    examined(Order(id="1", cents=2_000)).check()


def test_it_needs_no_participants() -> None:
    """Without them the definition alone is tried: whether it always comes to an end."""
    exhaustive(trade, ORDER).check()


def test_a_saga_that_does_something_else_is_found() -> None:
    """What it should have done may be said."""
    report = examined(all_done=ALL_DONE | Counter(invoiced=1))
    assert report.cases == 1
    assert "instead of" in report.text


def test_it_says_the_same_again() -> None:
    """The same seed, the same report, to the last line of the timeline."""
    assert examined(all_done={"nothing": 1}, seed=3).text == examined(all_done={"nothing": 1}, seed=3).text


async def test_it_has_an_asynchronous_form() -> None:
    """For those who run a loop already."""
    shop = Shop()
    (await exhaustive_async(trade, ORDER, participants=shop.participants, effects=shop.effects)).check()


def careless() -> tuple[Participant, Counter[str]]:
    """A participant outside any transaction whose handler adds up, and whose compensation needs the result."""
    books: Counter[str] = Counter()
    stock = Participant("stock", inbox=MemoryInbox())

    @stock.handles(Reserve)
    async def reserve(command: Reserve, context: Context) -> Reserved:
        books["reserved"] += 1
        return Reserved(reservation="r")

    @stock.compensates(Reserve)
    async def release(command: Reserve, reserved: Reserved | None, context: Context) -> None:
        if reserved is None:
            raise ValueError("what was it?")
        books["reserved"] -= 1

    return stock, books


@saga("reserve-only", version=1)
def reserve_only(order: Order) -> None:
    step(Reserve(order=order.id), retry=Retry(attempts=2), undo_retry=Retry(attempts=2))
    pivot(Capture(payment="p"))


def test_everything_that_is_wrong_is_reported() -> None:
    """A table of the cases, each reason once, and the timeline of the smallest case, in 100 columns."""
    stock, books = careless()
    report = exhaustive(reserve_only, ORDER, participants=[stock], effects=lambda: dict(books))
    reasons = " ".join(report.why["reserve"])
    assert "make it idempotent by context.key" in reasons
    assert "it has to cope with None" in reasons
    assert report.smallest is not None
    assert f"The smallest case (reserve: {report.smallest.case.words}):" in report.text
    assert max(map(len, report.text.splitlines())) <= 100
    with pytest.raises(AssertionError, match="reserve  participant crashed after its effect"):
        report.check()


def test_it_can_stop_early() -> None:
    """After so many findings, and it says so."""
    stock, books = careless()
    report = exhaustive(reserve_only, ORDER, participants=[stock], effects=lambda: dict(books), findings_max=1)
    assert len(report.findings) == 1
    assert not report.complete
    assert ", then stopped" in report.text


def test_it_can_look_at_some_steps_only() -> None:
    """Fewer cases, all of the steps named, in both directions."""
    report = examined(steps={"pay"})
    report.check()
    assert 2 * TIMES_OF_ONE_STEP < report.cases < 5 * TIMES_OF_ONE_STEP


def test_an_unsound_definition_is_refused() -> None:
    """The lint speaks first."""

    class Unsound:
        document = b'{"countermand":1,"name":"odd","version":1,"root":{"node":"sequence","nodes":[]}}'

    with pytest.raises(DefinitionError):
        exhaustive(Unsound(), {})


def test_a_step_that_fails_for_ever_is_reported() -> None:
    """After the pivot it is tried without end, and the report says which one."""

    @saga("endless", version=1)
    def endless(order: Order) -> None:
        pivot(Capture(payment="p"))
        step(Pay(order=order.id, cents=1))

    bank = Participant("bank", inbox=MemoryInbox())

    async def capture(command: Capture, context: Context) -> None:
        return None

    async def pay(command: Pay, context: Context) -> None:
        raise OSError("down")

    bank.handles(Capture)(capture)
    bank.handles(Pay)(pay)  # type: ignore[arg-type]
    bank.compensates(Pay)(lambda command, paid, context: None)
    report = exhaustive(endless, ORDER, participants=[bank])
    assert report.why == {"pay": ["it is asked again and again, and never succeeds"]}


def test_effects_are_added_up() -> None:
    """Numbers by how much they changed; other things by what they were and are; what went back is gone."""
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 5, "c": 1}) == {"b": 3, "c": 1}
    assert difference({"state": "held"}, {"state": "void"}) == {"state": ("held", "void")}
    assert difference({"a": 3}, {}) == {"a": -3}
    assert together({"a": 1}, {"a": 2, "b": 1}, {"b": -1}) == {"a": 3}
    assert together({"s": (None, "held")}, {"s": ("held", None)}) == {}
    assert together({"s": (None, "held")}, {"s": ("held", "void")}) == {"s": (None, "void")}
    assert in_words({"a": 3, "s": ("held", "void")}) == "a +3, s: 'held' -> 'void'"


def test_a_running_loop_is_told_to_await() -> None:
    """The plain form can't run inside a loop."""

    async def inside() -> None:
        exhaustive(trade, ORDER)

    with pytest.raises(RuntimeError, match="await exhaustive_async"):
        asyncio.run(inside())
