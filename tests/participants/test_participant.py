"""One command through a participant, without a broker: what is answered."""

import asyncio
import itertools
import threading
from pathlib import Path
from typing import cast

import msgspec
import pytest
from structlog.testing import capture_logs

from countermand.participants import Context, Participant, Rejected, Retry
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.schemas.codec import BODY_BYTES_MAX, encode
from countermand.schemas.messages import CommandMessage, Failed, ReplyMessage, ReplyOutcome, Succeeded, UndoBody
from countermand.schemas.messages import Rejected as RejectedOutcome
from participants.orders import NOON_MS, Notify, Reserve, Reserved, command
from participants.stock import Stock
from participants.worlds import SqlWorld
from support import eventually

SECRET = "4111-1111-1111-1111"  # noqa: S105  What must never be told to anyone.


class SlowDesk:
    """A participant with a synchronous handler that has its effect when it is set free."""

    def __init__(self, *, concurrency: int = 32) -> None:
        self.participant = Participant("inventory", inbox=MemoryInbox(), concurrency=concurrency)
        self.began, self.free = threading.Event(), threading.Event()
        self.order: list[str] = []
        self.participant.handles(Reserve)(self.reserve)
        self.participant.compensates(Reserve)(self.release)

    def reserve(self, command: Reserve, context: Context) -> Reserved:
        self.began.set()
        assert self.free.wait(10)
        self.order.append("do")
        return Reserved("r-1")

    def release(self, command: Reserve, reserved: Reserved | None, context: Context) -> None:
        self.order.append("undo")

    async def begin(self) -> "asyncio.Task[ReplyMessage]":
        """The action, blocked in its thread."""
        running = asyncio.create_task(self.participant.handle(command()))
        await eventually(self.began.is_set)
        return running

    async def code_of(self, asked: CommandMessage) -> str:
        """Why a command wasn't done; "" if it was."""
        outcome = (await self.participant.handle(asked)).outcome
        return "" if isinstance(outcome, Succeeded) else outcome.code


