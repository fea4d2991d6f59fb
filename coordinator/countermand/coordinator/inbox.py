"""The coordinator inbox: takes what the broker brings, in natural batches, down the one path."""

import asyncio
from collections.abc import Sequence

import structlog

from countermand.coordinator.announcements import Announcements
from countermand.coordinator.core import Plan
from countermand.coordinator.core.draft import Addressed
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.gates.path import GatePath
from countermand.coordinator.intake import GateItem, Item, Unreadable, read
from countermand.coordinator.outbox import Outbox
from countermand.coordinator.ports import MessageSource
from countermand.coordinator.process import OnePath
from countermand.coordinator.sending import Sender
from countermand.coordinator.telemetry import Counters
from countermand.schemas.errors import StoreUnavailable
from countermand.schemas.messages import AnnounceMessage, Answer, DefineMessage
from countermand.wire import Delivery, dead_copy

log = structlog.get_logger(__name__)


class Inbox:
    """One lane of the coordinator inbox. Several lanes share a source, so that one waits while another computes."""

    def __init__(
        self,
        source: MessageSource,
        path: OnePath,
        definitions: Definitions,
        sender: Sender,
        outbox: Outbox,
        counters: Counters,
        *,
        announcements: Announcements,
        gates: GatePath,
        batch_max: int,
    ) -> None:
        self._source = source
        self._announcements = announcements
        self._gates = gates
        self._path = path
        self._definitions = definitions
        self._sender = sender
        self._outbox = outbox
        self._counters = counters
        self._batch_max = batch_max

    async def run(self) -> None:
        """Takes batches until the source is closed or this task is cancelled."""
        while True:
            await self.take(await self._source.next_batch(self._batch_max))

    async def take(self, deliveries: list[Delivery]) -> None:
        """Carries one batch through and settles it.

        If a fault of ours stops it, each delivery is tried alone, so that only the guilty one is given back to the
        broker, which brings it again up to a limit.
        """
        try:
            await self._take(deliveries)
        except (Exception, asyncio.CancelledError) as error:
            _raise_if_stopped(error)
            log.exception("batch_failed", deliveries=len(deliveries))
            self._counters.count("batches_failed")
            for delivery in deliveries:
                await self._take_alone(delivery)

    async def _take_alone(self, delivery: Delivery) -> None:
        try:
            await self._take([delivery])
        except (Exception, asyncio.CancelledError) as error:
            _raise_if_stopped(error)
            log.exception("delivery_failed", type=delivery.type, saga_id=delivery.correlation_id)
            self._counters.count("deliveries_failed")
            await self._source.release([delivery])

    async def _take(self, deliveries: list[Delivery]) -> None:
        items: list[Item] = []
        unreadable: list[Unreadable] = []
        announced: list[Delivery] = []
        between: list[GateItem] = []
        for delivery in deliveries:
            match read(delivery):
                case Item() as item:
                    items.append(item)
                case GateItem() as item_between:
                    between.append(item_between)
                case Unreadable() as fault:
                    unreadable.append(fault)
                case DefineMessage() as define:
                    await self._define(delivery, define)
                case AnnounceMessage() as announcement:
                    self._announcements.put(announcement)
                    announced.append(delivery)
        self._counters.count("deliveries", len(deliveries))
        self._counters.count("batches")
        await self._source.acknowledge(announced)
        if between:
            await self._gates.run(between)
            await self._source.acknowledge([item.delivery for item in between])
        aside = await self._path.run(items) if items else []
        await self._bury(unreadable)
        await self._source.dead_letter([item.delivery for item in aside if item.delivery is not None])
        put_aside = {id(item.delivery) for item in aside}
        settled = [item.delivery for item in items if item.delivery is not None]
        await self._source.acknowledge([each for each in settled if id(each) not in put_aside])

    async def _define(self, delivery: Delivery, message: DefineMessage) -> None:
        answer, plan = await self._registered(message)
        if plan is not None:
            await self._sender.declare_participants(plan.participants)
        told = self._outbox.answer(Addressed(message.reply_to, answer)) if message.reply_to else None
        await self._sender.send([told] if told is not None else [])
        await self._source.acknowledge([delivery])

    async def _registered(self, message: DefineMessage) -> tuple[Answer, Plan | None]:
        while True:
            try:
                return await self._definitions.register(message)
            except StoreUnavailable as error:
                # As on the one path, the batch waits here. Given back, it would use up its deliveries and be dead.
                await self._path.wait_for_store(error)

    async def _bury(self, unreadable: Sequence[Unreadable]) -> None:
        """Moves what can't be read to the dead-letter queue, with the reason where the message has room for one."""
        for fault in unreadable:
            self._counters.count("messages_malformed")
            log.warning("message_malformed", field=fault.field, problem=fault.problem, saga_id=fault.saga_id)
        # A message over a limit is moved by the broker as it is: copying it would be unpacking the bomb.
        whole = [fault.delivery for fault in unreadable if fault.over_limit]
        legible = [fault for fault in unreadable if not fault.over_limit]
        dead = self._outbox.topology.dead_exchange
        copies = [
            dead_copy(fault.delivery, exchange=dead, reason=f"{fault.field}: {fault.problem}") for fault in legible
        ]
        nowhere = {each.index for each in await self._sender.send(copies)}
        # What can't be sent again (a name that is too long, say) goes the same way, and its reason stands in the log.
        whole += [fault.delivery for place, fault in enumerate(legible) if place in nowhere]
        await self._source.acknowledge([fault.delivery for place, fault in enumerate(legible) if place not in nowhere])
        await self._source.dead_letter(whole)


def _raise_if_stopped(error: BaseException) -> None:
    """Raises a cancellation that somebody asked for; a lost connection can surface as one that nobody did."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
