"""Sagas to tell of: the core makes them, so that what is told is what can happen."""

from core.story import Story as Told
from core.story import both, forward, pivot, step
from countermand.coordinator.core import Plan
from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga
from countermand.coordinator.operate.story import Story, tell
from countermand.schemas.messages import Failed, Rejected


def told(world: Told, *, more_history: bool = False) -> Story:
    """The story of a world as it stands."""
    plan, saga, records = parts(world)
    return tell(plan, saga, records, world.now_ms, more_history=more_history)


def parts(world: Told) -> tuple[Plan, Saga, list[Record]]:
    assert world.saga is not None
    return world.plan, world.saga, world.records


def fresh() -> Told:
    """One step is asked for, two are ahead."""
    return Told(step("reserve"), pivot("capture"), forward("ship"), deadline_ms=60_000)


def happy() -> Told:
    world = fresh()
    for name in ("reserve", "capture", "ship"):
        world.now_ms += 100
        world.succeeds(name)
    return world


def waiting() -> Told:
    """One branch waits for its next attempt, another for its reply."""
    world = Told(step("reserve"), both(step("pay"), step("quote")))
    world.now_ms += 100
    world.succeeds("reserve")
    world.now_ms += 300
    world.answers("pay", Failed("declined", "try again", rolled_back=True))
    world.now_ms += 50
    return world


def refused() -> Told:
    """Turned back by a business no, and undone."""
    world = Told(step("reserve"), step("ship"), step("notify"))
    world.now_ms += 100
    world.succeeds("reserve")
    world.now_ms += 100
    world.answers("ship", Rejected("unwilling", "not today"))
    world.now_ms += 100
    world.succeeds("reserve")
    return world


def stuck() -> Told:
    """A compensation fails as often as it may."""
    world = Told(step("reserve"), step("pay"), step("ship"))
    world.succeeds("reserve", "pay")
    world.now_ms += 500
    world.answers("ship", Rejected("unwilling", "not today"))
    world.now_ms += 100
    world.answers("pay", Failed("bank_closed", "come on Monday"))
    world.waits(1_000)
    world.now_ms += 100
    world.answers("pay", Failed("bank_closed", "come on Monday"))
    world.now_ms += 120_000
    return world


def doubtful() -> Told:
    """Nobody answers for the pivot."""
    world = Told(step("reserve"), pivot("capture"), forward("ship"))
    world.succeeds("reserve")
    world.waits(10_000)
    return world


EVERY = (fresh, happy, waiting, refused, stuck, doubtful)
