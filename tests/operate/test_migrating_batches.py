"""A migration on the one path: what comes with it in one batch, what comes again, and what was decided in vain."""

import msgspec

from core.moving import step, version
from countermand.coordinator.core.state import SagaState
from countermand.coordinator.testing.world import delivered
from countermand.schemas.definition import canonical
from countermand.schemas.envelope import Incoming, read_command, write_request
from countermand.schemas.identifiers import command_id, step_key
from countermand.schemas.messages import (
    Accepted,
    CommandMessage,
    DefineMessage,
    OperateMessage,
    Refused,
    ReplyMessage,
    StartMessage,
    Succeeded,
)
from countermand.schemas.operations import CompensateSaga, MigrateSaga, Operation, PauseSaga, ResumeSaga
from gates.house import House

SAGA_ID = "order-1"
RESERVE, PAY, SHIP = step("reserve"), step("pay"), step("ship")


def asks(house: House, request_id: str, operation: Operation) -> OperateMessage:
    return OperateMessage(request_id, SAGA_ID, operation, "ann", "new version", None, house.queue)


async def bring(house: House, *messages: OperateMessage) -> None:
    await house.inbox.take([delivered(write_request(each, source="/cli")) for each in messages])


async def begun() -> House:
    """A saga of the first version, paused once its first step is done; the second version is there, too."""
    house = House()
    for number, nodes in enumerate([(RESERVE, PAY), (msgspec.structs.replace(RESERVE, participant="new"), SHIP)], 1):
        await house.bring(DefineMessage(f"d-{number}", canonical(version(number, *nodes)), house.queue))
    await house.bring(StartMessage("r-1", SAGA_ID, "moving", msgspec.Raw(b'{"order":{"id":1}}'), 1))
    await bring(house, asks(house, "pause", PauseSaga()))
    state = await state_of(house)
    await house.bring(
        ReplyMessage(
            saga_id=SAGA_ID,
            step="reserve",
            direction="do",
            attempt=1,
            key=step_key(SAGA_ID, "reserve"),
            command_id=command_id(state.secret, "reserve", "do", 1),
            saga_version=state.version,
            participant="shop",
            outcome=Succeeded(),
        )
    )
    return house


async def state_of(house: House) -> SagaState:
    (loaded,) = await house.store.load([SAGA_ID])
    assert loaded is not None
    return loaded.saga.state


def commands(house: House) -> list[CommandMessage]:
    exchange = house.topology.commands_exchange
    return [read_command(Incoming(each.headers, each.body)) for each in house.broker.sent if each.exchange == exchange]


async def test_what_follows_in_the_same_batch_is_decided_by_the_other_version() -> None:
    """It is resumed at once, and goes on with a step that the first version doesn't have."""
    house = await begun()
    await bring(house, asks(house, "migrate", MigrateSaga(2)), asks(house, "resume", ResumeSaga()))
    state = await state_of(house)
    assert state.definition == "moving@2"
    assert [each.step for each in commands(house)] == ["reserve", "ship"]
    assert {each.definition for each in commands(house)} == {"moving@1", "moving@2"}
    await bring(house, asks(house, "back", CompensateSaga()))
    undone = [each for each in commands(house) if each.direction == "undo"]
    assert [(each.step, each.participant) for each in undone] == [("ship", "shop")]


async def test_a_request_that_comes_again_counts_once() -> None:
    """Also in the same batch; and what is refused is told, with nothing done."""
    house = await begun()
    request = asks(house, "migrate", MigrateSaga(2))
    await bring(house, asks(house, "nowhere", MigrateSaga(7)), request, request)
    await bring(house, request)
    refused, *accepted = house.answers[-4:]
    assert isinstance(refused, Refused)
    assert (refused.code, refused.request_id) == ("unknown_definition", "nowhere")
    assert [(type(each), getattr(each, "duplicate", None)) for each in accepted] == [
        (Accepted, False),
        (Accepted, True),
        (Accepted, True),
    ]
    assert [each.operation for each in (await state_of(house)).operations] == ["pause", "migrate"]
