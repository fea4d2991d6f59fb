"""A step whose key a rejection has closed is tried again under a new one, and both stay what they are."""

import msgspec
import pytest
from msgspec.structs import replace

from countermand.participants.barrier import Answer, Duplicate, Inbox, NothingToUndo, Proceed, RefusedCompensated
from countermand.schemas.identifiers import LOOPS_MAX, NAME_MAX, Direction, step_key
from countermand.schemas.messages import CommandMessage, Rejected, Succeeded
from participants.orders import command
from participants.worlds import World

pytestmark = pytest.mark.servers

NO = Rejected("no_such_address", "nobody lives there")
DONE = Succeeded(msgspec.Raw(b'{"parcel":"p-1"}'))
# As long as a step may be, so that the mark of a later key needs its room.
STEP = "s" * NAME_MAX + LOOPS_MAX * "[99999]"


def asked(attempt: int, keys_closed: int = 0, direction: Direction = "do") -> CommandMessage:
    asked = command(step=STEP, attempt=attempt, direction=direction)
    return replace(asked, key=step_key(asked.saga_id, STEP, keys_closed))


async def carried_out(world: World, inbox: Inbox, asked: CommandMessage, outcome: Succeeded | Rejected) -> object:
    async with inbox.enter(asked, expired=False) as entry:
        if isinstance(entry.verdict, Proceed):
            await world.effect(entry, asked)
            assert await entry.record(outcome) == Answer(outcome)
        return entry.verdict


async def test_a_rejected_action_runs_again_under_a_new_key(world: World) -> None:
    """The old key stays closed; the new one begins without a past and is done once."""
    inbox = world.inbox
    assert await carried_out(world, inbox, asked(1), NO) == Proceed()
    assert await carried_out(world, inbox, asked(2), DONE) == Duplicate(NO)
    assert await carried_out(world, inbox, asked(2, keys_closed=1), DONE) == Proceed()
    assert await carried_out(world, world.another_process(), asked(3, keys_closed=1), DONE) == Duplicate(DONE)
    assert await carried_out(world, inbox, asked(1), DONE) == Duplicate(NO)
    effects = await world.effects()
    assert effects.count(f"saga-1/{STEP}~1/do") == 1


async def test_every_later_key_is_a_key_of_its_own(world: World) -> None:
    """Rejected again, tried again: nine digits of attempts have room beside the longest step."""
    for keys_closed in (0, 1, 12, 999_999_999):
        assert await carried_out(world, world.inbox, asked(keys_closed + 1, keys_closed), NO) == Proceed()
    for keys_closed in (0, 1, 12, 999_999_999):
        assert await carried_out(world, world.inbox, asked(keys_closed + 1, keys_closed), DONE) == Duplicate(NO)


async def test_what_was_done_under_a_new_key_is_undone_under_it(world: World) -> None:
    """An undo of the old key finds nothing to undo and doesn't touch the new one."""
    inbox = world.inbox
    await carried_out(world, inbox, asked(1), NO)
    await carried_out(world, inbox, asked(2, keys_closed=1), DONE)
    assert await carried_out(world, inbox, asked(1, 0, "undo"), Succeeded()) == NothingToUndo()
    undone = await carried_out(world, inbox, asked(1, 1, "undo"), Succeeded())
    assert undone == Proceed(DONE.result, action_was_done=True)
    assert await carried_out(world, inbox, asked(3, keys_closed=1), DONE) == RefusedCompensated()
