"""What a participant tells the coordinators of itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from countermand.participants import Context, Participant
from countermand.participants.announcing import GOODBYE_S, Announcer, announcement, new_instance
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.schemas import Command
from countermand.schemas.announcing import ANNOUNCED_ACTIONS_MAX, ANNOUNCEMENT_BYTES_MAX, write_announce
from countermand.schemas.identifiers import checked_instance
from countermand.schemas.messages import AnnouncedAction
from countermand.schemas.topology import Topology
from countermand.wire import Publisher, end
from participants.desk import READY_S, Desk
from participants.orders import Notify, Reserve, Reserved
from support import RabbitServer, eventually
from support.ports import free_port


class Odd:
    """A type of the application's own, which JSON Schema has no word for."""


class Peculiar(Command[None], participant="inventory", compensatable=False, because="nothing to undo"):
    odd: Odd


def inventory(*contracts: type[Command[Any]]) -> Participant:
    participant = Participant("inventory", inbox=MemoryInbox())

    async def do(command: Any, context: Context) -> Any: ...
    async def undo(command: Any, result: Any, context: Context) -> None: ...

    for contract in contracts:
        register: Any = participant.handles(contract)
        register(do)
        if contract is Reserve:
            register = participant.compensates(contract)
            register(undo)
    return participant


def test_actions_compensations_and_schemas_are_told() -> None:
    """Each action with what it takes and gives, and whether it can be undone here."""
    told = inventory(Reserve, Notify).announcement()
    reserve, notify = told.actions
    assert (told.participant, told.protocol, told.library.split()[0]) == ("inventory", 1, "countermand")
    assert (reserve.action, reserve.compensation) == ("reserve", True)
    assert (notify.action, notify.compensation) == ("notify", False)
    assert reserve.schema is not None
    command, result = reserve.schema["command"], reserve.schema["result"]
    assert (command, result) == ({"$ref": "#/$defs/Reserve"}, {"$ref": "#/$defs/Reserved"})
    assert set(reserve.schema["$defs"]["Reserve"]["properties"]) == {"order_id", "pieces"}
    assert set(reserve.schema["$defs"]["Reserved"]["properties"]) == set(Reserved.__struct_fields__)


def test_an_action_without_a_schema_is_announced_all_the_same() -> None:
    """A type that JSON Schema can't say costs the schema of its contract, and nothing else."""
    peculiar, reserve = inventory(Peculiar, Reserve).announcement().actions
    assert peculiar == AnnouncedAction("peculiar")
    assert reserve.schema is not None


def test_schemas_that_are_too_large_stay_at_home() -> None:
    """What would be over the limit is told without schemas, and with as many actions as may be told."""
    fields = [(f"field_with_a_long_name_{number}", str) for number in range(100)]
    contracts: list[Any] = [
        msgspec.defstruct("Large", fields, module=__name__) for _ in range(ANNOUNCED_ACTIONS_MAX + 5)
    ]
    participant = inventory(Reserve)
    entry = participant._contracts["reserve"]
    crowd = {
        f"large_{number}": type(entry)(contract, None, False, entry.action) for number, contract in enumerate(contracts)
    }
    told = announcement("inventory", crowd)
    assert len(told.actions) == ANNOUNCED_ACTIONS_MAX
    assert all(each.schema is None for each in told.actions)
    assert len(write_announce(told).body) <= ANNOUNCEMENT_BYTES_MAX


def test_every_process_has_a_name_of_its_own() -> None:
    """And one that a coordinator takes."""
    names = {new_instance() for _ in range(100)}
    assert len(names) == 100
    assert all(checked_instance("instance", name) == name for name in names)


@pytest.fixture
async def desk(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Desk]:
    async with Desk(rabbitmq.amqp_url, namespace) as desk:
        yield desk


@contextlib.asynccontextmanager
async def announcing(desk: Desk, *, interval_s: float) -> AsyncIterator[tuple[Announcer, Publisher]]:
    publisher = Publisher(desk.amqp_url, name="announcer", declarations=desk.topology.common())
    await publisher.start()
    await publisher.wait_ready(READY_S)
    told = inventory(Reserve).announcement()
    announcer = Announcer(told, publisher, desk.topology, interval_s=interval_s)
    task = asyncio.create_task(announcer.run())
    try:
        yield announcer, publisher
    finally:
        await end([task])
        await publisher.close()


@pytest.mark.servers
async def test_a_participant_announces_itself_when_it_starts(desk: Desk) -> None:
    """One announcement, which is what the participant is."""
    participant = inventory(Reserve, Notify)
    async with participant.running(desk.amqp_url, topology=desk.topology):
        (told,) = await eventually(lambda: desk.announcements)
    assert (told.participant, told.actions) == ("inventory", participant.announcement().actions)


@pytest.mark.servers
async def test_a_participant_says_goodbye_when_it_stops(desk: Desk) -> None:
    """The same process, that it is stopping; so that nobody takes it for alive."""
    async with inventory(Reserve).running(desk.amqp_url, topology=desk.topology):
        (told,) = await eventually(lambda: desk.announcements)
    await eventually(lambda: len(desk.announcements) == 2)
    assert desk.announcements[1] == msgspec.structs.replace(told, stopping=True)


async def test_nobody_waits_for_a_goodbye_without_a_broker() -> None:
    """A participant that has lost its broker stops as fast as ever."""
    publisher = Publisher(f"amqp://127.0.0.1:{free_port()}/", name="announcer")
    await publisher.start()
    try:
        announcer = Announcer(inventory(Reserve).announcement(), publisher, Topology("nobody"))
        async with asyncio.timeout(GOODBYE_S / 2):
            await announcer.say_goodbye()
    finally:
        await publisher.close()


@pytest.mark.servers
async def test_it_is_said_again_now_and_then(desk: Desk) -> None:
    """At every interval, by the same instance."""
    async with announcing(desk, interval_s=0.05):
        await eventually(lambda: len(desk.announcements) >= 3)
    assert len({told.instance for told in desk.announcements}) == 1


@pytest.mark.servers
async def test_it_is_said_again_after_a_reconnect(desk: Desk) -> None:
    """A new connection may have led to another broker: nobody waits for the interval."""
    async with announcing(desk, interval_s=600) as (announcer, publisher):
        await eventually(lambda: announcer.confirmed == 1)
        session = await publisher.connection.wait_session()
        session.end("the test cuts it", replace_connection=True)
        await eventually(lambda: announcer.confirmed == 2)


@pytest.mark.servers
async def test_an_inbox_that_is_missing_stops_nobody(desk: Desk) -> None:
    """An announcement that no queue takes is lost; the next one arrives."""
    async with announcing(desk, interval_s=0.05) as (announcer, publisher):
        await eventually(lambda: announcer.confirmed >= 1)
        for shard in range(4):
            await desk.delete_queue(desk.topology.inbox_queue(shard))
        await eventually(lambda: announcer.lost >= 1)
        confirmed = announcer.confirmed
        await publisher.declare(desk.topology.common())
        await eventually(lambda: announcer.confirmed > confirmed)
