"""Sagas that meet at locks and events, on real servers, while coordinators come and go."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest

from countermand.coordinator.gates.gate import Gate
from countermand.coordinator.operate.requests import Requests
from countermand.coordinator.runtime import Coordinator, running
from countermand.coordinator.settings import Settings
from countermand.participants.client import Client
from countermand.participants.context import Context
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.participant import Participant
from countermand.schemas.contract import Command, Event
from countermand.schemas.messages import Accepted, StartMessage
from countermand.schemas.topology import Topology
from support import RabbitServer, RedisServer, eventually
from system.world import settings

pytestmark = pytest.mark.servers

SAGAS = [f"s-{number}" for number in range(12)]
KEY = {"$": "input.order"}


class Enter(Command[None], participant="room", compensatable=False, because="it is only looked at"):
    order: str


class Leave(Command[None], participant="room", compensatable=False, because="it is only looked at"):
    order: str


class Opened(Event):
    by: str


class Room:
    """Remembers who went in and out, and in which order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.participant = Participant("room", inbox=MemoryInbox())
        self.participant.handles(Enter)(self._enter)
        self.participant.handles(Leave)(self._leave)

    async def _enter(self, command: Enter, context: Context) -> None:
        self.seen.append((context.saga_id, "in"))

    async def _leave(self, command: Leave, context: Context) -> None:
        self.seen.append((context.saga_id, "out"))


def step(action: str) -> dict[str, Any]:
    return {
        "node": "step",
        "name": action,
        "participant": "room",
        "action": action,
        "input": {"order": KEY},
        "compensation": False,
        "because": "it is only looked at",
    }


def document(*nodes: dict[str, Any]) -> bytes:
    return json.dumps(
        {"countermand": 1, "name": "visit", "version": 1, "deadline_ms": 120_000, "root": {"nodes": nodes}}
    ).encode()


LOCK = {"node": "lock", "name": "room_lock", "lock": "room", "key": KEY}
WAIT = {"node": "wait_for", "name": "door", "event": "opened", "key": KEY, "deadline_ms": 60_000}


class House:
    """Two coordinators, a participant and a client."""

    def __init__(self, coordinators: list[Coordinator], client: Client, room: Room, requests: Requests) -> None:
        self.coordinators = coordinators
        self.client = client
        self.room = room
        self._requests = requests

    async def start(self, saga_id: str) -> None:
        order = msgspec.Raw(b'{"order":"1001"}')
        answer = await self._requests.ask(
            StartMessage(saga_id, saga_id, "visit", order, reply_to=self._requests.queue), key=saga_id
        )
        assert isinstance(answer, Accepted), answer

    async def phases(self) -> set[str]:
        outcomes = await asyncio.gather(*(self.client.handle(saga_id).outcome(timeout_s=60) for saga_id in SAGAS))
        return {each.phase for each in outcomes}

    async def locks(self) -> list[Gate]:
        return await self.coordinators[-1].store.gates.locks(limit=10)


@pytest.fixture
async def house(rabbitmq: RabbitServer, redis_server: RedisServer, namespace: str) -> AsyncIterator[House]:
    async with opened(settings(rabbitmq.amqp_url, redis_server.url, namespace)) as house:
        yield house


@asynccontextmanager
async def opened(chosen: Settings) -> AsyncIterator[House]:
    topology, room = Topology(chosen.prefix), Room()
    async with AsyncExitStack() as stack:
        coordinators = [await stack.enter_async_context(running(chosen)) for _ in range(2)]
        await stack.enter_async_context(room.participant.running(chosen.amqp_url, topology=topology, drain_s=1.0))
        client = await stack.enter_async_context(Client(chosen.amqp_url, topology=topology, watch_interval_s=1.0))
        requests = await stack.enter_async_context(Requests(chosen.amqp_url, topology))
        yield House(coordinators, client, room, requests)


async def test_a_lock_is_held_by_one_saga_at_a_time(house: House) -> None:
    """Whoever is inside leaves before the next one enters, also when a coordinator crashes; at the end it is free."""
    await house.client.register(document(LOCK, step("enter"), step("leave")))
    await asyncio.gather(*map(house.start, SAGAS))
    await eventually(lambda: len(house.room.seen) > 4, timeout_s=30)
    await house.coordinators[0].abandon()
    assert await house.phases() == {"completed"}
    seen = house.room.seen
    assert sorted({saga_id for saga_id, _ in seen}) == sorted(SAGAS)
    assert seen == [(saga_id, way) for saga_id, _ in seen[::2] for way in ("in", "out")]

    async def free() -> bool:
        return await house.locks() == []

    await eventually(free, timeout_s=30)


async def test_an_event_reaches_all_that_wait(house: House) -> None:
    """Across coordinators, those that wait already and those that begin to; sent twice, it counts once."""
    await house.client.register(document(WAIT, step("enter")))
    early, late = SAGAS[:8], SAGAS[8:]
    await asyncio.gather(*map(house.start, early))
    await house.client.publish_event(Opened(by="ada"), key="1001", event_id="e-1")
    again = await house.client.publish_event(Opened(by="ada"), key="1001", event_id="e-1")
    assert again.duplicate
    await asyncio.gather(*map(house.start, late))
    assert await house.phases() == {"completed"}
    assert sorted(house.room.seen) == sorted((saga_id, "in") for saga_id in SAGAS)
