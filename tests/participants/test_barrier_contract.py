"""The promises of every inbox, on every kind of store."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from countermand.participants.barrier import (
    Answer,
    Duplicate,
    Expired,
    Inbox,
    InProgress,
    NothingToUndo,
    Proceed,
    Recorded,
    RefusedCompensated,
    Verdict,
    now_ms,
)
from countermand.participants.errors import UnsafeCleanUp
from countermand.schemas.messages import CommandMessage, Rejected, Succeeded
from participants.orders import command, fresh_saga_id
from participants.worlds import RedisWorld, SqlWorld, World, crash_in_the_handler
from support import eventually

pytestmark = pytest.mark.servers

DONE = Succeeded(msgspec.Raw(b'{"reservation_id":"r-1","pieces":2}'))
NO = Rejected("out_of_stock", "no pieces left")
UNDONE = Succeeded()


class HandlerFailed(Exception):
    """What a handler raised."""


async def enter(inbox: Inbox, asked: CommandMessage, *, expired: bool = False) -> Verdict:
    """The verdict; a handler that is let proceed fails at once."""
    async with inbox.enter(asked, expired=expired) as entry:
        return entry.verdict


async def carry_out(
    world: World, asked: CommandMessage, outcome: Recorded | None, *, inbox: Inbox | None = None
) -> Verdict:
    """Enters and, if let, has the effect and records the outcome; None: fails after the effect."""
    async with (inbox or world.inbox).enter(asked, expired=False) as entry:
        if isinstance(entry.verdict, Proceed):
            await world.effect(entry, asked)
            if outcome is not None:
                assert await entry.record(outcome) == Answer(outcome)
        return entry.verdict


class TestAnswersOnRecord:
    async def test_a_duplicate_gets_the_recorded_result(self, world: World) -> None:
        """A second delivery does nothing and is answered with the original reply, byte for byte."""
        assert await carry_out(world, command(), DONE) == Proceed()
        assert await carry_out(world, command(attempt=2), DONE, inbox=world.another_process()) == Duplicate(DONE)
        assert await world.effects() == ["saga-1/reserve_stock/do"]

    async def test_a_rejection_is_recorded(self, world: World) -> None:
        """A business no is final: the handler isn't asked again."""
        assert await carry_out(world, command(), NO) == Proceed()
        assert await enter(world.inbox, command(attempt=2)) == Duplicate(NO)

    async def test_a_failure_is_not_recorded(self, world: World) -> None:
        """An attempt that failed is followed by one that runs."""
        assert await carry_out(world, command(), None) == Proceed()
        assert await carry_out(world, command(attempt=2), DONE) == Proceed(begun_before=not world.transactional)
        assert await enter(world.inbox, command(attempt=3)) == Duplicate(DONE)

    async def test_a_raising_handler_is_a_failure(self, world: World) -> None:
        """What leaves the inbox as an exception isn't recorded either, and comes out as it is."""
        with pytest.raises(HandlerFailed):
            async with world.inbox.enter(command(), expired=False):
                raise HandlerFailed
        assert await enter(world.inbox, command(attempt=2)) == Proceed(begun_before=not world.transactional)

    async def test_keys_don_t_touch_each_other(self, world: World) -> None:
        """Another step, or another saga, is another key."""
        await carry_out(world, command(), DONE)
        assert await enter(world.inbox, command(step="other")) == Proceed()
        assert await enter(world.inbox, command("saga-2")) == Proceed()

    async def test_results_come_back_byte_for_byte(self, world: World) -> None:
        """What is replayed is what was recorded: numbers, escapes and non-ASCII text unchanged."""
        outcome = Succeeded(msgspec.Raw('{"a":1.0,"b":"é\\u0000\\"","c":[1e3,null]}'.encode()))
        await carry_out(world, command(), outcome)
        verdict = await enter(world.inbox, command())
        assert isinstance(verdict, Duplicate)
        assert isinstance(verdict.outcome, Succeeded)
        assert bytes(verdict.outcome.result) == bytes(outcome.result)


