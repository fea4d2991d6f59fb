"""A participant: the handlers of one service's commands, behind its barrier.

inventory = Participant("inventory", inbox=SqlAlchemyInbox(engine))

@inventory.handles(ReserveStock)
async def reserve(command: ReserveStock, context: Context) -> StockReserved: ...

@inventory.compensates(ReserveStock)
async def release(command: ReserveStock, reserved: StockReserved | None, context: Context) -> None: ...

@inventory.probes(ReserveStock)  # If it can be found out what became of an attempt that left no answer.
async def find(command: ReserveStock, context: Context) -> StockReserved | None: ...

asyncio.run(inventory.run("amqp://…"))
"""

import asyncio
import contextlib
import inspect
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import Any, TypeVar

from countermand.participants.announcing import announcement
from countermand.participants.barrier import Clock, Inbox, now_ms
from countermand.participants.context import Contract, Handler
from countermand.participants.registering import Compensates, Handles, Probes
from countermand.participants.rehearsal import Interrupt, RehearsedInbox
from countermand.participants.running import Runner
from countermand.participants.runtime import DRAIN_S, READY_S, Runtime
from countermand.participants.shapes import shape_of
from countermand.schemas.codec import decode_body
from countermand.schemas.contract import CommandInfo, ResultsIn, command_info, is_command
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.errors import DefinitionError, MalformedMessage
from countermand.schemas.identifiers import checked_slug
from countermand.schemas.messages import AnnounceMessage, CommandMessage, ReplyMessage
from countermand.schemas.topology import Topology
from countermand.wire import keep_ready_file

C = TypeVar("C", bound=ResultsIn[Any])

# Enough to keep a database busy; more handlers at once only make each of them slower.
CONCURRENCY = 32
# Clocks of well-kept machines differ by less; an action begun this late is still harmless, it is only too late.
CLOCK_SKEW_MS = 1_000