class TestHandlers:
    async def test_a_command_becomes_a_reply(self, stock: Stock) -> None:
        """The reply repeats what names the attempt, and brings the handler's result as JSON."""
        asked = command(attempt=2)
        assert await stock.participant.handle(asked) == ReplyMessage(
            saga_id="saga-1",
            step="reserve_stock",
            direction="do",
            attempt=2,
            key="saga-1/reserve_stock",
            command_id=asked.command_id,
            saga_version=3,
            participant="inventory",
            outcome=Succeeded(msgspec.Raw(b'{"reservation_id":"r-1","pieces":2}')),
        )
        (seen, context) = stock.reserved[0]
        assert seen == Reserve(order_id="o-1")
        told = (context.saga_id, context.step, context.key, context.direction, context.attempt, context.definition)
        assert told == ("saga-1", "reserve_stock", "saga-1/reserve_stock", "do", 2, "order@1")
        assert context.transaction is None

    async def test_a_duplicate_is_marked_as_replayed(self, stock: Stock) -> None:
        """The coordinator can tell an answer on record from a fresh one."""
        first = await stock.participant.handle(command())
        second = await stock.participant.handle(command(attempt=2))
        assert (second.outcome, second.replayed, len(stock.reserved)) == (first.outcome, True, 1)

    async def test_a_business_no(self, stock: Stock) -> None:
        """`Rejected` reaches the coordinator with its code and reason, and is final."""
        stock.error = Rejected("out_of_stock", "no pieces left")
        assert await stock.answer(command()) == RejectedOutcome("out_of_stock", "no pieces left")
        stock.error = None
        assert await stock.answer(command(attempt=2)) == RejectedOutcome("out_of_stock", "no pieces left")

    async def test_ask_again(self, stock: Stock) -> None:
        """`Retry` is a failure that says when to come back; the next attempt runs."""
        stock.error = Retry(after_s=2.5, reason="the warehouse counts")
        expected = Failed("retry", "the warehouse counts", rolled_back=False, retry_after_ms=2_500)
        assert await stock.answer(command()) == expected
        stock.error = None
        assert isinstance(await stock.answer(command(attempt=2)), Succeeded)

    async def test_an_error_tells_nothing_but_its_class(self, stock: Stock) -> None:
        """Neither the reply nor the log holds what the exception quotes."""
        stock.error = KeyError(SECRET)
        with capture_logs() as logs:
            assert await stock.answer(command()) == Failed("KeyError", "", rolled_back=False)
        assert [entry["event"] for entry in logs] == ["handler_failed"]
        assert logs[0]["saga_id"] == "saga-1"
        assert "reserve" in logs[0]["at"][0]
        assert SECRET not in repr(logs)

    async def test_a_cancellation_that_nobody_asked_for_is_a_failure(self, stock: Stock) -> None:
        """A library that loses its connection can raise it; the command is still answered."""
        stock.error = asyncio.CancelledError()
        assert await stock.answer(command()) == Failed("CancelledError")

    async def test_a_synchronous_handler_runs_in_a_thread(self) -> None:
        """It blocks its own thread and nobody else."""
        participant = Participant("inventory", inbox=MemoryInbox())
        free = threading.Event()

        @participant.handles(Notify)
        def notify(command: Notify, context: Context) -> None:
            assert free.wait(10)

        asked = command(action="notify", body=encode(Notify(order_id="o-1")))
        answering = asyncio.create_task(participant.handle(asked))
        # The loop goes on: otherwise nobody would free the handler.
        done, _ = await asyncio.wait({answering}, timeout=0.05)
        assert not done
        free.set()
        assert (await answering).outcome == Succeeded(msgspec.Raw(b"null"))

    async def test_a_cancelled_synchronous_handler_keeps_its_key(self) -> None:
        """A thread can't be stopped: until it has ended, no compensation and no second attempt runs beside it."""
        desk = SlowDesk()
        running = await desk.begin()
        running.cancel()
        for asked in (command(direction="undo"), command(attempt=2)):
            assert await desk.code_of(asked) == "in_progress"
        desk.free.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await desk.code_of(command(direction="undo", attempt=2)) == ""
        assert desk.order == ["do", "undo"]

    async def test_a_synchronous_handler_that_is_cancelled_twice_is_left_with_its_key(self) -> None:
        """Whoever can't wait for the thread doesn't have to, but the key stays taken until the thread has ended."""
        desk = SlowDesk()
        running = await desk.begin()
        for _ in range(2):
            running.cancel()
            await asyncio.wait({running}, timeout=0.05)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await desk.code_of(command(direction="undo")) == "in_progress"
        desk.free.set()
        attempts = itertools.count(2)

        async def undone() -> bool:
            return await desk.code_of(command(direction="undo", attempt=next(attempts))) == ""

        await eventually(undone)
        assert desk.order == ["do", "undo"]

    async def test_a_synchronous_handler_cancelled_before_its_thread_began_never_runs(self) -> None:
        """It waits for no thread, and what comes next finds the key free."""
        desk = SlowDesk(concurrency=1)
        running = await desk.begin()
        second = asyncio.create_task(desk.participant.handle(command("saga-2")))
        await asyncio.wait({second}, timeout=0.05)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        desk.free.set()
        await running
        assert desk.order == ["do"]

    async def test_a_handler_s_words_are_cut_to_the_limits(self, stock: Stock) -> None:
        """Codes and reasons are other people's text: a reply, and what is kept for it, never grows with them."""
        talkative: dict[str, Rejected | Retry] = {"no": Rejected("no"), "later": Retry()}
        for saga_id, error in talkative.items():
            error.code, error.reason = "c" * 100_000, "r" * 100_000
            stock.error = error
            for attempt in (1, 2):
                outcome = await stock.answer(command(saga_id, attempt=attempt))
                assert isinstance(outcome, RejectedOutcome | Failed)
                assert (outcome.code, outcome.reason) == ("c" * 64, "r" * 1_000)
        stock.error = type("E" * 100_000, (Exception,), {})()
        assert await stock.answer(command("bug")) == Failed("E" * 64)
        stock.error = Rejected("no")
        stock.error.reason = "r" * 100_000
        assert await stock.answer(command("bug", direction="undo")) == Failed("no", "r" * 1_000)

    async def test_what_was_kept_before_there_were_limits_is_cut_too(self, stock: Stock) -> None:
        """An answer on record from an older release is replayed within the limits."""
        async with stock.participant.inbox.enter(command(), expired=False) as entry:
            await entry.record(RejectedOutcome("c" * 100_000, "r" * 100_000))
        assert await stock.answer(command(attempt=2)) == RejectedOutcome("c" * 64, "r" * 1_000)

    @pytest.mark.parametrize("wrong", [None, {"pieces": SECRET}, Reserved("r-1", pieces=cast("int", SECRET)), object()])
    async def test_what_is_wrong_in_a_result_is_found_before_it_is_kept(self, stock: Stock, wrong: object) -> None:
        """A result that isn't what its contract names fails, without its content being told."""
        stock.result = wrong
        with capture_logs() as logs:
            assert await stock.answer(command()) == Failed("WrongResult")
        assert SECRET not in repr(logs)

    async def test_a_result_over_the_limit(self, stock: Stock) -> None:
        """It fails by a code of its own, with the size and the limit, and isn't kept."""
        stock.result = Reserved("r" * BODY_BYTES_MAX)
        outcome = await stock.answer(command())
        assert isinstance(outcome, Failed)
        assert outcome.code == "result_too_large"
        assert str(BODY_BYTES_MAX) in outcome.reason
        stock.result = Reserved("r-1")
        assert isinstance(await stock.answer(command(attempt=2)), Succeeded)


