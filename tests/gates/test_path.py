"""The path of gates and mailboxes: whatever crashes, everybody is told who is to be told, and nobody else."""

import asyncio
from collections.abc import Sequence
from typing import get_args

import msgspec
import pytest

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.gates import path
from countermand.coordinator.gates.gate import RELEASED_KEPT_MS, Gate
from countermand.coordinator.intake import GateItem, read
from countermand.coordinator.outbox import Outbox
from countermand.coordinator.sending import Sender
from countermand.coordinator.telemetry import Counters
from countermand.coordinator.testing.world import delivered
from countermand.schemas.coordinating import write_coordination
from countermand.schemas.coordination import gate_id
from countermand.schemas.envelope import write_command
from countermand.schemas.errors import BrokerUnavailable
from countermand.schemas.messages import EventAccepted, ReplyMessage, SignalMessage
from countermand.wire import Message, PublishOutcome, Returned
from gates.asking import EVENT, KEY, LOCK, command, event, release, subscription
from gates.house import Broker, House, Trouble

TROUBLES = get_args(Trouble)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(path, "STORE_PAUSE_S", 0)
    return House()


async def lock_of(house: House) -> Gate:
    (stored,) = await house.gates.load([gate_id(LOCK, KEY)])
    assert stored is not None
    assert isinstance(stored.state, Gate)
    return stored.state


def granted(house: House) -> list[str]:
    return [each.saga_id for each in house.to_sagas if isinstance(each, ReplyMessage)]


def signalled(house: House) -> list[tuple[str, str | None, str]]:
    return [(each.saga_id, each.wait, each.request_id) for each in house.to_sagas if isinstance(each, SignalMessage)]


async def test_a_lock_goes_from_one_saga_to_the_next(house: House) -> None:
    """By messages alone: command, reply, release, reply."""
    await house.bring(command("a"))
    await house.bring(command("b"))
    assert granted(house) == ["a"]
    await house.bring(release("a"))
    assert granted(house) == ["a", "b"]


async def test_a_batch_is_one_commit(house: House) -> None:
    """However many of its messages are for one lock, and they count in their order."""
    await house.bring(*(command(each) for each in "abc"), release("a"), release("b"))
    assert house.gates.commits == 1
    assert granted(house) == ["a", "b", "c"]
    assert [each.saga_id for each in (await lock_of(house)).holders] == ["c"]


async def test_what_changes_nothing_is_not_committed(house: House) -> None:
    """A copy costs no write."""
    await house.bring(command("a"))
    await house.bring(command("a"))
    assert house.gates.commits == 1
    assert granted(house) == ["a", "a"]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_grant_survives(house: House, trouble: Trouble) -> None:
    """Whoever's turn it is hears of it, whatever happened while the lock was given back."""
    await house.bring(command("a"))
    await house.bring(command("b"))
    await house.bring(command("c"))
    house.broker.sent.clear()
    house.gates.trouble = trouble
    await house.bring(release("a"))
    assert granted(house) == ["b"]
    assert [each.saga_id for each in (await lock_of(house)).holders] == ["b"]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_an_event_survives(house: House, trouble: Trouble) -> None:
    """Every saga that waited is told, and the sender is answered; nobody is told who began to wait in between."""
    await house.bring(subscription("a"), subscription("b"))
    house.gates.trouble = trouble
    queue = house.topology.client_queue("shop")
    await house.bring(event("e1", payload=[7], keep_ms=0, queue=queue))
    assert signalled(house) == [("a", "paid", "e1"), ("b", "paid", "e1")]
    (answer,) = house.answers
    duplicate = trouble == "crash after"
    assert answer == EventAccepted("e1", EVENT, KEY, sagas=2, duplicate=duplicate)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_wait_survives(house: House, trouble: Trouble) -> None:
    """It gets what was kept for it."""
    await house.bring(event("e1"))
    house.gates.trouble = trouble
    await house.bring(subscription("a"))
    assert signalled(house) == [("a", "paid", "e1")]


