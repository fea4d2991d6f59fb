"""What is answered when an earlier attempt began and nobody knows how far it came, on every kind of inbox."""

import pytest

from countermand.participants import Context, Participant, Rejected
from countermand.schemas import Command
from countermand.schemas.codec import encode
from countermand.schemas.messages import CommandMessage, Failed, ReplyOutcome, Succeeded
from countermand.schemas.messages import Rejected as RejectedOutcome
from participants.orders import Reserve, Reserved, command
from participants.worlds import World

pytestmark = pytest.mark.servers


class Ship(Command[None], participant="inventory"):
    order_id: str
    pieces: int = 1


class ReserveIn(Command[Reserved], participant="inventory", name="reserve"):
    """The contract in its next release, with one field more."""

    order_id: str
    warehouse: str


class AnswerLost(Exception):
    """The effect was had, and its answer never came."""


class Stock:
    """The first release, whose actions fail after their effect."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.undone_with: list[object] = []
        self.error: Exception | None = AnswerLost()
        self.participant = Participant("inventory", inbox=world.inbox)
        self.participant.handles(Reserve)(self.reserve)
        self.participant.compensates(Reserve)(self.release)
        self.participant.handles(Ship)(self.ship)
        self.participant.compensates(Ship)(self.call_back)

    async def reserve(self, asked: Reserve, context: Context) -> Reserved:
        await self.world.effect(context, command())
        if self.error is not None:
            raise self.error
        return Reserved("r-1")

    async def release(self, asked: Reserve, reserved: Reserved | None, context: Context) -> None:
        self.undone_with.append(reserved)

    async def ship(self, asked: Ship, context: Context) -> None:
        await self.world.effect(context, command())
        raise AnswerLost

    async def call_back(self, asked: Ship, result: None, context: Context) -> None:
        self.undone_with.append(result)


async def answer(participant: Participant, asked: CommandMessage) -> ReplyOutcome:
    return (await participant.handle(asked)).outcome


@pytest.mark.parametrize("action", ["reserve", "ship"])
async def test_an_unknown_result_is_none(world: World, action: str) -> None:
    """A compensation of an action of which nobody knows the result gets None, whatever the contract's result is."""
    stock = Stock(world)
    assert await answer(stock.participant, command(action=action)) == Failed(
        "AnswerLost", rolled_back=world.transactional
    )
    assert await answer(stock.participant, command(direction="undo", action=action)) == Succeeded()
    assert stock.undone_with == ([] if world.transactional else [None])


@pytest.mark.parametrize("code", ["unknown_command", "malformed_command"])
async def test_what_had_begun_is_not_called_undone_by_a_release_that_cannot_read_it(world: World, code: str) -> None:
    """After an attempt that may have had its effect, nobody vouches that nothing was done; it can still be undone."""
    stock, later = Stock(world), Participant("inventory", inbox=world.inbox)
    if code == "malformed_command":

        @later.handles(ReserveIn)
        async def reserve(asked: ReserveIn, context: Context) -> Reserved:
            raise AssertionError("it can't be read")

    await answer(stock.participant, command())
    outcome = await answer(later, command(attempt=2))
    undone = await answer(stock.participant, command(direction="undo"))
    if world.transactional:
        # Nothing is left of the first attempt, so it is as if there had been none.
        assert isinstance(outcome, RejectedOutcome)
        assert (outcome.code, undone, stock.undone_with) == (code, Succeeded(), [])
    else:
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.retryable, outcome.rolled_back) == (code, False, False)
        assert (undone, stock.undone_with) == (Succeeded(), [None])


async def test_what_never_began_stays_rejected(world: World) -> None:
    """Where no attempt began, a command that nobody knows is refused for good, and there is nothing to undo."""
    stock, empty = Stock(world), Participant("inventory", inbox=world.inbox)
    first = await answer(empty, command())
    assert isinstance(first, RejectedOutcome)
    assert await answer(stock.participant, command(attempt=2)) == first
    assert await answer(stock.participant, command(direction="undo")) == Succeeded()
    assert (stock.undone_with, await world.effects()) == ([], [])


async def test_a_handler_that_says_no_vouches_for_its_earlier_attempts(world: World) -> None:
    """A handler is idempotent by key, so its business no covers an attempt that had begun before: it is final."""
    stock = Stock(world)
    await answer(stock.participant, command())
    stock.error = Rejected("out_of_stock")
    assert await answer(stock.participant, command(attempt=2)) == RejectedOutcome("out_of_stock")
    assert await answer(stock.participant, command(direction="undo")) == Succeeded()
    assert stock.undone_with == []


async def test_an_undo_of_what_had_begun_reads_the_result_that_the_coordinator_knows(world: World) -> None:
    """A result that isn't null still comes as the contract's result."""
    stock = Stock(world)
    await answer(stock.participant, command())
    known = encode(Reserved("r-9"))
    assert await answer(stock.participant, command(direction="undo", result=known)) == Succeeded()
    assert stock.undone_with == ([] if world.transactional else [Reserved("r-9")])
