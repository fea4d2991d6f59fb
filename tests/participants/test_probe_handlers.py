"""What a participant answers when it is asked what became of an action."""

from typing import Any

import msgspec
import pytest

from countermand.participants import Context, Participant, Rejected, Retry
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.schemas import Command, DefinitionError
from countermand.schemas.codec import encode
from countermand.schemas.messages import CommandMessage, Failed, ReplyOutcome, Succeeded
from countermand.schemas.messages import Rejected as RejectedOutcome
from participants.orders import NOON_MS, Notify, Reserve, Reserved, command
from participants.stock import Stock
from participants.worlds import SqlWorld, World

PROBE = command(direction="probe")


class AnswerLost(Exception):
    """The effect was had, and its answer never came."""


async def code_of(participant: Participant, asked: CommandMessage) -> str:
    outcome = (await participant.handle(asked)).outcome
    return "" if isinstance(outcome, Succeeded) else outcome.code


@pytest.mark.servers
class TestWithoutAProbe:
    """The rows alone answer, on every kind of inbox."""

    async def test_what_never_began_is_not_done_and_is_refused_from_then_on(self, world: World) -> None:
        stock = Stock(Participant("inventory", inbox=world.inbox))
        asked = await stock.answer(PROBE)
        assert isinstance(asked, RejectedOutcome)
        assert asked.code == "not_done"
        late = await stock.answer(command())
        assert isinstance(late, RejectedOutcome)
        assert (late.code, stock.reserved) == ("compensated", [])

    async def test_what_left_no_outcome_stays_unknown_and_can_be_undone(self, world: World) -> None:
        """With a transaction nothing is left of it; without one asking again can't help, so it is undone."""
        stock = Stock(Participant("inventory", inbox=world.inbox))
        stock.error = AnswerLost()
        await stock.answer(command())
        stock.error = None
        outcome = await stock.answer(PROBE)
        if world.transactional:
            assert isinstance(outcome, RejectedOutcome)
            assert outcome.code == "not_done"
        else:
            assert isinstance(outcome, Failed)
            assert (outcome.code, outcome.retryable, outcome.rolled_back) == ("unknown", False, False)
        assert await stock.answer(command(direction="undo")) == Succeeded()
        assert len(stock.released) == (0 if world.transactional else 1)

    async def test_what_is_on_record_is_replayed(self, world: World) -> None:
        """The result as the lost answer told it."""
        stock = Stock(Participant("inventory", inbox=world.inbox))
        done = await stock.participant.handle(command())
        probed = await stock.participant.handle(PROBE)
        assert (probed.outcome, probed.replayed, probed.direction) == (done.outcome, True, "probe")
        assert len(stock.reserved) == 1


class TestWithAProbe:
    @pytest.fixture
    def probed(self, stock: Stock) -> list[tuple[Reserve, Context]]:
        """What the probe was asked; it finds what the stock's `result` says, or raises its `error`."""
        asked: list[tuple[Reserve, Context]] = []

        @stock.participant.probes(Reserve)
        async def find(command: Reserve, context: Context) -> Reserved | None:
            asked.append((command, context))
            if stock.error is not None:
                raise stock.error
            found: Reserved | None = stock.result
            return found

        return asked

    async def test_what_it_finds_is_the_action_s_result(self, stock: Stock, probed: list[Any]) -> None:
        """The action is never run after it, and its compensation gets what was found."""
        assert await stock.answer(PROBE) == succeeded(stock.result)
        assert await stock.answer(command()) == succeeded(stock.result)
        await stock.answer(command(direction="undo"))
        assert (len(probed), stock.reserved, stock.released[0][1]) == (1, [], stock.result)
        asked, context = probed[0]
        assert (asked, context.key, context.direction) == (Reserve("o-1"), "saga-1/reserve_stock", "probe")

    async def test_none_says_that_nothing_was_done_nor_will_be(self, stock: Stock, probed: list[Any]) -> None:
        stock.result = None
        first = await stock.participant.handle(PROBE)
        again = await stock.participant.handle(command(direction="probe", attempt=2))
        assert isinstance(first.outcome, RejectedOutcome)
        assert (first.outcome.code, first.replayed) == ("not_done", False)
        assert (again.outcome, again.replayed) == (first.outcome, True)
        assert await code_of(stock.participant, command()) == "compensated"
        assert (len(probed), stock.reserved) == (1, [])

    async def test_it_is_not_asked_what_is_on_record(self, stock: Stock, probed: list[Any]) -> None:
        """The record is the better witness."""
        await stock.answer(command())
        await stock.answer(PROBE)
        stock.error = Rejected("sold_out")
        await stock.answer(command("saga-2"))
        assert await code_of(stock.participant, command("saga-2", direction="probe")) == "not_done"
        assert probed == []

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (Retry(2, code="bank_closed"), Failed("bank_closed", retry_after_ms=2_000)),
            (Rejected("not_my_day"), Failed("not_my_day")),
            (AnswerLost(), Failed("AnswerLost")),
        ],
    )
    async def test_whatever_it_raises_it_is_asked_again(
        self, stock: Stock, probed: list[Any], error: Exception, expected: ReplyOutcome
    ) -> None:
        """Nobody knows yet: nothing is recorded."""
        stock.error = error
        assert await stock.answer(PROBE) == expected
        stock.error = None
        assert isinstance(await stock.answer(command(direction="probe", attempt=2)), Succeeded)

    async def test_a_failure_in_a_transaction_doesn_t_vouch_for_the_action(
        self, sql_stock: tuple[Stock, SqlWorld]
    ) -> None:
        """That the probe's own transaction was rolled back says nothing of what was asked about."""
        stock, _ = sql_stock

        @stock.participant.probes(Reserve)
        async def find(command: Reserve, context: Context) -> Reserved | None:
            raise AnswerLost

        assert await stock.answer(PROBE) == Failed("AnswerLost", rolled_back=False)

    async def test_it_may_write_in_its_transaction(self, sql_stock: tuple[Stock, SqlWorld]) -> None:
        """What it notes down is kept with its answer, also if nothing was done."""
        stock, world = sql_stock
        stock.result = None

        @stock.participant.probes(Reserve)
        async def find(asked: Reserve, context: Context) -> Reserved | None:
            await world.effect(context, PROBE)
            return None

        assert await code_of(stock.participant, PROBE) == "not_done"
        assert await world.effects() == ["saga-1/reserve_stock/probe"]
        assert await code_of(stock.participant, command()) == "compensated"

    async def test_a_command_that_it_can_t_read_is_a_failure(self, stock: Stock, probed: list[Any]) -> None:
        """A later release may read it; the key stays as it is."""
        bad = command(direction="probe", body=b'{"order_id":7}')
        assert await code_of(stock.participant, bad) == "malformed_command"
        assert isinstance(await stock.answer(command()), Succeeded)

    async def test_a_late_one_isn_t_run(self, stock: Stock, probed: list[Any]) -> None:
        late = command(direction="probe", deadline_ms=NOON_MS - 60_000)
        assert await stock.answer(late) == Failed("expired", "the command came after its deadline")
        assert probed == []


