"""What an inbox says of an action that was given up in doubt, and keeps of the answer, on every kind of store."""

import asyncio

import msgspec
import pytest

from countermand.participants.barrier import (
    NOT_DONE,
    TOMBSTONE,
    Answer,
    Duplicate,
    Expired,
    Inbox,
    InProgress,
    NotDone,
    NothingToUndo,
    Proceed,
    Recorded,
    RefusedCompensated,
    Rows,
    Verdict,
    admit,
    recorded,
)
from countermand.schemas.messages import CommandMessage, Failed, Rejected, Succeeded
from participants.orders import command
from participants.worlds import RedisWorld, SqlWorld, World, crash_in_the_handler
from support import eventually

pytestmark = pytest.mark.servers

DONE = Succeeded(msgspec.Raw(b'{"reservation_id":"r-1","pieces":2}'))
UNDONE = Succeeded()
DO, UNDO, PROBE = command(), command(direction="undo"), command(direction="probe")


async def verdict_on(inbox: Inbox, asked: CommandMessage, *, expired: bool = False) -> Verdict:
    """The verdict; whoever is let proceed comes to no outcome."""
    async with inbox.enter(asked, expired=expired) as entry:
        return entry.verdict


async def carry_out(world: World, asked: CommandMessage, outcome: Recorded | None) -> Verdict:
    """Enters and, if let, has the effect and records the outcome; None: fails after the effect. Probes have none."""
    async with world.inbox.enter(asked, expired=False) as entry:
        if isinstance(entry.verdict, Proceed):
            if asked.direction != "probe":
                await world.effect(entry, asked)
            if outcome is not None:
                assert await entry.record(outcome) == Answer(outcome)
        return entry.verdict


class TestOnRecord:
    async def test_what_was_done_is_told_with_its_result(self, world: World) -> None:
        """The coordinator learns what the lost answer was, also from another process, and also too late."""
        await carry_out(world, DO, DONE)
        assert await verdict_on(world.another_process(), PROBE) == Duplicate(DONE)
        assert await verdict_on(world.inbox, PROBE, expired=True) == Duplicate(DONE)

    async def test_what_was_rejected_is_not_done(self, world: World) -> None:
        """A business no vouched for every attempt; it stays the answer to the action."""
        await carry_out(world, DO, Rejected("out_of_stock"))
        assert await verdict_on(world.inbox, PROBE) == NotDone()
        assert await verdict_on(world.inbox, DO) == Duplicate(Rejected("out_of_stock"))

    @pytest.mark.parametrize("done_before", [True, False])
    async def test_what_was_undone_is_not_done(self, world: World, done_before: bool) -> None:
        """Whether there was anything to undo or not."""
        if done_before:
            await carry_out(world, DO, DONE)
        await carry_out(world, UNDO, UNDONE)
        assert await verdict_on(world.inbox, PROBE) == NotDone()


class TestNothingOnRecord:
    async def test_a_probe_without_an_outcome_leaves_everything_as_it_was(self, world: World) -> None:
        """Nobody knows any more than before; the action may still come, and isn't told that it had begun."""
        assert await verdict_on(world.inbox, PROBE) == Proceed()
        assert await verdict_on(world.inbox, PROBE) == Proceed()
        assert await carry_out(world, DO, DONE) == Proceed()

    async def test_after_a_failed_attempt_nobody_knows(self, world: World) -> None:
        """With a transaction nothing is left of it; without one the probe is told that it began, and it stays so."""
        await carry_out(world, DO, None)
        assert await verdict_on(world.inbox, PROBE) == Proceed(begun_before=not world.transactional)
        assert await verdict_on(world.inbox, DO) == Proceed(begun_before=not world.transactional)
        expected = NothingToUndo() if world.transactional else Proceed()
        assert await carry_out(world, UNDO, UNDONE) == expected

    @pytest.mark.parametrize("failed_before", [True, False])
    async def test_what_it_found_done_is_done(self, world: World, failed_before: bool) -> None:
        """The result is kept as the action's own: replayed, and given to the compensation."""
        if failed_before:
            await carry_out(world, DO, None)
        await carry_out(world, PROBE, DONE)
        assert await verdict_on(world.another_process(), PROBE) == Duplicate(DONE)
        assert await verdict_on(world.inbox, DO) == Duplicate(DONE)
        assert await carry_out(world, UNDO, UNDONE) == Proceed(DONE.result, action_was_done=True)

    @pytest.mark.parametrize("failed_before", [True, False])
    async def test_what_it_found_not_done_can_t_be_done_any_more(self, world: World, failed_before: bool) -> None:
        """A copy of the action that comes late is refused, and there is nothing to undo."""
        if failed_before:
            await carry_out(world, DO, None)
        await carry_out(world, PROBE, NOT_DONE)
        assert await verdict_on(world.another_process(), DO) == RefusedCompensated()
        assert await verdict_on(world.inbox, PROBE) == NotDone()
        assert await verdict_on(world.inbox, UNDO) == NothingToUndo()

    async def test_a_probe_that_comes_too_late_closes_nothing(self, world: World) -> None:
        """The coordinator has gone on, and may have asked for the action again."""
        assert await verdict_on(world.inbox, PROBE, expired=True) == Expired(untouched=False)
        assert await carry_out(world, DO, DONE) == Proceed()

    async def test_while_a_failed_compensation_waits_nothing_is_found_out(self, world: World) -> None:
        """What the action did may be undone by half."""
        await carry_out(world, DO, None)
        await carry_out(world, UNDO, None)
        verdict = await verdict_on(world.inbox, PROBE)
        assert isinstance(verdict, NotDone if world.transactional else InProgress)


