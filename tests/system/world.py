"""A small world for whole-system tests: one saga, its contracts, and two ways to play its participants.

`Wire` plays them by hand, so that a test decides what is answered, when and how often. `Shop` runs real participants,
whose effects are counted in a ledger that outlives them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

import msgspec

from countermand.coordinator.settings import Settings
from countermand.participants import saga as authoring
from countermand.participants.context import Context
from countermand.participants.errors import Rejected, Retry
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.participant import Participant
from countermand.participants.saga import Saga, parallel, pivot, saga, step
from countermand.schemas.contract import Command
from countermand.schemas.envelope import Envelope, Incoming, read_command, write_reply
from countermand.schemas.identifiers import Direction, inbox_key
from countermand.schemas.messages import CommandMessage, ReplyMessage, ReplyOutcome, Succeeded
from countermand.schemas.topology import Topology
from countermand.wire import Confirmed, Consumer, Message, Publisher

PARTICIPANTS = ("stock", "bank", "carrier")


class Order(msgspec.Struct, frozen=True):
    """`moods` says how each step's participant takes it, for `Shop`: "fine", "rejects", "fails once", "hangs once"."""

    id: str
    moods: dict[str, str] = {}


class Reserved(msgspec.Struct, frozen=True):
    reservation: str


class Paid(msgspec.Struct, frozen=True):
    payment: str


class Receipt(msgspec.Struct, frozen=True):
    order: str
    payment: str


class Reserve(Command[Reserved], participant="stock"):
    order: str
    mood: dict[str, str]


class Pay(Command[Paid], participant="bank"):
    order: str
    reservation: str
    mood: dict[str, str]


class Quote(Command[None], participant="carrier", compensatable=False, because="a quote binds nobody"):
    order: str
    mood: dict[str, str]


class Capture(Command[None], participant="bank", compensatable=False, because="the pivot"):
    order: str
    mood: dict[str, str]


class Ship(Command[None], participant="carrier"):
    order: str
    mood: dict[str, str]


def trade(
    *,
    timeout: str = "5s",
    attempts: int = 3,
    backoff: str = "20ms",
    deadline: str = "60s",
    undo_attempts: int | None = 40,
) -> Saga[Order, Receipt]:
    """Reserve, then pay and quote side by side, then ship: all of it before any pivot."""
    retry = authoring.Retry(attempts=attempts, backoff=backoff, backoff_max="1s")
    undo = authoring.Retry(attempts=undo_attempts, backoff=backoff, backoff_max="1s")

    @saga("trade", version=1, deadline=deadline)
    def definition(order: Order) -> Receipt:
        reserved = step(Reserve(order=order.id, mood=order.moods), timeout=timeout, retry=retry, undo_retry=undo)
        with parallel():
            paid = step(
                Pay(order=order.id, reservation=reserved.reservation, mood=order.moods),
                timeout=timeout,
                retry=retry,
                undo_retry=undo,
            )
            step(Quote(order=order.id, mood=order.moods), timeout=timeout, retry=retry)
        step(Ship(order=order.id, mood=order.moods), timeout=timeout, retry=retry, undo_retry=undo)
        return Receipt(order=order.id, payment=paid.payment)

    return definition


def sale(*, timeout: str = "5s", attempts: int = 3, deadline: str = "60s") -> Saga[Order, Receipt]:
    """Reserve, pay, then the pivot, then ship."""
    retry = authoring.Retry(attempts=attempts, backoff="20ms", backoff_max="1s")

    @saga("sale", version=1, deadline=deadline)
    def definition(order: Order) -> Receipt:
        reserved = step(Reserve(order=order.id, mood=order.moods), timeout=timeout, retry=retry)
        paid = step(
            Pay(order=order.id, reservation=reserved.reservation, mood=order.moods), timeout=timeout, retry=retry
        )
        pivot(Capture(order=order.id, mood=order.moods), timeout=timeout, retry=retry)
        step(Ship(order=order.id, mood=order.moods), timeout=timeout, retry=retry)
        return Receipt(order=order.id, payment=paid.payment)

    return definition


RESULTS: dict[str, ReplyOutcome] = {
    "reserve": Succeeded(msgspec.Raw(b'{"reservation":"r-1"}')),
    "pay": Succeeded(msgspec.Raw(b'{"payment":"p-1"}')),
}


def settings(amqp_url: str, redis_url: str, namespace: str, **changes: Any) -> Settings:
    """A coordinator that is quick to fire and to repair, so that tests are short."""
    quick: dict[str, Any] = {
        "amqp_url": amqp_url,
        "redis_url": redis_url,
        "prefix": namespace,
        "namespace": namespace,
        "partitions": 4,
        "poll_ms": 20,
        "lease_ms": 500,
        "guard_ms": 500,
        "sweep_ms": 200,
    }
    return Settings(**(quick | changes))


