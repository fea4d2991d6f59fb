"""Sagas that meet at a lock, a limit or an event: the real core and the real paths, in memory."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from countermand.schemas.messages import (
    CancelMessage,
    CommandMessage,
    Defined,
    DefineMessage,
    EventAccepted,
    Rejected,
    ReplyMessage,
    StartMessage,
    Succeeded,
)
from gates.asking import event
from gates.house import House

HOUR_MS = 3_600_000
KEY = {"$": "input.order"}


def step(name: str) -> dict[str, Any]:
    return {"node": "step", "name": name, "participant": "stock", "action": name, "input": {"order": KEY}}


LOCK = {"node": "lock", "name": "order_lock", "lock": "order", "key": KEY}
WAIT = {"node": "wait_for", "name": "paid", "event": "payment_received", "key": KEY, "deadline_ms": HOUR_MS}


class Stock:
    """A participant that remembers what it was asked for, and rejects `last` of some sagas."""

    def __init__(self, *rejected: str) -> None:
        self.rejected = rejected
        self.asked: list[tuple[str, str, str]] = []

    async def handle(self, command: CommandMessage) -> ReplyMessage:
        self.asked.append((command.saga_id, command.step, command.direction))
        rejects = command.saga_id in self.rejected and command.step == "last"
        return ReplyMessage(
            saga_id=command.saga_id,
            step=command.step,
            direction=command.direction,
            attempt=command.attempt,
            key=command.key,
            command_id=command.command_id,
            saga_version=command.saga_version,
            participant=command.participant,
            outcome=Rejected("out_of_stock") if rejects else Succeeded(),
        )


@pytest.fixture
def house() -> House:
    return House()


async def define(house: House, *nodes: dict[str, Any], **fields: Any) -> None:
    document = {"countermand": 1, "name": "buy", "version": 1, "deadline_ms": 24 * HOUR_MS, "root": {"nodes": nodes}}
    await house.bring(DefineMessage("define", json.dumps({**document, **fields}).encode(), house.queue))
    assert isinstance(house.answers[-1], Defined), house.answers[-1]


async def begin(house: House, *saga_ids: str, order: str = "1001") -> None:
    asked = msgspec.Raw(json.dumps({"order": order}).encode())
    for saga_id in saga_ids:
        await house.bring(StartMessage(f"start-{saga_id}", saga_id, "buy", asked, reply_to=house.queue))


def phases(house: House) -> dict[str, str]:
    return {saga_id: outcome.phase for saga_id, outcome in house.outcomes.items()}


async def test_one_saga_at_a_time_holds_a_lock(house: House) -> None:
    """In the order of asking, from its first step to its end."""
    stock = Stock()
    await define(house, LOCK, step("first"), step("last"))
    await begin(house, "a", "b", "c")
    await house.wait_for_all(stock.handle)
    asked = [(saga_id, name) for saga_id, name, _ in stock.asked]
    assert asked == [(saga_id, name) for saga_id in "abc" for name in ("first", "last")]
    assert phases(house) == dict.fromkeys("abc", "completed")


async def test_who_holds_and_who_waits(house: House) -> None:
    """Everybody can be seen; whoever asks for another key waits for nobody."""
    await define(house, LOCK, WAIT)
    await begin(house, "a", "b")
    await begin(house, "other", order="7")
    await house.go_round(Stock().handle)
    locks = await house.gates.locks(limit=10)
    found = {each.key: ([one.saga_id for one in each.holders], [one.saga_id for one in each.waiters]) for each in locks}
    assert found == {"1001": (["a"], ["b"]), "7": (["other"], [])}


async def test_a_saga_that_turns_back_holds_its_lock_until_it_has_ended(house: House) -> None:
    """The next one begins when everything is undone, and not before."""
    stock = Stock("a")
    await define(house, LOCK, step("first"), step("last"))
    await begin(house, "a", "b")
    await house.wait_for_all(stock.handle)
    assert phases(house) == {"a": "compensated", "b": "completed"}
    asked = [f"{saga_id} {direction} {name}" for saga_id, name, direction in stock.asked]
    assert asked == ["a do first", "a do last", "a undo first", "b do first", "b do last"]


async def test_a_definition_s_limit(house: House) -> None:
    """Never more of its sagas at work than it says, and all of them in the end."""
    stock = Stock()
    await define(house, step("first"), step("last"), concurrency={"at_once": 2})
    await begin(house, *"abcde")
    await house.wait_for_all(stock.handle)
    at_work: Counter[str] = Counter()
    most = 0
    for saga_id, name, _ in stock.asked:
        at_work[saga_id] += 1 if name == "first" else -1
        most = max(most, at_work.total())
    assert most == 2
    assert phases(house) == dict.fromkeys("abcde", "completed")


async def test_an_event_reaches_every_saga_that_waits_for_it(house: House) -> None:
    """Whether it waits already or begins to while the event is kept."""
    stock = Stock()
    await define(house, WAIT)
    await begin(house, "a", "b")
    await begin(house, "other", order="7")
    await house.go_round(stock.handle)
    await house.bring(event("e1", queue=house.queue))
    answer = house.answers[-1]
    assert isinstance(answer, EventAccepted)
    assert answer.sagas == 2
    await house.go_round(stock.handle)
    assert phases(house) == {"a": "completed", "b": "completed"}
    await begin(house, "late")
    await house.wait_for_all(stock.handle)
    assert phases(house) == {"a": "completed", "b": "completed", "late": "completed", "other": "compensated"}
    failure = house.outcomes["other"].failure
    assert failure is not None
    assert failure.code == "wait_timed_out"


async def test_an_event_for_a_saga_that_waits_no_more(house: House) -> None:
    """It was cancelled while it waited: what it is still told does no harm, and is no dead letter."""
    stock = Stock()
    await define(house, WAIT)
    await begin(house, "a")
    await house.go_round(stock.handle)
    await house.bring(CancelMessage("cancel", "a", "changed my mind"))
    await house.go_round(stock.handle)
    await house.bring(event("e1"))
    await house.wait_for_all(stock.handle)
    assert [each.type for each in house.broker.sent].count("countermand.signal") == 1
    assert phases(house) == {"a": "compensated"}