class TestBesideOthers:
    async def test_while_the_action_runs(self, world: World) -> None:
        """It waits or is sent back, and then learns what the action came to."""
        async with world.inbox.enter(DO, expired=False) as action:
            probe = asyncio.create_task(verdict_on(world.another_process(), PROBE))
            if not world.transactional:
                assert isinstance(await probe, InProgress)
            await world.effect(action, DO)
            await action.record(DONE)
        assert await (probe if world.transactional else verdict_on(world.inbox, PROBE)) == Duplicate(DONE)

    @pytest.mark.parametrize(("found", "then"), [(DONE, Duplicate(DONE)), (NOT_DONE, RefusedCompensated())])
    async def test_while_a_probe_asks_nothing_is_begun(self, world: World, found: Recorded, then: Verdict) -> None:
        """An action that comes meanwhile never runs beside it, and is answered by what it found."""
        async with world.inbox.enter(PROBE, expired=False) as probe:
            action = asyncio.create_task(verdict_on(world.another_process(), DO))
            if world.transactional:
                # That it waits can't be seen before it happens; that it doesn't end can.
                done, _ = await asyncio.wait({action}, timeout=0.2)
                assert not done
            else:
                assert isinstance(await action, InProgress)
            assert await probe.record(found) == Answer(found)
        assert await (action if world.transactional else verdict_on(world.inbox, DO)) == then

    async def test_a_compensation_waits_for_what_a_probe_finds(self, world: World) -> None:
        """It gets the result that the probe found."""
        async with world.inbox.enter(PROBE, expired=False) as probe:
            undo = asyncio.create_task(verdict_on(world.another_process(), UNDO))
            if not world.transactional:
                assert isinstance(await undo, InProgress)
            await probe.record(DONE)
        verdict = await (undo if world.transactional else verdict_on(world.inbox, UNDO))
        assert verdict == Proceed(DONE.result, action_was_done=True)


class TestCrash:
    async def test_of_a_process_that_died_in_its_handler_nobody_knows(
        self, durable_world: RedisWorld | SqlWorld
    ) -> None:
        """With a transaction its effect is gone; otherwise the probe is let ask when the lease is out."""
        world = durable_world
        await crash_in_the_handler(world, "saga-1")

        async def asked() -> Verdict | None:
            verdict = await carry_out(world, PROBE, DONE)
            return None if isinstance(verdict, InProgress) else verdict

        assert await eventually(asked) == Proceed(begun_before=not world.transactional)
        assert await verdict_on(world.inbox, DO) == Duplicate(DONE)

    async def test_a_process_that_dies_in_its_probe_has_found_nothing_out(
        self, durable_world: RedisWorld | SqlWorld
    ) -> None:
        """The next one asks, and is told no more than the first."""
        world = durable_world
        await crash_in_the_handler(world, "saga-1", "probe")

        async def asked() -> Verdict | None:
            verdict = await carry_out(world, PROBE, NOT_DONE)
            return None if isinstance(verdict, InProgress) else verdict

        assert await eventually(asked) == Proceed()
        assert await verdict_on(world.inbox, DO) == RefusedCompensated()


async def test_a_probe_whose_key_was_taken_over_keeps_nothing(redis_world: RedisWorld) -> None:
    """Its process seemed dead, and somebody else went on: what it found may not be true any more."""
    world = redis_world
    async with world.client() as client, world.inbox.enter(PROBE, expired=False) as probe:
        # As if the lease had run out.
        await client.hset(world.inbox.key("saga-1", "reserve_stock"), "lease_until_ms", "1")
        assert await carry_out(world, DO, DONE) == Proceed()
        outcome = (await probe.record(NOT_DONE)).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.rolled_back) == ("taken_over", False)
    assert await verdict_on(world.inbox, PROBE) == Duplicate(DONE)


def test_what_a_probe_finds_is_kept_as_the_action_s() -> None:
    """It has no row of its own, and never touches that of the compensation."""
    admission = admit(Rows(), "probe", expired=False)
    assert admission.rows == Rows()
    assert recorded(Rows(), "probe", DONE) == Rows(do=DONE)
    assert recorded(Rows(), "probe", NOT_DONE) == Rows(do=TOMBSTONE)
