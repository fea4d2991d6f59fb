"""Whole sagas whose steps are asked about before they are undone, with real participants on virtual time."""

from collections import Counter
from collections.abc import Callable

import pytest

from countermand.coordinator.testing import given
from countermand.participants import Context, Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import pivot, saga, step
from kit.shop import ORDER, TWICE, Capture, Order, Paid, Pay, Receipt


@saga("probed_trade", version=1, deadline="1h")
def probed_trade(order: Order) -> Receipt:
    paid = step(
        Pay(order=order.id, cents=order.cents),
        timeout="5s",
        retry=TWICE,
        undo_timeout="5s",
        undo_retry=TWICE,
        on_unknown="probe",
    )
    pivot(Capture(payment=paid.payment), timeout="5s", retry=TWICE, on_unknown="probe")
    return Receipt(order=order.id, payment=paid.payment)


class NoAnswer(Exception):
    """The bank's answer never came."""


class Bank:
    """A bank outside, whose answers can get lost before they are recorded, and what can be found out of it."""

    def __init__(self, *, reaches: bool = True, answers: bool = True, tells: bool = True, probed: bool = True) -> None:
        self.payments: dict[str, Paid] = {}
        self.captured: set[str] = set()
        self.ran: Counter[str] = Counter()
        self._reaches, self._answers, self._tells = reaches, answers, tells
        self.participant = Participant("bank", inbox=MemoryInbox())
        self.participant.handles(Pay)(self.pay)
        self.participant.compensates(Pay)(self.give_back)
        self.participant.handles(Capture)(self.capture)
        if probed:
            self.participant.probes(Pay)(self.find_payment)
            self.participant.probes(Capture)(self.find_capture)

    def effects(self) -> dict[str, int]:
        return {"held": len(self.payments), "captured": len(self.captured)}

    async def pay(self, asked: Pay, context: Context) -> Paid:
        self.ran["pay"] += 1
        self._outside(lambda: self.payments.update({context.key: Paid(f"p-{asked.order}")}))
        return self.payments[context.key]

    async def give_back(self, asked: Pay, paid: Paid | None, context: Context) -> None:
        self.ran["undo"] += 1
        self.payments.pop(context.key, None)

    async def capture(self, asked: Capture, context: Context) -> None:
        self._outside(lambda: self.captured.add(context.key))

    async def find_payment(self, asked: Pay, context: Context) -> Paid | None:
        self._found_out()
        return self.payments.get(context.key)

    async def find_capture(self, asked: Capture, context: Context) -> bool:
        self._found_out()
        return context.key in self.captured

    def _outside(self, effect: Callable[[], object]) -> None:
        if self._reaches:
            effect()
        if not self._answers:
            raise NoAnswer

    def _found_out(self) -> None:
        self.ran["probe"] += 1
        if not self._tells:
            raise NoAnswer


def test_what_was_done_after_all_isn_t_undone() -> None:
    """Both answers of both steps got lost after their effect: the probes find them, and the saga goes on."""
    bank = Bank(answers=False)
    story = given(probed_trade, ORDER, participants=[bank.participant], effects=bank.effects)
    story.expect_completed(Receipt(order="1", payment="p-1")).expect_effects({"held": 1, "captured": 1})
    assert bank.ran == {"pay": 2, "probe": 2}


def test_what_was_not_done_is_not_undone() -> None:
    """The bank was never reached: the probe says so, the saga turns back, and no compensation runs."""
    bank = Bank(reaches=False, answers=False)
    story = given(probed_trade, ORDER, participants=[bank.participant], effects=bank.effects)
    story.expect_compensated(because="NoAnswer").expect_effects({})
    assert bank.ran == {"pay": 2, "probe": 1}


@pytest.mark.parametrize("probed", [True, False])
def test_what_stays_unknown_is_undone(probed: bool) -> None:
    """As without a probe: the compensation copes with an action that was done or not."""
    bank = Bank(answers=False, tells=False, probed=probed)
    story = given(probed_trade, ORDER, participants=[bank.participant], effects=bank.effects)
    story.expect_compensated("pay").expect_effects({})
    # The probe is asked again by the step's policy; without one the record answers at once that it can't know.
    assert bank.ran == {"pay": 2, "undo": 1} | ({"probe": 2} if probed else {})


def test_the_record_answers_where_only_replies_were_lost() -> None:
    """The participant knows what it did, so its probe isn't needed."""
    bank = Bank()
    story = given(probed_trade, ORDER, participants=[bank.participant], effects=bank.effects)
    story.loses_reply("pay", times=2).loses_reply("capture", times=2)
    story.expect_completed(Receipt(order="1", payment="p-1")).expect_effects({"held": 1, "captured": 1})
    assert bank.ran == {"pay": 1}
    assert "probe of pay" in story.timeline


def test_participants_that_answer_by_themselves_are_probed_too() -> None:
    given(probed_trade, ORDER).loses_reply("pay", times=2).expect_completed({"order": "1", "payment": "payment-1"})
    given(probed_trade, ORDER).fails("pay", times=2).expect_compensated()