class Participant:
    """The handlers of one service's commands.

    `inbox` is the barrier; its module says what it promises. `concurrency` is how many handlers run at once.
    `clock` gives Unix time in milliseconds; `clock_skew_ms` is how far it may be from the coordinator's.

    Raises:
        InvalidIdentifier: the name isn't one.
        DefinitionError: the name is the coordinators' own, or no handler could run.
    """

    def __init__(
        self,
        name: str,
        *,
        inbox: Inbox,
        concurrency: int = CONCURRENCY,
        clock: Clock = now_ms,
        clock_skew_ms: int = CLOCK_SKEW_MS,
    ) -> None:
        if concurrency < 1:
            raise DefinitionError(f"Participant({name!r})", f"concurrency={concurrency}: at least 1 handler must run")
        if name == COORDINATOR:
            raise DefinitionError(f"Participant({name!r})", "this name is the coordinators' own; choose another one")
        self.name = checked_slug("participant", name)
        self.inbox = inbox
        self.concurrency = concurrency
        self._contracts: dict[str, Contract] = {}
        # Its threads start when the first synchronous handler runs.
        threads = ThreadPoolExecutor(concurrency, thread_name_prefix=f"countermand-{name}")
        self._runner = Runner(self._contracts, inbox, threads=threads, clock=clock, clock_skew_ms=clock_skew_ms)

    @property
    def actions(self) -> dict[str, bool]:
        """The commands that it handles, by their names on the wire, and whether it can undo each of them."""
        return {name: contract.compensation is not None for name, contract in self._contracts.items()}

    @property
    def probed(self) -> frozenset[str]:
        """The commands of which it can find out what became of them, by their names on the wire."""
        return frozenset(name for name, contract in self._contracts.items() if contract.probe is not None)

    def handles(self, contract: type[C]) -> Handles[C]:
        """Registers what does this command: `async def (command, context) -> result`.

        The function may be synchronous, and is then run in a thread. It raises `Rejected` for a business no and
        `Retry` to be asked again; whatever else it raises is a failure, which is tried again by the step's policy.

        Raises:
            DefinitionError: says what to write instead.
        """
        entry = self._contract(contract)

        def register(function: Callable[..., Any]) -> None:
            if entry.action is not None:
                raise DefinitionError(contract.__name__, f"{self.name} has a handler for it already; keep one of them")
            entry.action = self._handler(contract, function, ("command", "context"))

        return Handles(register)

    def compensates(self, contract: type[C]) -> Compensates[C]:
        """Registers what undoes this command: `async def (command, result or None, context) -> None`.

        It runs when the action was done, or when nobody knows whether it was; never when it certainly wasn't. It must
        in the end succeed: whatever it raises, it is called again.

        Raises:
            DefinitionError: says what to write instead.
        """
        entry = self._contract(contract)
        if not entry.compensatable:
            raise DefinitionError(
                contract.__name__,
                "its contract says compensatable=False, so nothing will ever undo it; drop the compensation, or say "
                "compensatable=True in the contract",
            )

        def register(function: Callable[..., Any]) -> None:
            if entry.compensation is not None:
                raise DefinitionError(contract.__name__, f"{self.name} has a compensation for it already; keep one")
            entry.compensation = self._handler(contract, function, ("command", "result", "context"))

        return Compensates(register)

    def probes(self, contract: type[C]) -> Probes[C]:
        """Registers what finds out what became of this command: `async def (command, context) -> result or None`.

        It is asked where an action was given up in doubt and left no outcome on record. None says that nothing was
        done; from then on nothing can be. Of a command without a result it returns whether it was done. Whatever it
        raises says that nobody knows yet: it is asked again.

        Raises:
            DefinitionError: says what to write instead.
        """
        entry = self._contract(contract)
        if entry.result_type is not type(None) and _takes_none(entry.result_type):
            raise DefinitionError(
                contract.__name__,
                "its result may be None, which is what a probe says of an action that wasn't done; let the result be "
                "a type of its own, with a field that may be None",
            )

        def register(function: Callable[..., Any]) -> None:
            if entry.probe is not None:
                raise DefinitionError(contract.__name__, f"{self.name} has a probe for it already; keep one of them")
            entry.probe = self._handler(contract, function, ("command", "context"))

        return Probes(register)

    def check(self) -> None:
        """Whether every contract is complete; asked at start-up.

        Raises:
            DefinitionError: a compensatable contract has no compensation, or a compensation or probe no action.
        """
        for contract in self._contracts.values():
            name = contract.type.__name__
            if contract.action is None:
                other = "probe" if contract.compensation is None else "compensation"
                raise DefinitionError(name, f"has a {other} but no action; write @{self.name}.handles({name})")
            if contract.compensatable and contract.compensation is None:
                raise DefinitionError(
                    name,
                    f"its contract says that it can be compensated; write @{self.name}.compensates({name}), or say "
                    'compensatable=False, because="…" in the contract',
                )

    def announcement(self) -> AnnounceMessage:
        """What this participant tells the coordinators of itself; every call is another instance."""
        return announcement(self.name, self._contracts)

    async def handle(self, command: CommandMessage) -> ReplyMessage:
        """Runs one command through the barrier and its handler, without a broker. Always comes to a reply."""
        answer = await self._runner.answer(command)
        return ReplyMessage(
            saga_id=command.saga_id,
            step=command.step,
            direction=command.direction,
            attempt=command.attempt,
            key=command.key,
            command_id=command.command_id,
            saga_version=command.saga_version,
            participant=self.name,
            outcome=answer.outcome,
            replayed=answer.replayed,
            traceparent=command.traceparent,
        )

    def rehearse(self, *, clock: Clock, interrupt: Interrupt) -> None:
        """For test kits: from now on this is the clock, and `interrupt` may end the process by what it raises."""
        self._runner.rehearse(RehearsedInbox(self.inbox, interrupt), clock)

    @contextlib.asynccontextmanager
    async def running(
        self,
        amqp_url: str,
        *,
        topology: Topology | None = None,
        prefetch: int | None = None,
        ready_s: float = READY_S,
        drain_s: float = DRAIN_S,
        ready_file: str | PathLike[str] | None = None,
    ) -> AsyncIterator[Runtime]:
        """Handles commands while the context is open; on leaving it, finishes what runs within `drain_s`.

        `prefetch` bounds the commands that are here and unanswered; twice the concurrency unless given. `ready_file` is
        touched every second while it is ready, and isn't there otherwise: for a health check from outside.

        Raises:
            DefinitionError: a contract is incomplete.
            BrokerUnavailable: the broker wasn't reached within `ready_s`.
            SettingsError: `ready_file` can't be written.
        """
        self.check()
        runtime = Runtime(self, amqp_url, topology=topology or Topology(), prefetch=prefetch or 2 * self.concurrency)
        async with keep_ready_file(ready_file, lambda: runtime.ready):
            try:
                await runtime.start(ready_s)
                yield runtime
            finally:
                await runtime.stop(drain_s)

    async def run(
        self,
        amqp_url: str,
        *,
        topology: Topology | None = None,
        prefetch: int | None = None,
        ready_s: float = READY_S,
        drain_s: float = DRAIN_S,
        ready_file: str | PathLike[str] | None = None,
        install_signal_handlers: bool = False,
    ) -> None:
        """Handles commands until it is cancelled; with `install_signal_handlers`, until SIGTERM or SIGINT as well.

        Raises what `running` raises.
        """
        stop = asyncio.Event()
        running = self.running(
            amqp_url, topology=topology, prefetch=prefetch, ready_s=ready_s, drain_s=drain_s, ready_file=ready_file
        )
        with _stopped_by_signals(stop) if install_signal_handlers else contextlib.nullcontext():
            async with running:
                await stop.wait()

    def _contract(self, contract: type[Any]) -> Contract:
        if not is_command(contract):
            raise DefinitionError(
                getattr(contract, "__name__", repr(contract)),
                f"not a command; write class {getattr(contract, '__name__', '…')}(Command[Result], "
                f'participant="{self.name}"), or @command(participant="{self.name}") above a dataclass or a model',
            )
        info: CommandInfo = command_info(contract)
        if info.participant != self.name:
            raise DefinitionError(
                contract.__name__,
                f"belongs to the participant {info.participant!r}, and this is {self.name!r}; register it there, or "
                f'say participant="{self.name}" in the contract',
            )
        for type_ in (contract, info.result_type):
            shape_of(type_, contract.__name__)
        entry = self._contracts.setdefault(info.name, Contract(contract, info.result_type, info.compensatable))
        if entry.type is not contract:
            raise DefinitionError(
                contract.__name__, f'{entry.type.__name__} is {info.name!r} on the wire too; say name="…" in one'
            )
        return entry

    def _handler(self, contract: type[Any], function: Callable[..., Any], parameters: tuple[str, ...]) -> Handler:
        expected = f"def {getattr(function, '__name__', 'handler')}({', '.join(parameters)})"
        try:
            inspect.signature(function).bind(*parameters)
        except TypeError as error:
            raise DefinitionError(contract.__name__, f"write {expected}: {error}") from error
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  An object whose call is a coroutine.
        )
        if self.inbox.hands_transaction and not is_async:
            raise DefinitionError(
                contract.__name__,
                f"write async {expected}: this inbox lends the handler an asynchronous transaction, which can't be "
                "used from the thread that a synchronous function runs in",
            )
        return Handler(function, is_async)


def _takes_none(result_type: Any) -> bool:
    try:
        decode_body(b"null", result_type)
    except MalformedMessage:
        return False
    return True


@contextlib.contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