async def test_whoever_loses_an_answer_and_then_the_race_still_tells(house: House) -> None:
    """Somebody moved the mailbox on from a commit of ours that we did not know to stand: its signals are ours."""

    async def another_waits() -> None:
        await house.another().take([delivered(write_coordination(subscription("b")))])

    await house.bring(subscription("a"))
    house.gates.trouble, house.gates.meanwhile = "unavailable after", another_waits
    await house.bring(event("e1", keep_ms=0))
    assert signalled(house) == [("a", "paid", "e1")]


async def test_a_lock_that_begins_anew_has_other_versions(house: House) -> None:
    """So nobody who still knows the forgotten one can write over it."""
    versions = []
    for saga_id in "ab":
        await house.bring(command(saga_id), release(saga_id))
        (stored,) = await house.gates.load([gate_id(LOCK, KEY)])
        assert stored is not None
        versions.append(stored.version)
        house.at_ms += RELEASED_KEPT_MS
        assert await house.gates.load([gate_id(LOCK, KEY)]) == [None]
    assert versions[0] < versions[1]


class ShutBroker(Broker):
    """A broker without the coordinator inbox."""

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        return [Returned(312, "NO_ROUTE") for _ in messages]


async def test_what_finds_no_queue_comes_again(house: House) -> None:
    """The grant is not acknowledged away: the path says that it could not be told."""
    counters = Counters()
    clock = StoreClock(counters, tolerance_ms=0, hold_ms=0, steady_ms=house.now_ms)
    clock.set(house.at_ms)
    sender = Sender(ShutBroker(), house.topology, counters, _declared)
    shut = path.GatePath(house.gates, sender, clock, Outbox(house.topology), counters)
    item = read(delivered(write_command(command("a"))))
    assert isinstance(item, GateItem)
    with pytest.raises(BrokerUnavailable, match="1 messages to sagas"):
        await shut.run([item])


async def _declared(participant: str) -> None:
    """No command goes out here."""


async def test_an_answer_goes_to_clients_only(house: House) -> None:
    """A queue of anybody else's is not written to, whatever a message says."""
    await house.bring(event("e1", queue="amq.rabbitmq.trace"))
    assert house.broker.sent == []


async def test_two_coordinators_at_one_lock(house: House) -> None:
    """The slower one decides again: both askers are known, one holds."""
    deliveries = [[delivered(write_command(command(each)))] for each in "abcdef"]
    coordinators = [house.inbox, house.another(), house.another()]
    await asyncio.gather(
        *(coordinators[place % 3].take(each) for place, each in enumerate(deliveries)),
    )
    gate = await lock_of(house)
    assert (len(gate.holders), len(gate.waiters)) == (1, 5)
    assert granted(house) == [gate.holders[0].saga_id]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"participant": "inventory"}, "ce-sagaparticipant"),
        ({"action": "unlock"}, "ce-sagaaction"),
        ({"direction": "probe"}, "ce-sagaaction"),
        ({"body": b"[]"}, "body"),
        ({"body": b'{"lock":"","key":"1"}'}, "body.lock"),
        ({"body": msgspec.json.encode({"lock": "order", "key": "x" * 257})}, "body.key"),
        ({"body": b'{"lock":"order","key":"1","at_once":0}'}, "body.at_once"),
    ],
)
async def test_what_cannot_be_read_is_put_aside(house: House, changes: dict[str, object], problem: str) -> None:
    """It goes to the dead letters with the field at fault; the rest of its batch is carried out."""
    broken = msgspec.structs.replace(command("b"), **changes)
    await house.bring(command("a"), broken)
    (dead,) = [each for each in house.broker.sent if each.exchange == house.topology.dead_exchange]
    reasons = [str(value) for name, value in dead.headers.items() if "reason" in name]
    assert any(reason.startswith(problem) for reason in reasons), reasons
    assert granted(house) == ["a"]
