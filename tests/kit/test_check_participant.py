"""The participant check says in words which rule a handler broke."""

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from countermand.participants import Context, Participant, Rejected
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.testing import RuleBroken, check_participant, examine_participant
from kit.shop import Pay, Reserve, Reserved, Shop

Action = Callable[[Reserve, Context], Coroutine[Any, Any, Reserved]]
Compensation = Callable[[Reserve, Reserved | None, Context], Coroutine[Any, Any, None]]
Probe = Callable[[Reserve, Context], Coroutine[Any, Any, Reserved | None]]

COMMAND = Reserve(order="1")
done: Counter[str] = Counter()


async def well(command: Reserve, context: Context) -> Reserved:
    done[context.key] = 1
    return Reserved(reservation="r")


async def undo_well(command: Reserve, reserved: Reserved | None, context: Context) -> None:
    done[context.key] = 0


def stock(action: Action = well, compensation: Compensation = undo_well) -> Participant:
    participant = Participant("stock", inbox=MemoryInbox())
    participant.handles(Reserve)(action)
    participant.compensates(Reserve)(compensation)
    return participant


def effects() -> dict[str, int]:
    return {"reserved": sum(done.values())}


async def test_good_handlers_pass() -> None:
    """Those of the shop, synchronous ones too."""
    shop = Shop()
    commands = COMMAND, lambda number: Reserve(order=f"{number}")
    await check_participant(shop.participants[0], *commands, effects=shop.effects)
    await check_participant(
        shop.participants[1], Pay(order="1", cents=5), Pay(order="1", cents=5_000), effects=shop.effects
    )
    await check_participant(stock(), COMMAND, effects=effects)
    await check_participant(stock(), COMMAND)


async def adds_up(command: Reserve, context: Context) -> Reserved:
    done[context.key] += 1
    return Reserved(reservation="r")


async def says_no_too_late(command: Reserve, context: Context) -> Reserved:
    done[context.key] = 1
    raise Rejected("sold_out")


async def gives_something_else(command: Reserve, context: Context) -> Reserved:
    return cast("Reserved", {"reserved": "r"})


async def gives_what_cannot_be_written(command: Reserve, context: Context) -> Reserved:
    return cast("Reserved", object())


async def breaks(command: Reserve, context: Context) -> Reserved:
    raise OSError("the shelf is gone")


async def needs_the_result(command: Reserve, reserved: Reserved | None, context: Context) -> None:
    assert reserved is not None
    done[context.key] = 0


async def does_nothing(command: Reserve, reserved: Reserved | None, context: Context) -> None:
    return None


async def undoes_twice(command: Reserve, reserved: Reserved | None, context: Context) -> None:
    done[context.key] -= 2


async def takes_away_each_time(command: Reserve, reserved: Reserved | None, context: Context) -> None:
    done[context.key] -= 1


@pytest.mark.parametrize(
    ("action", "compensation", "tried", "found"),
    [
        (adds_up, undo_well, "a crash after its effect, then again", "make it idempotent by context.key"),
        (says_no_too_late, undo_well, "twice", "it was rejected .sold_out. after it had done something"),
        (gives_something_else, undo_well, "twice", "its result is not what the contract says"),
        (gives_what_cannot_be_written, undo_well, "twice", "can't be written as JSON"),
        (breaks, undo_well, "twice", "it failed: OSError"),
        (well, needs_the_result, "undone after a crash, when nobody knows its result", "the action's result is None"),
        (well, does_nothing, "undone after it was done", "this is left of it: reserved: "),
        (well, undoes_twice, "undone after it was done", "has to take back what the action did, once"),
        (well, takes_away_each_time, "undone, with a crash after the compensation's effect", "this is left of it"),
    ],
)
async def test_a_broken_rule_is_named(action: Action, compensation: Compensation, tried: str, found: str) -> None:
    """What was tried, what was found, and the mend."""
    with pytest.raises(RuleBroken, match=found) as raised:
        await check_participant(stock(action, compensation), COMMAND, effects=effects)
    assert any(tried in rule.tried for rule in raised.value.rules), str(raised.value)
    assert all(rule.command == "Reserve" for rule in raised.value.rules)
    assert "the participant stock breaks" in str(raised.value)


async def finds(command: Reserve, context: Context) -> Reserved | None:
    return Reserved(reservation="r") if done[context.key] else None


async def finds_always(command: Reserve, context: Context) -> Reserved | None:
    return Reserved(reservation="r")


async def finds_never(command: Reserve, context: Context) -> Reserved | None:
    return None


async def finds_nobody_there(command: Reserve, context: Context) -> Reserved | None:
    raise OSError("the shelf is gone")


async def finds_by_doing(command: Reserve, context: Context) -> Reserved | None:
    return await well(command, context)


@pytest.mark.parametrize(
    ("probe", "tried", "found"),
    [
        (finds_always, "probed without", "the probe says that it was done, and nothing was"),
        (finds_never, "probed after a crash", "the probe says that nothing was done, and this was: reserved: "),
        (finds_nobody_there, "probed without", "the probe has no answer: failed, OSError"),
        (finds_by_doing, "probed without", "the probe did something: reserved: "),
    ],
)
async def test_a_probe_that_is_wrong_is_named(probe: Probe, tried: str, found: str) -> None:
    """It has to find what is there, to find nothing where nothing is, and to leave it as it is."""
    participant = stock()
    participant.probes(Reserve)(probe)
    rules = await examine_participant(participant, COMMAND, effects=effects)
    assert any(rule.tried.startswith(tried) and found in rule.found for rule in rules), rules


async def test_a_good_probe_passes() -> None:
    """With a look at the effects and without."""
    participant = stock()
    participant.probes(Reserve)(finds)
    await check_participant(participant, COMMAND, effects=effects)
    await check_participant(participant, COMMAND)


async def test_an_inbox_that_keeps_nothing_is_found() -> None:
    """The barrier itself is tried: without one everything is done again."""

    class Forgetful(MemoryInbox):
        async def read(self, saga_id: str, step: str) -> Any:
            self._records.clear()
            return await super().read(saga_id, step)

        async def swap(self, saga_id: str, step: str, **how: Any) -> Any:
            if how["hold"]:
                self._records.clear()
                how["expected"] = ""
            return await super().swap(saga_id, step, **how)

    participant = Participant("stock", inbox=Forgetful())
    participant.handles(Reserve)(adds_up)
    participant.compensates(Reserve)(undo_well)
    rules = await examine_participant(participant, COMMAND, effects=effects)
    assert "the second one had an effect of its own: the inbox has to keep the first outcome" in {
        r.found for r in rules
    }
    assert any("the inbox has to refuse an action that comes after its compensation" in rule.found for rule in rules)


async def test_an_incomplete_participant_is_named() -> None:
    """A contract that can be undone, and nobody who does."""
    participant = Participant("stock", inbox=MemoryInbox())
    participant.handles(Reserve)(well)
    (rule,) = await examine_participant(participant, COMMAND)
    assert "write @stock.compensates(Reserve)" in rule.found