class TestCompensations:
    async def test_it_gets_the_command_and_the_result_on_record(self, stock: Stock) -> None:
        """The participant's own record is what counts, even if the coordinator never heard of the result."""
        await stock.answer(command())
        assert await stock.answer(command(direction="undo")) == Succeeded()
        seen, reserved, context = stock.released[0]
        assert (seen, reserved) == (Reserve(order_id="o-1"), Reserved("r-1", pieces=2))
        assert (context.direction, context.action_was_done) == ("undo", True)

    async def test_of_an_unknown_action_it_gets_what_the_coordinator_knows(self, stock: Stock) -> None:
        """Without a record, the result in the command is better than none."""
        stock.error = RuntimeError()
        await stock.answer(command())
        stock.error = None
        assert await stock.answer(command(direction="undo", result=b'{"reservation_id":"r-9"}')) == Succeeded()
        _, reserved, context = stock.released[0]
        assert (reserved, context.action_was_done) == (Reserved("r-9"), False)

    async def test_of_nothing_it_isn_t_called(self, stock: Stock) -> None:
        """A compensation without an action succeeds; the late action is refused, and says so."""
        assert await stock.answer(command(direction="undo")) == Succeeded()
        late = await stock.answer(command())
        assert isinstance(late, RejectedOutcome)
        assert late.code == "compensated"
        assert (stock.reserved, stock.released) == ([], [])

    async def test_it_can_t_say_no(self, stock: Stock) -> None:
        """There is no business no to undoing: it is a failure, and is tried again."""
        await stock.answer(command())
        stock.error = Rejected("too_late")
        assert await stock.answer(command(direction="undo")) == Failed("too_late")
        stock.error = None
        assert await stock.answer(command(direction="undo", attempt=2)) == Succeeded()


class TestCommandsThatCannotBeRun:
    async def test_an_unknown_action_is_rejected_for_good(self, stock: Stock) -> None:
        """Nothing was done; and a handler that the next release brings doesn't run it after all."""
        asked = command(action="notify", body=encode(Notify(order_id="o-1")))
        outcome = await stock.answer(asked)
        assert isinstance(outcome, RejectedOutcome)
        assert outcome.code == "unknown_command"
        called = []

        @stock.participant.handles(Notify)
        async def notify(command: Notify, context: Context) -> None:
            called.append(command)

        assert (await stock.answer(asked), called) == (outcome, [])

    async def test_an_unknown_compensation_stays_visible(self, stock: Stock) -> None:
        """Something may have to be undone, so it fails until there is a compensation."""
        stock.error = RuntimeError()
        await stock.answer(command())
        outcome = await stock.answer(command(direction="undo", action="gone"))
        assert isinstance(outcome, Failed)
        assert outcome.code == "unknown_command"

    async def test_an_undo_closes_the_key_of_what_cannot_be_compensated(self, stock: Stock) -> None:
        """A pivot that was given up gets an undo: never done, it can't be done any more."""

        @stock.participant.handles(Notify)
        async def notify(command: Notify, context: Context) -> None:
            raise AssertionError("it runs after its key was closed")

        undo = encode(UndoBody(msgspec.Raw(encode(Notify(order_id="o-1")))))
        assert await stock.answer(command(direction="undo", action="notify", body=undo)) == Succeeded()
        late = await stock.answer(command(action="notify", body=encode(Notify(order_id="o-1"))))
        assert isinstance(late, RejectedOutcome)

    async def test_an_undo_of_what_was_done_and_cannot_be_compensated_says_so(self, stock: Stock) -> None:
        """It was done after all: asking again changes nothing, a person has to know."""

        @stock.participant.handles(Notify)
        async def notify(command: Notify, context: Context) -> None:
            return

        await stock.answer(command(action="notify", body=encode(Notify(order_id="o-1"))))
        undo = encode(UndoBody(msgspec.Raw(encode(Notify(order_id="o-1")))))
        outcome = await stock.answer(command(direction="undo", action="notify", body=undo))
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.retryable) == ("not_compensatable", False)

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b'{"order_id":7}', "body.order_id: Expected `str`, got `int`"),
            (b"{}", "body: Object missing required field `order_id`"),
            (b'{"order_id":"o-1","pieces":"' + SECRET.encode() + b'"}', "body.pieces: Expected `int`, got `str`"),
            (b'{"order_id":"' + SECRET.encode(), "body: not valid"),
        ],
    )
    async def test_a_body_that_isn_t_the_contract_s(self, stock: Stock, body: bytes, reason: str) -> None:
        """The action is rejected with the path of the fault, without what stood there."""
        assert await stock.answer(command(body=body)) == RejectedOutcome("malformed_command", reason)
        assert stock.reserved == []

    async def test_a_compensation_that_isn_t_the_contract_s(self, stock: Stock) -> None:
        """It fails with the path of the fault, and can be mended."""
        await stock.answer(command())
        bad = command(direction="undo", body=b'{"command":{"order_id":7},"result":null}')
        assert await stock.answer(bad) == Failed(
            "malformed_command", "body.command.order_id: Expected `str`, got `int`"
        )
        assert await stock.answer(command(direction="undo", attempt=2)) == Succeeded()

    async def test_an_expired_action_isn_t_begun(self, stock: Stock) -> None:
        """Past its deadline and the clocks' difference, nothing is done and the reply says so."""
        outcome = await stock.answer(command(deadline_ms=NOON_MS - 1_001))
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.rolled_back, stock.reserved) == ("expired", True, [])

    async def test_the_clocks_may_differ_a_little(self, stock: Stock) -> None:
        """A deadline that our clock has just passed may not have passed by the coordinator's."""
        assert isinstance(await stock.answer(command(deadline_ms=NOON_MS - 1_000)), Succeeded)

    async def test_a_compensation_never_expires(self, stock: Stock) -> None:
        """What has to be undone has to be undone late."""
        await stock.answer(command())
        assert await stock.answer(command(direction="undo", deadline_ms=1)) == Succeeded()
        assert len(stock.released) == 1

    async def test_an_inbox_that_fails(self, tmp_path: Path) -> None:
        """The command is answered as failed, and of nothing it is said that it was rolled back."""
        world = SqlWorld("sqlite", f"sqlite+aiosqlite:///{tmp_path / 'none.db'}", "none")
        stock = Stock(Participant("inventory", inbox=world.inbox))
        with capture_logs() as logs:
            assert await stock.answer(command()) == Failed("inbox_unavailable", "StoreUnavailable")
        assert [entry["event"] for entry in logs] == ["inbox_failed"]
        await world.close()