class Wire:
    """Plays every participant by hand."""

    def __init__(self, amqp_url: str, namespace: str, *, without: str | None = None) -> None:
        self.topology = Topology(namespace)
        declarations = self.topology.common()
        played = [name for name in PARTICIPANTS if name != without]
        for name in played:
            declarations += self.topology.participant(name)
        queues = [self.topology.participant_queue(name) for name in played]
        self.publisher = Publisher(amqp_url, name="wire-publisher", declarations=declarations)
        self._consumer = Consumer(
            amqp_url, name="wire-consumer", queues=queues, prefetch=1_000, declarations=declarations
        )
        self._here: list[CommandMessage] = []

    async def __aenter__(self) -> Self:
        await self.publisher.start()
        await self._consumer.start()
        await self.publisher.wait_ready(20)
        await self._consumer.wait_ready(20)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.close()
        await self.publisher.close()

    async def command(
        self, step: str, direction: Direction = "do", *, attempt: int | None = None, timeout_s: float = 10
    ) -> CommandMessage:
        """The next command for a step, whatever else has come before it."""
        async with asyncio.timeout(timeout_s):
            while True:
                for command in self._here:
                    wanted = attempt is None or command.attempt == attempt
                    if (command.step, command.direction) == (step, direction) and wanted:
                        self._here.remove(command)
                        return command
                deliveries = await self._consumer.next_batch(100)
                self._here += [read_command(Incoming(each.headers, each.body)) for each in deliveries]
                await self._consumer.acknowledge(deliveries)

    def waiting(self) -> list[tuple[str, Direction, int]]:
        """The commands that have come and were not asked for yet."""
        return [(each.step, each.direction, each.attempt) for each in self._here]

    async def reply(self, command: CommandMessage, outcome: ReplyOutcome | None = None, *, times: int = 1) -> None:
        """Answers a command; a success with the step's usual result unless another outcome is given."""
        outcome = outcome or (RESULTS.get(command.step) if command.direction == "do" else None) or Succeeded()
        await self.send(command.saga_id, *[write_reply(reply_to(command, outcome))] * times)

    async def send(self, saga_id: str, *envelopes: Envelope) -> None:
        """Puts messages into the coordinator inbox."""
        messages = [
            Message(
                exchange=self.topology.inbox_exchange,
                routing_key=inbox_key(saga_id),
                body=each.body,
                headers=each.headers,
                type=each.type,
                correlation_id=each.correlation_id,
                reply_to=each.reply_to,
            )
            for each in envelopes
        ]
        outcomes = await self.publisher.publish(messages)
        assert all(isinstance(outcome, Confirmed) for outcome in outcomes), outcomes

    async def go_on(self, *steps: str, direction: Direction = "do") -> None:
        """Answers the next command of each step with success, one after another."""
        for name in steps:
            await self.reply(await self.command(name, direction))


def reply_to(command: CommandMessage, outcome: ReplyOutcome) -> ReplyMessage:
    """A genuine reply to a command."""
    return ReplyMessage(
        saga_id=command.saga_id,
        step=command.step,
        direction=command.direction,
        attempt=command.attempt,
        key=command.key,
        command_id=command.command_id,
        saga_version=command.saga_version,
        participant=command.participant,
        outcome=outcome,
    )


class Shop:
    """Real participants with barriers that outlive them, and a ledger of every effect: (saga/step, direction).

    `broken` are the steps whose compensation fails for now.
    """

    def __init__(self, amqp_url: str, namespace: str) -> None:
        self.effects: Counter[tuple[str, Direction]] = Counter()
        self.open = asyncio.Event()
        self.broken: set[str] = set()
        self._amqp_url = amqp_url
        self._topology = Topology(namespace)
        self._seen: Counter[str] = Counter()
        self._participants = [Participant(name, inbox=MemoryInbox()) for name in PARTICIPANTS]
        stock, bank, carrier = self._participants
        self._play(stock, Reserve, Reserved("r-1"))
        self._play(bank, Pay, Paid("p-1"))
        self._play(bank, Capture, None)
        self._play(carrier, Quote, None)
        self._play(carrier, Ship, None)

    @asynccontextmanager
    async def working(self) -> AsyncIterator["Shop"]:
        """Runs the participants while the block lasts."""
        async with AsyncExitStack() as stack:
            for participant in self._participants:
                await stack.enter_async_context(
                    participant.running(self._amqp_url, topology=self._topology, drain_s=1.0)
                )
            yield self

    def participant(self, name: str) -> Participant:
        return next(each for each in self._participants if each.name == name)

    def net(self, saga_id: str, step_name: str) -> int:
        """How often the step stands done: 1, or 0 if it was undone or never done."""
        key = f"{saga_id}/{step_name}"
        return self.effects[key, "do"] - self.effects[key, "undo"]

    def most(self) -> int:
        """The greatest number of times that any one effect was applied."""
        return max(self.effects.values(), default=0)

    def _play(self, participant: Participant, contract: type[Command[Any]], result: Any) -> None:
        async def action(command: Any, context: Context) -> Any:
            await self._feel(command.mood.get(context.step, "fine"), context)
            self.effects[context.key, "do"] += 1
            return result

        async def compensation(command: Any, result: Any, context: Context) -> None:
            if context.step in self.broken:
                raise OSError("the ledger is locked")
            self.effects[context.key, "undo"] += 1

        register: Callable[[Any], Any] = participant.handles(contract)
        register(action)
        if contract not in (Quote, Capture):
            register = participant.compensates(contract)
            register(compensation)

    async def _feel(self, mood: str, context: Context) -> None:
        self._seen[context.key] += 1
        first = self._seen[context.key] == 1
        if mood == "rejects":
            raise Rejected("unwilling", "not today")
        if mood == "fails once" and first:
            raise Retry(after_s=0.01)
        if mood == "hangs once" and first:
            await self.open.wait()
