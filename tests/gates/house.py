"""Coordinators on a store and a broker in memory: messages arrive in the order of sending, time moves when told to."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from countermand.coordinator.announcements import Announcements
from countermand.coordinator.clock import StoreClock
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.gates.path import GatePath
from countermand.coordinator.gates.ports import Change
from countermand.coordinator.inbox import Inbox
from countermand.coordinator.outbox import Outbox
from countermand.coordinator.process import OnePath
from countermand.coordinator.sending import Sender
from countermand.coordinator.store.memory import MemorySagaStore
from countermand.coordinator.store.memory_gates import MemoryGateStore
from countermand.coordinator.telemetry import Counters
from countermand.coordinator.testing.world import delivered
from countermand.coordinator.wakeups import WakeUps
from countermand.schemas.coordinating import write_coordination, write_event
from countermand.schemas.coordination import EventMessage, ReleaseMessage, SubscribeMessage
from countermand.schemas.envelope import (
    Envelope,
    Incoming,
    read_answer,
    read_command,
    read_reply,
    read_request,
    write_command,
    write_reply,
    write_request,
)
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.identifiers import inbox_key
from countermand.schemas.messages import (
    Answer,
    CancelMessage,
    CommandMessage,
    DefineMessage,
    Outcome,
    ReplyMessage,
    SignalMessage,
    StartMessage,
)
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Delivery, Message, PublishOutcome

NOON_MS: Final = 1_769_860_800_000
RETENTION_MS: Final = 10**12

Trouble = Literal["crash before", "crash after", "unavailable before", "unavailable after"]
Stock = Callable[[CommandMessage], Awaitable[ReplyMessage]]


class Crashed(BaseException):
    """The coordinator's process ends here. No `Exception`: nobody may catch it and go on."""


class FragileGates(MemoryGateStore):
    """A store whose next commit meets a trouble: before it is made, or after."""

    trouble: Trouble | None = None
    commits = 0
    # Called once, when an answer has been lost.
    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        trouble, self.trouble = self.trouble, None
        if trouble is not None and trouble.endswith("before"):
            raise _raised(trouble)
        self.commits += 1
        stand = await super().commit(changes)
        if trouble is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                await meanwhile()
            raise _raised(trouble)
        return stand


def _raised(trouble: Trouble) -> BaseException:
    return Crashed() if trouble.startswith("crash") else StoreUnavailable("the test took it away")


class Broker:
    """Takes everything, and keeps it in order."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        self.sent += messages
        return [Confirmed() for _ in messages]

    async def next_batch(self, limit: int) -> list[Delivery]:
        """Nobody waits here: each delivery is given to `Inbox.take`."""
        return []

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing comes again."""

    async def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        assert not deliveries, f"dead letters: {[each.type for each in deliveries]}"

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        assert not deliveries, f"given back: {[each.type for each in deliveries]}"


class House:
    """One coordinator after another on the same store and broker."""

    def __init__(self) -> None:
        self.at_ms = NOON_MS
        self.topology = Topology()
        self.queue = self.topology.client_queue("shop")
        self.broker = Broker()
        self.store = MemorySagaStore(retention_ms=RETENTION_MS, now_ms=self.now_ms)
        self.gates = self.store.gates = FragileGates(self.now_ms)
        self.inbox = self.another()
        self._gone_round = 0

    def now_ms(self) -> int:
        return self.at_ms

    def another(self) -> Inbox:
        """The inbox of a coordinator that has just started."""
        counters = Counters()
        clock = StoreClock(counters, tolerance_ms=RETENTION_MS, hold_ms=0, steady_ms=self.now_ms)
        clock.set(self.at_ms)
        definitions, outbox = Definitions(self.store), Outbox(self.topology)
        sender = Sender(self.broker, self.topology, counters, _declared)
        path = OnePath(self.store, sender, definitions, clock, outbox, counters, guard_ms=1_000)
        self.wake_ups = WakeUps(self.store, path, clock, counters, batch_max=100, lease_ms=1_000, poll_ms=1)
        return Inbox(
            self.broker,
            path,
            definitions,
            sender,
            outbox,
            counters,
            announcements=Announcements(self.store, counters),
            gates=GatePath(self.gates, sender, clock, outbox, counters),
            batch_max=100,
        )

    async def bring(self, *messages: object) -> None:
        """A batch, as the broker brings it; brought again after a crash, as the broker does."""
        deliveries = [delivered(_written(message)) for message in messages]
        try:
            await self.inbox.take(deliveries)
        except Crashed:
            self.inbox = self.another()
            for each in deliveries:
                each.redelivered = True
            await self.inbox.take(deliveries)

    async def go_round(self, stock: Stock) -> None:
        """Lets every message arrive, in the order of sending, until none is on its way."""
        while self._gone_round < len(self.broker.sent):
            message = self.broker.sent[self._gone_round]
            self._gone_round += 1
            if message.exchange == self.topology.commands_exchange:
                await self.bring(await stock(read_command(Incoming(message.headers, message.body))))
            elif message.exchange == self.topology.inbox_exchange:
                await self.inbox.take([delivered(message)])

    async def wait_for_all(self, stock: Stock) -> None:
        """Lets time go by until nothing is due any more."""
        await self.go_round(stock)
        while (due_ms := self.store.next_due_ms()) is not None:
            self.at_ms = max(self.at_ms, due_ms)
            await self.wake_ups.fire_once()
            await self.go_round(stock)

    @property
    def to_sagas(self) -> list[ReplyMessage | SignalMessage]:
        """The replies and signals, read as a coordinator reads them; each went where its saga is found."""
        found: list[ReplyMessage | SignalMessage] = []
        for message in self.broker.sent:
            if message.exchange == self.topology.inbox_exchange:
                incoming = Incoming(message.headers, message.body)
                read = read_reply(incoming) if message.type.startswith("countermand.reply.") else read_request(incoming)
                assert isinstance(read, ReplyMessage | SignalMessage)
                assert message.routing_key == inbox_key(read.saga_id)
                found.append(read)
        return found

    @property
    def answers(self) -> list[Answer]:
        """What clients were told."""
        return [read_answer(Incoming(each.headers, each.body)) for each in self.broker.sent if each.exchange == ""]

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """How sagas ended, by their ids, in the order of ending."""
        return {each.saga_id: each for each in self.answers if isinstance(each, Outcome)}


async def _declared(participant: str) -> None:
    """Every queue is there."""


def _written(message: object) -> Envelope:
    match message:
        case CommandMessage():
            return write_command(message)
        case ReplyMessage():
            return write_reply(message)
        case EventMessage():
            return write_event(message, source="/clients/shop")
        case SubscribeMessage() | ReleaseMessage():
            return write_coordination(message)
        case StartMessage() | CancelMessage() | DefineMessage():
            return write_request(message, source="/clients/shop")
        case _:
            raise TypeError(message)