class TestCompensation:
    async def test_it_gets_the_recorded_result(self, world: World) -> None:
        """A compensation learns from the record what the action came to."""
        await carry_out(world, command(), DONE)
        verdict = await carry_out(world, command(direction="undo"), UNDONE)
        assert verdict == Proceed(DONE.result, action_was_done=True)
        assert await world.effects() == ["saga-1/reserve_stock/do", "saga-1/reserve_stock/undo"]

    async def test_a_duplicate_of_it_does_nothing(self, world: World) -> None:
        """A second compensation is answered from the record."""
        await carry_out(world, command(), DONE)
        await carry_out(world, command(direction="undo"), UNDONE)
        assert await enter(world.inbox, command(direction="undo", attempt=2)) == Duplicate(UNDONE)

    async def test_without_an_action_it_succeeds_and_leaves_a_tombstone(self, world: World) -> None:
        """What was never done can't be done any more once its compensation was answered."""
        assert await enter(world.inbox, command(direction="undo")) == NothingToUndo()
        assert await enter(world.another_process(), command()) == RefusedCompensated()
        assert await enter(world.inbox, command(direction="undo", attempt=2)) == Duplicate(UNDONE)

    async def test_a_late_action_is_refused_after_it(self, world: World) -> None:
        """An action that was done and undone isn't done again, and isn't reported as done."""
        await carry_out(world, command(), DONE)
        await carry_out(world, command(direction="undo"), UNDONE)
        assert await enter(world.inbox, command(attempt=2)) == RefusedCompensated()

    async def test_of_a_rejected_action_there_is_nothing_to_undo(self, world: World) -> None:
        """The participant vouched that nothing was done."""
        await carry_out(world, command(), NO)
        assert await enter(world.inbox, command(direction="undo")) == NothingToUndo()
        assert await enter(world.inbox, command(attempt=2)) == RefusedCompensated()

    async def test_of_a_failed_action(self, world: World) -> None:
        """With a transaction nothing is left of a failed action; without one nobody knows, so it must be undone."""
        await carry_out(world, command(), None)
        expected = NothingToUndo() if world.transactional else Proceed(None, action_was_done=False)
        assert await carry_out(world, command(direction="undo"), UNDONE) == expected
        assert await enter(world.inbox, command(attempt=2)) == RefusedCompensated()

    async def test_a_failed_one_is_tried_again(self, world: World) -> None:
        """A compensation that failed gets the same result once more."""
        await carry_out(world, command(), DONE)
        await carry_out(world, command(direction="undo"), None)
        verdict = await carry_out(world, command(direction="undo", attempt=2), UNDONE)
        assert verdict == Proceed(DONE.result, action_was_done=True)

    async def test_nothing_is_added_while_a_failed_one_waits(self, world: World) -> None:
        """After a compensation has begun, its action never runs, even if neither has come to an outcome."""
        await carry_out(world, command(), None)
        await carry_out(world, command(direction="undo"), None)
        verdict = await enter(world.inbox, command(attempt=2))
        assert isinstance(verdict, RefusedCompensated if world.transactional else InProgress)


class TestExpiry:
    async def test_an_expired_action_is_not_begun(self, world: World) -> None:
        """It leaves no trace, so that a later attempt isn't in anybody's way."""
        assert await enter(world.inbox, command(), expired=True) == Expired(untouched=True)
        assert await carry_out(world, command(attempt=2), DONE) == Proceed()

    async def test_an_expired_duplicate_gets_the_recorded_result(self, world: World) -> None:
        """What was done stays done, however late somebody asks: it must never look undone."""
        await carry_out(world, command(), DONE)
        assert await enter(world.inbox, command(attempt=2), expired=True) == Duplicate(DONE)

    async def test_an_expired_action_after_a_failed_one(self, world: World) -> None:
        """Only an inbox that rolled the failed attempt back may say that nothing was touched."""
        await carry_out(world, command(), None)
        assert await enter(world.inbox, command(attempt=2), expired=True) == Expired(untouched=world.transactional)

    async def test_a_compensation_never_expires(self, world: World) -> None:
        """What has to be undone is undone, however late."""
        await carry_out(world, command(), DONE)
        proceed = Proceed(DONE.result, action_was_done=True)
        assert await enter(world.inbox, command(direction="undo"), expired=True) == proceed
        assert await enter(world.inbox, command("other", direction="undo"), expired=True) == NothingToUndo()


