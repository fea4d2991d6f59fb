"""What can be registered with a participant, what is refused, and what its log says and keeps to itself."""

import pytest
import structlog
from structlog.testing import capture_logs

from countermand.participants import Context, Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.logging import get_logger
from countermand.schemas import Command, DefinitionError
from participants.orders import Notify, Reserve, Reserved, command
from participants.stock import Stock
from participants.worlds import SqlWorld

SECRET = "4111-1111-1111-1111"  # noqa: S105  What must never be told to anyone.


class TestRegistration:
    @pytest.fixture
    def participant(self) -> Participant:
        return Participant("inventory", inbox=MemoryInbox())

    def test_another_participant_s_contract(self, participant: Participant) -> None:
        """A command that would never arrive here can't be registered here."""

        class Charge(Command[None], participant="payments"):
            amount: int

        with pytest.raises(DefinitionError, match=r"belongs to the participant 'payments'.*participant=\"inventory\""):
            participant.handles(Charge)

    def test_what_is_no_command(self, participant: Participant) -> None:
        """The message shows what to write."""
        with pytest.raises(DefinitionError, match=r"not a command; write class Reserved\(Command\[Result\]"):
            participant.handles(Reserved)  # type: ignore[type-var]

    def test_twice(self, participant: Participant) -> None:
        """Which of two handlers runs must not depend on the order of imports."""
        stock = Stock(participant)
        with pytest.raises(DefinitionError, match="has a handler for it already"):
            participant.handles(Reserve)(stock.reserve)
        with pytest.raises(DefinitionError, match="has a compensation for it already"):
            participant.compensates(Reserve)(stock.release)

    def test_one_name_on_the_wire_for_two_contracts(self, participant: Participant) -> None:
        """The name is all that a command says."""

        class Same(Command[None], participant="inventory", name="reserve"):
            pass

        participant.handles(Reserve)
        with pytest.raises(DefinitionError, match="'reserve' on the wire too"):
            participant.handles(Same)

    def test_a_compensation_for_what_is_never_undone(self, participant: Participant) -> None:
        """It would never be called."""
        with pytest.raises(DefinitionError, match="compensatable=False, so nothing will ever undo it"):
            participant.compensates(Notify)

    def test_the_wrong_number_of_parameters(self, participant: Participant) -> None:
        """The message shows the signature."""

        async def reserve(command: Reserve) -> Reserved:
            raise AssertionError(command)

        with pytest.raises(DefinitionError, match=r"write def reserve\(command, context\)"):
            participant.handles(Reserve)(reserve)  # type: ignore[arg-type]
        with pytest.raises(DefinitionError, match=r"write def reserve\(command, result, context\)"):
            participant.compensates(Reserve)(reserve)  # type: ignore[arg-type]

    async def test_a_synchronous_handler_in_a_transaction(self, sql_stock: tuple[Stock, SqlWorld]) -> None:
        """An asynchronous session can't be used from a thread; this is said when it is written, not when it runs."""
        stock, _ = sql_stock

        def notify(command: Notify, context: Context) -> None:
            raise AssertionError

        with pytest.raises(DefinitionError, match="write async def notify"):
            stock.participant.handles(Notify)(notify)

    def test_a_compensatable_contract_without_a_compensation(self, participant: Participant) -> None:
        """It is noticed at the start, not when the first saga is undone."""

        async def reserve(command: Reserve, context: Context) -> Reserved:
            raise AssertionError

        participant.handles(Reserve)(reserve)
        with pytest.raises(
            DefinitionError, match=r"write @inventory.compensates\(Reserve\), or say compensatable=False"
        ):
            participant.check()

    def test_a_compensation_without_an_action(self, participant: Participant) -> None:
        """Half a contract is a mistake too."""

        async def release(command: Reserve, reserved: Reserved | None, context: Context) -> None:
            raise AssertionError

        participant.compensates(Reserve)(release)
        with pytest.raises(DefinitionError, match=r"write @inventory.handles\(Reserve\)"):
            participant.check()

    async def test_an_incomplete_participant_doesn_t_run(self, participant: Participant) -> None:
        """Before it connects to anything."""
        participant.handles(Reserve)
        with pytest.raises(DefinitionError):
            await participant.run("amqp://nowhere.invalid/")


class TestLogging:
    async def test_the_context_s_logger_names_the_saga(self, stock: Stock) -> None:
        """Whatever a handler logs can be found by its saga."""
        await stock.answer(command())
        with capture_logs() as logs:
            stock.reserved[0][1].log.info("stock_counted", pieces=7)
        (entry,) = logs
        named = {name: entry[name] for name in ("saga_id", "step", "direction", "attempt")}
        assert named == {"saga_id": "saga-1", "step": "reserve_stock", "direction": "do", "attempt": 1}

    def test_an_application_that_didn_t_configure_structlog_isn_t_flooded(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What happens with every command is for debugging, and isn't printed unless somebody asked for it."""
        structlog.reset_defaults()
        log = get_logger(participant="inventory")
        log.debug("command_answered")
        assert capsys.readouterr().out == ""
        log.info("participant_started")
        assert "participant_started" in capsys.readouterr().out