class TestTransactions:
    async def test_the_handler_gets_it(self, sql_stock: tuple[Stock, SqlWorld]) -> None:
        """What the handler does in it is kept with the outcome."""
        stock, world = sql_stock
        assert isinstance(await stock.answer(command()), Succeeded)
        assert await world.effects() == ["saga-1/reserve_stock/do"]

    @pytest.mark.parametrize(
        ("error", "result", "outcome"),
        [
            (KeyError(SECRET), None, Failed("KeyError", rolled_back=True)),
            (Retry(), None, Failed("retry", rolled_back=True)),
            (Rejected("out_of_stock"), None, RejectedOutcome("out_of_stock")),
            (None, None, Failed("WrongResult", rolled_back=True)),
        ],
    )
    async def test_what_isn_t_done_is_rolled_back(
        self, sql_stock: tuple[Stock, SqlWorld], error: Exception | None, result: object, outcome: ReplyOutcome
    ) -> None:
        """Every way to end without a result leaves nothing of the handler's work, and the reply vouches for it."""
        stock, world = sql_stock
        stock.error, stock.result = error, result
        assert await stock.answer(command()) == outcome
        assert await world.effects() == []

    async def test_a_result_over_the_limit_is_rolled_back(self, sql_stock: tuple[Stock, SqlWorld]) -> None:
        """An effect whose result can't be told didn't happen."""
        stock, world = sql_stock
        stock.result = Reserved("r" * BODY_BYTES_MAX)
        outcome = await stock.answer(command())
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.rolled_back) == ("result_too_large", True)
        assert await world.effects() == []

    async def test_it_ends_at_the_deadline(self, tmp_path: Path, namespace: str) -> None:
        """A transaction that nobody waits for any more doesn't keep the others waiting."""
        world = SqlWorld("sqlite", f"sqlite+aiosqlite:///{tmp_path / 'stock.db'}", namespace)
        await world.create()
        participant = Participant("inventory", inbox=world.inbox, clock=lambda: NOON_MS, clock_skew_ms=0)

        @participant.handles(Reserve)
        async def hang(command: Reserve, context: Context) -> Reserved:
            return await asyncio.Future()

        async with asyncio.timeout(10):
            reply = await participant.handle(command(deadline_ms=NOON_MS + 50))
        assert reply.outcome == Failed("deadline_exceeded", "stopped at its deadline", rolled_back=True)
        await world.close()
