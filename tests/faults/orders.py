"""The sagas of the fault tests: who meets what, and how it has to end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from countermand.participants import saga as authoring
from countermand.participants.saga import Saga, parallel, pivot, saga, step
from system.world import Capture, Order, Pay, Quote, Receipt, Reserve, Ship

RETRY: Final = authoring.Retry(attempts=20, backoff="50ms", backoff_max="500ms")
FOR_EVER: Final = authoring.Retry(attempts=None, backoff="50ms", backoff_max="500ms")


def _trade(name: str, timeout: str, retry: authoring.Retry) -> Saga[Order, Receipt]:
    """Reserve, then pay and quote side by side, then ship: all of it can be undone."""

    @saga(name, version=1, deadline="10m")
    def definition(order: Order) -> Receipt:
        mood = order.moods
        reserved = step(Reserve(order=order.id, mood=mood), timeout=timeout, retry=retry, undo_retry=FOR_EVER)
        with parallel():
            command = Pay(order=order.id, reservation=reserved.reservation, mood=mood)
            paid = step(command, timeout=timeout, retry=retry, undo_retry=FOR_EVER)
            step(Quote(order=order.id, mood=mood), timeout=timeout, retry=retry)
        step(Ship(order=order.id, mood=mood), timeout=timeout, retry=retry, undo_retry=FOR_EVER)
        return Receipt(order=order.id, payment=paid.payment)

    return definition


@saga("decided", version=1, deadline="10m")
def decided(order: Order) -> Receipt:
    """Reserve and pay, then the pivot, then ship, which must in the end succeed."""
    reserved = step(Reserve(order=order.id, mood=order.moods), timeout="5m", retry=RETRY, undo_retry=FOR_EVER)
    command = Pay(order=order.id, reservation=reserved.reservation, mood=order.moods)
    paid = step(command, timeout="5m", retry=RETRY, undo_retry=FOR_EVER)
    pivot(Capture(order=order.id, mood=order.moods), timeout="5m", retry=RETRY)
    step(Ship(order=order.id, mood=order.moods), timeout="5m", retry=FOR_EVER)
    return Receipt(order=order.id, payment=paid.payment)


# No test waits for five minutes: a command or a reply of a patient saga that is lost is a test that fails.
patient: Final = _trade("patient", "5m", RETRY)
# Gives up an attempt before a participant that hangs has answered.
hasty: Final = _trade("hasty", "300ms", authoring.Retry(attempts=2, backoff="20ms"))
# Asks again and again: commands that were lost with their queue cost it a second each.
insistent: Final = _trade("insistent", "1s", RETRY)

DEFINITIONS: Final = (patient, decided, hasty, insistent)
STEPS: Final = {
    "patient": ("reserve", "pay", "quote", "ship"),
    "decided": ("reserve", "pay", "capture", "ship"),
    "hasty": ("reserve", "pay", "quote", "ship"),
    "insistent": ("reserve", "pay", "quote", "ship"),
}

COMPLETED: Final = frozenset({"completed"})
COMPENSATED: Final = frozenset({"compensated"})


@dataclass(frozen=True)
class Placed:
    """One saga, and the phases in which it may end."""

    saga_id: str
    definition: Saga[Order, Receipt]
    moods: Mapping[str, str] = field(default_factory=dict)
    ends: frozenset[str] = COMPLETED

    @property
    def order(self) -> Order:
        return Order(self.saga_id, dict(self.moods))

    @property
    def steps(self) -> tuple[str, ...]:
        return STEPS[self.definition.name]


_CYCLE: Final[tuple[tuple[Any, dict[str, str], frozenset[str]], ...]] = (
    (patient, {}, COMPLETED),
    (patient, {"ship": "rejects"}, COMPENSATED),
    (patient, {"reserve": "fails once", "quote": "fails once"}, COMPLETED),
    (decided, {}, COMPLETED),
    (patient, {"pay": "rejects"}, COMPENSATED),
    (patient, {"pay": "fails once"}, COMPLETED),
    (decided, {"capture": "fails once", "ship": "fails once"}, COMPLETED),
    (patient, {"pay": "fails once", "ship": "rejects"}, COMPENSATED),
    (decided, {"capture": "rejects"}, COMPENSATED),
    (patient, {"reserve": "rejects"}, COMPENSATED),
)
# Whether these end well depends on who is quicker; that they end, and that nothing is left over, does not.
_HANGING: Final = (
    {"ship": "hangs once"},
    {"pay": "hangs"},
    {"reserve": "hangs once"},
    {"pay": "hangs once", "ship": "rejects"},
)


def mixed(count: int, *, hanging: int = len(_HANGING)) -> list[Placed]:
    """So many sagas of every mood, and a few more that hang, always the same."""
    orders = [Placed(f"o-{n}", *_CYCLE[n % len(_CYCLE)]) for n in range(count)]
    for n in range(hanging):
        moods = _HANGING[n % len(_HANGING)]
        orders.insert((n + 1) * count // (hanging + 1), Placed(f"h-{n}", hasty, moods, COMPLETED | COMPENSATED))
    return orders
