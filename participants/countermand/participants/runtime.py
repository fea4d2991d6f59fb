"""A participant on the broker: commands in, replies out, in natural batches.

The rules:
- Settle last: a command is acknowledged when the broker has confirmed its reply, never before. A lost
  acknowledgement costs a duplicate, which the inbox answers; a lost command would cost an attempt.
- Handlers run side by side, each in a task of its own; replies go out with whatever else is finished at that moment,
  so a slow handler keeps no quick one waiting.
- A reply without a confirm is sent until it is confirmed. Twice is harmless, never isn't.
- The same attempt delivered again while it runs here is settled by the same reply: run a second time, it would only
  be told that it is in progress.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from countermand.participants.announcing import Announcer
from countermand.participants.logging import (
    COMMAND_DEAD_LETTERED,
    LOOP_FAILED,
    PARTICIPANT_DRAINED_PARTLY,
    PARTICIPANT_STARTED,
    PARTICIPANT_STOPPED,
    REPLIES_NOT_CONFIRMED,
    get_logger,
    log_answered,
    place_of,
)
from countermand.schemas.envelope import Incoming, read_command, saga_id_of, write_reply
from countermand.schemas.errors import BrokerUnavailable, LimitExceeded, MalformedMessage
from countermand.schemas.identifiers import inbox_key, is_step_key
from countermand.schemas.messages import CommandMessage, ReplyMessage
from countermand.schemas.topology import Topology
from countermand.wire import (
    Confirmed,
    Consumer,
    ConsumerClosed,
    Delivery,
    Message,
    Publisher,
    PublishOutcome,
    Returned,
    dead_copy,
    end,
)

if TYPE_CHECKING:
    from countermand.participants.participant import Participant

READY_S: Final = 30.0
DRAIN_S: Final = 30.0
# Replies still get this long to be confirmed when the handlers have used up the time to drain.
LAST_REPLIES_S: Final = 5.0
RESEND_FIRST_S: Final = 0.1
RESEND_CAP_S: Final = 5.0
# A loop of ours that fails has a bug; trying again at once would only fill the log.
LOOP_PAUSE_S: Final = 1.0

# What tells one attempt from another, even if somebody made its command id up.
Identity = tuple[str, str, int, str]


class Attempt:
    """One attempt from its delivery to its confirmed reply. Delivered again meanwhile, it has several deliveries."""

    __slots__ = ("command", "deliveries", "identity", "reply", "task")

    def __init__(self, command: CommandMessage, delivery: Delivery) -> None:
        self.command = command
        self.identity: Identity = (command.key, command.direction, command.attempt, command.command_id)
        self.deliveries = [delivery]
        self.task: asyncio.Task[None] | None = None
        self.reply: Message | None = None


class Runtime:
    """One participant's consumer, publisher and running handlers. Made by `Participant.running`.

    The counters are for metrics and tests: since the start, `commands_answered` counts the replies that were
    confirmed, `commands_dead_lettered` the messages that nobody could read.
    """

    def __init__(self, participant: "Participant", amqp_url: str, *, topology: Topology, prefetch: int) -> None:
        self._participant = participant
        self._topology = topology
        self._log = get_logger(participant=participant.name)
        declarations = topology.common() + topology.participant(participant.name)
        self._publisher = Publisher(amqp_url, name=f"{participant.name} replies", declarations=declarations)
        self._consumer = Consumer(
            amqp_url,
            name=f"{participant.name} commands",
            queues=[topology.participant_queue(participant.name)],
            prefetch=prefetch,
            declarations=declarations,
        )
        self._announcer = Announcer(participant.announcement(), self._publisher, topology)
        self._announcing: asyncio.Task[None] | None = None
        self._taking: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._running: dict[Identity, Attempt] = {}
        # What has its reply: ready to be sent, and sent without a confirm.
        self._finished: list[Attempt] = []
        self._unconfirmed: list[Attempt] = []
        self._slot_freed = asyncio.Event()
        self._work_finished = asyncio.Event()
        self._all_confirmed = asyncio.Event()
        self._all_confirmed.set()
        self._resend_s = RESEND_FIRST_S
        self.commands_answered = 0
        self.commands_dead_lettered = 0

    @property
    def ready(self) -> bool:
        """Whether commands are taken and replies could go out now."""
        return self._consumer.ready and self._publisher.ready

    @property
    def handlers_running(self) -> int:
        return len(self._running)

    async def start(self, ready_s: float = READY_S) -> None:
        """Connect and begin to take commands. Raises BrokerUnavailable after `ready_s`."""
        await self._publisher.start()
        await self._consumer.start()
        await self._publisher.wait_ready(ready_s)
        await self._consumer.wait_ready(ready_s)
        self._taking = asyncio.create_task(self._supervised(self._take_commands))
        self._sending = asyncio.create_task(self._supervised(self._send_replies))
        self._announcing = asyncio.create_task(self._supervised(self._announcer.run))
        self._log.info(PARTICIPANT_STARTED)

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Take no more commands, finish what runs within `drain_s`, send the replies, close.

        What isn't finished by then is cancelled and stays with the broker, which gives it to another consumer.
        The thread of a synchronous handler can't be cancelled: its key stays taken until the thread has ended.
        """
        deadline = asyncio.get_running_loop().time() + drain_s
        try:
            await end(_present(self._taking, self._announcing))
            await self._announcer.say_goodbye()
            await self._consumer.pause()
            await self._finish_handlers(deadline)
            await self._finish_replies(deadline)
        finally:
            await end(_present(self._announcing, self._sending, *(attempt.task for attempt in self._running.values())))
            await self._consumer.close()
            await self._publisher.close()
            self._log.info(PARTICIPANT_STOPPED)

    async def _finish_handlers(self, deadline: float) -> None:
        if tasks := [attempt.task for attempt in self._running.values() if attempt.task is not None]:
            left_s = max(0, deadline - asyncio.get_running_loop().time())
            _, unfinished = await asyncio.wait(tasks, timeout=left_s)
            if unfinished:
                self._log.warning(PARTICIPANT_DRAINED_PARTLY, handlers=len(unfinished))

    async def _finish_replies(self, deadline: float) -> None:
        until = max(deadline, asyncio.get_running_loop().time() + LAST_REPLIES_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._all_confirmed.wait()

    # --- commands

    async def _take_commands(self) -> None:
        concurrency = self._participant.concurrency
        while True:
            while len(self._running) >= concurrency:
                self._slot_freed.clear()
                await self._slot_freed.wait()
            try:
                deliveries = await self._consumer.next_batch(concurrency - len(self._running))
            except ConsumerClosed:
                return
            await self._begin(deliveries)

    async def _begin(self, deliveries: Sequence[Delivery]) -> None:
        unreadable: list[tuple[Delivery, MalformedMessage]] = []
        for delivery in deliveries:
            try:
                command = self._read(delivery)
            except MalformedMessage as error:
                self._log.error(COMMAND_DEAD_LETTERED, saga_id=error.saga_id, field=error.field, code=error.code)
                unreadable.append((delivery, error))
                continue
            attempt = Attempt(command, delivery)
            if (running := self._running.setdefault(attempt.identity, attempt)) is not attempt:
                running.deliveries.append(delivery)
                continue
            attempt.task = asyncio.create_task(self._run(attempt))
        if unreadable:
            await self._bury(unreadable)

    def _read(self, delivery: Delivery) -> CommandMessage:
        """The command, if it is one and it is ours. Raises MalformedMessage, which names the saga if it can."""
        incoming = Incoming(delivery.headers, delivery.body, delivery.content_type or None, delivery.reply_to)
        try:
            command = read_command(incoming)
            if command.participant != self._participant.name:
                raise MalformedMessage("ce-sagaparticipant", f"{command.participant!r} is somebody else")
            if not is_step_key(command.key, command.saga_id, command.step):
                # A key of its own would let a message stand in the way of another saga.
                raise MalformedMessage("ce-sagakey", "isn't the key of this saga and step")
        except MalformedMessage as error:
            error.saga_id = saga_id_of(incoming)
            raise
        return command

    async def _run(self, attempt: Attempt) -> None:
        command = attempt.command
        try:
            reply = await self._participant.handle(command)
            attempt.reply = self._message(reply)
        except Exception as error:  # A bug of ours: the message must neither be lost nor come round for ever.
            self._log.error(
                COMMAND_DEAD_LETTERED, saga_id=command.saga_id, code=type(error).__name__, at=place_of(error)
            )
            await self._dead_letter(attempt.deliveries)
        else:
            self._finished.append(attempt)
            self._all_confirmed.clear()
            self._work_finished.set()
            log_answered(self._log, reply)
        finally:
            del self._running[attempt.identity]
            self._slot_freed.set()

    async def _bury(self, unreadable: Sequence[tuple[Delivery, MalformedMessage]]) -> None:
        """Dead-letters what can't be read, with the reason unless it is over a limit: such a thing isn't copied."""
        dead = self._topology.dead_exchange
        legible = [(delivery, error) for delivery, error in unreadable if not isinstance(error, LimitExceeded)]
        copies = [dead_copy(delivery, exchange=dead, reason=str(error)) for delivery, error in legible]
        outcomes = await self._publisher.publish(copies) if copies else []
        told = [
            delivery for (delivery, _), outcome in zip(legible, outcomes, strict=True) if isinstance(outcome, Confirmed)
        ]
        self.commands_dead_lettered += len(told)
        await self._consumer.acknowledge(told)
        await self._dead_letter([delivery for delivery, _ in unreadable if delivery not in told])

    async def _dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        self.commands_dead_lettered += len(deliveries)
        await self._consumer.dead_letter(deliveries)

    # --- replies

    async def _send_replies(self) -> None:
        while True:
            while not self._finished:
                self._work_finished.clear()
                await self._work_finished.wait()
            batch, self._finished = self._finished, []
            try:
                outcomes = await self._publisher.publish([a.reply for a in batch if a.reply is not None])
            except BaseException:  # Whatever ended it, also a cancellation, no reply is forgotten; it is passed on.
                self._finished = batch + self._finished
                raise
            await self._settle(batch, outcomes)

    async def _settle(self, batch: Sequence[Attempt], outcomes: Sequence[PublishOutcome]) -> None:
        confirmed: list[Delivery] = []
        others: list[PublishOutcome] = []
        for attempt, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Confirmed):
                confirmed += attempt.deliveries
                self.commands_answered += 1
            else:
                others.append(outcome)
                self._unconfirmed.append(attempt)
        await self._consumer.acknowledge(confirmed)
        if others:
            await self._resend_later(others)
        elif not self._finished and not self._unconfirmed:
            self._resend_s = RESEND_FIRST_S
            self._all_confirmed.set()

    async def _resend_later(self, outcomes: Sequence[PublishOutcome]) -> None:
        self._log.warning(REPLIES_NOT_CONFIRMED, replies=len(outcomes), outcome=repr(outcomes[0]))
        if any(isinstance(outcome, Returned) for outcome in outcomes):
            # Somebody deleted the coordinator inbox. Declared again, it keeps the replies until a coordinator is back.
            with contextlib.suppress(BrokerUnavailable):
                await self._publisher.declare(self._topology.common())
        asyncio.get_running_loop().call_later(self._resend_s, self._resend)
        self._resend_s = min(RESEND_CAP_S, 2 * self._resend_s)

    def _resend(self) -> None:
        # An attempt that was delivered again meanwhile has two entries with the same reply: one is enough.
        merged: dict[Identity, Attempt] = {}
        for attempt in self._unconfirmed:
            if (first := merged.setdefault(attempt.identity, attempt)) is not attempt:
                first.deliveries += attempt.deliveries
        self._unconfirmed.clear()
        self._finished += merged.values()
        self._work_finished.set()

    def _message(self, reply: ReplyMessage) -> Message:
        envelope = write_reply(reply)
        return Message(
            exchange=self._topology.inbox_exchange,
            routing_key=inbox_key(reply.saga_id),
            body=envelope.body,
            headers=envelope.headers,
            content_type=envelope.content_type,
            type=envelope.type,
            correlation_id=envelope.correlation_id,
        )

    async def _supervised(self, loop: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await loop()
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                problem: BaseException = error
            except Exception as error:  # One bug must not leave a participant that looks alive and does nothing.
                problem = error
            self._log.error(LOOP_FAILED, error=type(problem).__name__, at=place_of(problem))
            self._resend()
            await asyncio.sleep(LOOP_PAUSE_S)


def _present(*tasks: asyncio.Task[None] | None) -> list[asyncio.Task[None]]:
    return [task for task in tasks if task is not None]