class TestOfAnActionWithoutAResult:
    @pytest.mark.parametrize("found", [True, False, None])
    async def test_it_says_whether_it_was_done(self, found: Any) -> None:
        """True or False; anything else is a mistake, because None is what such an action returns."""
        participant = Participant("inventory", inbox=MemoryInbox())

        @participant.handles(Notify)
        async def notify(asked: Notify, context: Context) -> None: ...

        @participant.probes(Notify)
        def notified(asked: Notify, context: Context) -> bool:
            was: bool = found
            return was

        expected = {True: "", False: "not_done", None: "WrongResult"}[found]
        assert await code_of(participant, command(direction="probe", action="notify")) == expected
        expected = {True: "", False: "compensated", None: ""}[found]
        assert await code_of(participant, command(action="notify")) == expected


class TestRegistration:
    @pytest.fixture
    def participant(self) -> Participant:
        return Participant("inventory", inbox=MemoryInbox())

    def test_one_probe_for_a_contract(self, participant: Participant) -> None:
        async def find(asked: Reserve, context: Context) -> Reserved | None: ...

        participant.probes(Reserve)(find)
        with pytest.raises(DefinitionError, match="has a probe for it already"):
            participant.probes(Reserve)(find)
        with pytest.raises(DefinitionError, match=r"has a probe but no action; write @inventory.handles\(Reserve\)"):
            participant.check()

    def test_the_wrong_number_of_parameters(self, participant: Participant) -> None:
        async def find(asked: Reserve) -> Reserved | None: ...

        with pytest.raises(DefinitionError, match=r"write def find\(command, context\)"):
            participant.probes(Reserve)(find)  # type: ignore[arg-type]

    def test_a_result_that_may_be_none(self, participant: Participant) -> None:
        """None couldn't say both."""

        class Look(Command[Reserved | None], participant="inventory"):
            order_id: str

        with pytest.raises(DefinitionError, match="its result may be None"):
            participant.probes(Look)

    def test_the_coordinators_own_name(self) -> None:
        """Whoever bore it would take the commands that the coordinators send to themselves."""
        with pytest.raises(DefinitionError, match="the coordinators' own"):
            Participant("countermand", inbox=MemoryInbox())

    def test_it_is_announced(self, participant: Participant) -> None:
        """So that a definition that relies on it can be checked."""

        @participant.handles(Notify)
        async def notify(asked: Notify, context: Context) -> None: ...

        @participant.handles(Reserve)
        async def reserve(asked: Reserve, context: Context) -> Reserved:
            raise AssertionError

        @participant.probes(Reserve)
        async def find(asked: Reserve, context: Context) -> Reserved | None: ...

        assert {each.action: each.probe for each in participant.announcement().actions} == {
            "reserve": True,
            "notify": False,
        }


@pytest.mark.parametrize(
    ("step", "item_index"), [("reserve_stock", None), ("reserve_stock[17]", 17), ("reserve_stock[17][2]", 2)]
)
async def test_a_handler_knows_which_item_of_a_for_each_it_does(
    stock: Stock, step: str, item_index: int | None
) -> None:
    """By the step's place, which is a part of its key."""
    await stock.answer(command(step=step))
    (_, context) = stock.reserved[0]
    assert (context.step, context.item_index, context.key) == (step, item_index, f"saga-1/{step}")


def succeeded(result: Reserved) -> Succeeded:
    return Succeeded(msgspec.Raw(encode(result)))