class TestConcurrency:
    async def test_the_same_action_twice_at_once(self, world: World) -> None:
        """The second attempt waits or is told to come back; it never runs beside the first."""
        other = world.another_process()
        async with world.inbox.enter(command(), expired=False) as first:
            assert first.verdict == Proceed()
            second = asyncio.create_task(enter(other, command(attempt=2)))
            await _waits_or_is_sent_back(world, second)
            await world.effect(first, command())
            await first.record(DONE)
        await _settled(second, lambda: enter(other, command(attempt=2)), Duplicate(DONE))
        assert len(await world.effects()) == 1

    async def test_a_compensation_while_its_action_runs(self, world: World) -> None:
        """It comes after the action, and knows its result."""
        other = world.another_process()
        undo = command(direction="undo")
        async with world.inbox.enter(command(), expired=False) as action:
            compensation = asyncio.create_task(carry_out(world, undo, UNDONE, inbox=other))
            await _waits_or_is_sent_back(world, compensation)
            await world.effect(action, command())
            await action.record(DONE)
        proceed = Proceed(DONE.result, action_was_done=True)
        await _settled(compensation, lambda: carry_out(world, undo, UNDONE, inbox=other), proceed)
        assert await world.effects() == ["saga-1/reserve_stock/do", "saga-1/reserve_stock/undo"]

    async def test_a_compensation_while_its_action_fails(self, world: World) -> None:
        """It waits for the end of the attempt, and the action stays out afterwards."""
        other = world.another_process()
        undo = command(direction="undo")
        async with world.inbox.enter(command(), expired=False) as action:
            await world.effect(action, command())
            compensation = asyncio.create_task(carry_out(world, undo, UNDONE, inbox=other))
            await _waits_or_is_sent_back(world, compensation)
        expected = NothingToUndo() if world.transactional else Proceed()
        await _settled(compensation, lambda: carry_out(world, undo, UNDONE, inbox=other), expected)
        assert await enter(world.inbox, command(attempt=2)) == RefusedCompensated()

    async def test_an_action_while_its_compensation_runs(self, world: World) -> None:
        """An action of which nothing is known any more doesn't slip in beside its compensation."""
        other = world.another_process()
        await carry_out(world, command(), DONE)
        async with world.inbox.enter(command(direction="undo"), expired=False) as compensation:
            late = asyncio.create_task(enter(other, command(attempt=2)))
            if not world.transactional:
                assert await late == Duplicate(DONE)
            await world.effect(compensation, command(direction="undo"))
            await compensation.record(UNDONE)
        if world.transactional:
            assert await late == RefusedCompensated()

    async def test_a_race_has_one_winner(self, world: World, namespace: str) -> None:
        """Actions and compensations of many keys, in no order: each action is done once and undone, or never done."""
        processes = [world.inbox, world.another_process()]
        sagas = [fresh_saga_id(namespace) for _ in range(20)]

        async def insist(asked: CommandMessage, outcome: Recorded, inbox: Inbox) -> None:
            async def settled() -> bool:
                verdict = await carry_out(world, asked, outcome, inbox=inbox)
                return not isinstance(verdict, InProgress)

            await eventually(settled, timeout_s=30)

        async with asyncio.TaskGroup() as group:
            for number, saga_id in enumerate(sagas):
                do = (command(saga_id), DONE)
                undo = (command(saga_id, direction="undo"), UNDONE)
                for turn, (asked, outcome) in enumerate([do, undo, undo, do] if number % 2 else [undo, do, do, undo]):
                    group.create_task(insist(asked, outcome, processes[turn % 2]))
        effects = await world.effects()
        for saga_id in sagas:
            key = f"{saga_id}/reserve_stock"
            done = [effect for effect in effects if effect.startswith(f"{key}/")]
            assert done in ([], [f"{key}/do", f"{key}/undo"])
            assert await enter(world.inbox, command(saga_id)) == RefusedCompensated()


class TestCrash:
    async def test_a_process_that_dies_in_its_handler(self, durable_world: RedisWorld | SqlWorld) -> None:
        """With a transaction the effect is gone and the next attempt runs; otherwise it runs when the lease is out."""
        world = durable_world
        await crash_in_the_handler(world, "saga-1")
        if isinstance(world, SqlWorld):
            assert await world.effects() == []
        else:
            assert isinstance(await enter(world.inbox, command(attempt=2)), InProgress)
        again = Proceed(begun_before=not world.transactional)
        await _eventually(lambda: carry_out(world, command(attempt=2), DONE), again)
        assert await enter(world.inbox, command(attempt=3)) == Duplicate(DONE)

    async def test_a_compensation_after_such_a_death(self, durable_world: RedisWorld | SqlWorld) -> None:
        """With a transaction there is nothing to undo; otherwise it runs, and is told that nothing is known."""
        world = durable_world
        await crash_in_the_handler(world, "saga-1")
        expected = NothingToUndo() if world.transactional else Proceed(None, action_was_done=False)
        await _eventually(lambda: carry_out(world, command(direction="undo"), UNDONE), expected)
        assert await enter(world.inbox, command(attempt=2)) == RefusedCompensated()

    async def test_a_cancelled_handler_is_a_failure(self, world: World) -> None:
        """Nothing is recorded, nobody else has to wait, and a transaction is undone."""
        entered = asyncio.Event()

        async def hang() -> None:
            async with world.inbox.enter(command(), expired=False) as entry:
                await world.effect(entry, command())
                entered.set()
                await asyncio.Event().wait()

        hanging = asyncio.create_task(hang())
        await entered.wait()
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        if world.transactional:
            assert await world.effects() == []
        assert await enter(world.inbox, command(attempt=2)) == Proceed(begun_before=not world.transactional)


class TestCleanUp:
    async def test_it_deletes_what_is_older_than_the_mark(self, world: World) -> None:
        """Rows last changed before the mark are gone, with their tombstones."""
        await carry_out(world, command("old"), DONE)
        await enter(world.inbox, command("undone", direction="undo"))
        assert await world.inbox.clean_up(now_ms() + 60_000, however_young=True) >= 2
        assert await enter(world.inbox, command("old")) == Proceed()
        assert await enter(world.inbox, command("undone")) == Proceed()

    async def test_it_keeps_what_is_younger(self, world: World) -> None:
        """Nothing that was changed after the mark is touched."""
        await carry_out(world, command(), DONE)
        assert await world.inbox.clean_up(now_ms() - 60_000, however_young=True) == 0
        assert await enter(world.inbox, command()) == Duplicate(DONE)

    async def test_it_keeps_what_is_in_progress(self, world: World) -> None:
        """A handler that runs keeps its key."""
        async with world.inbox.enter(command(), expired=False) as entry:
            if world.transactional:
                await entry.record(DONE)
            else:
                assert await world.inbox.clean_up(now_ms() + 60_000, however_young=True) == 0
                await entry.record(DONE)
        assert await enter(world.inbox, command()) == Duplicate(DONE)

    async def test_it_refuses_a_mark_that_can_t_be_safe(self, world: World) -> None:
        """Within seven days somebody must say that he knows what he does."""
        with pytest.raises(UnsafeCleanUp, match="7 days"):
            await world.inbox.clean_up(now_ms() - 6 * 24 * 3_600_000)
        assert await world.inbox.clean_up(now_ms() - 8 * 24 * 3_600_000) == 0


async def _waits_or_is_sent_back(world: World, second: "asyncio.Task[Verdict]") -> None:
    if not world.transactional:
        verdict = await second
        assert isinstance(verdict, InProgress)
        assert verdict.retry_after_ms > 0
        return
    # That it waits can't be seen before it happens; that it doesn't end can.
    done, _ = await asyncio.wait({second}, timeout=0.3)
    assert not done


async def _settled(second: "asyncio.Task[Verdict]", again: Callable[[], Awaitable[Verdict]], expected: Verdict) -> None:
    verdict = await second
    if isinstance(verdict, InProgress):
        verdict = await again()
    assert verdict == expected


async def _eventually(ask: Callable[[], Awaitable[Verdict]], expected: Verdict) -> None:
    async def settled() -> Verdict | None:
        verdict = await ask()
        return None if isinstance(verdict, InProgress) else verdict

    assert await eventually(settled) == expected
