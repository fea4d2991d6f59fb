"""A world in memory, on virtual time: coordinators that run the real one path, and participants that are real or not.

What is simulated is the broker, the store and the clock. Every message is one event on the agenda; the next event, or
the next wake-up of the store's due-index, moves the clock. A participant handles a command within one moment: how long
a step takes is told by a trouble, and a handler that sleeps, sleeps for real.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from countermand.coordinator.core.journal import Record
from countermand.coordinator.core.state import Saga
from countermand.coordinator.testing.answering import Answering, SagaDocument, example_results, reply_to
from countermand.coordinator.testing.cast import Cast
from countermand.coordinator.testing.clockwork import Clockwork
from countermand.coordinator.testing.effects import Look
from countermand.coordinator.testing.replica import (
    RETENTION_MS,
    CoordinatorCrashed,
    CrashPoint,
    FragileStore,
    Post,
    Replica,
)
from countermand.coordinator.testing.timeline import Happening, named, outcome_in_words
from countermand.coordinator.testing.troubles import (
    ANSWERS,
    COMMAND_WAYS,
    COORDINATOR_CRASHES,
    PARTICIPANT_CRASHES,
    REPLY_WAYS,
    START,
    Trouble,
    Troubles,
)
from countermand.schemas.definition import decode_definition
from countermand.schemas.envelope import Envelope, Incoming, read_answer, read_command, write_reply, write_request
from countermand.schemas.errors import DefinitionError
from countermand.schemas.messages import (
    Answer,
    CommandMessage,
    Defined,
    DefineMessage,
    Failed,
    Refused,
    Rejected,
    ReplyMessage,
    ReplyOutcome,
    RequestMessage,
    StartMessage,
    Succeeded,
)
from countermand.schemas.topology import DELIVERY_LIMIT, Topology
from countermand.wire import Delivery, Message

CLIENT: Final = "kit"
RESTART_MS: Final = 500  # How long a process that crashed is away.
LATE_MS: Final = 50  # How much too late a command comes that comes too late; or a second copy after the first.
# A saga that has taken so many events without coming to rest goes round in circles.
EVENTS_MAX: Final = 10_000

_POINTS: Final[Mapping[str, CrashPoint]] = {
    "coordinator_crash_before_commit": "before_commit",
    "coordinator_crash_after_commit": "after_commit",
    "coordinator_crash_after_publish": "after_publish",
}


class Unrest(AssertionError):
    """A saga takes event after event without coming to rest."""


class World:
    """One world. Sagas that are started in it share its participants and its clock."""

    def __init__(self, participants: Sequence[Answering] = (), *, seed: int = 0, effects: Look | None = None) -> None:
        self.clockwork = Clockwork(seed)
        self.troubles = Troubles()
        self.happenings: list[Happening] = []
        self.answers: list[Answer] = []
        # Called with the saga and the step of every success of an action that the coordinator has taken.
        self.on_done: list[Callable[[str, str], None]] = []
        self.cast = Cast(participants, effects, self.clockwork.now_ms)
        self._topology = Topology()
        self._store = FragileStore(retention_ms=RETENTION_MS, now_ms=self.clockwork.now_ms)
        self._post = Post(self._routed)
        self._replica = self._new_replica()
        self._held: list[CommandMessage] = []
        self._late: list[ReplyMessage] = []

    def _new_replica(self) -> Replica:
        return Replica(self._store, self._post, self._topology, self.clockwork.now_ms)

    # --- what people ask for

    async def define(self, saga: SagaDocument) -> None:
        """Registers a saga. Participants that nobody gave answer by themselves.

        Raises:
            DefinitionError: the coordinator refuses it; says every finding.
        """
        definition = decode_definition(saga.document)
        answer, _ = await self._replica.definitions.register(DefineMessage("define", saga.document))
        if not isinstance(answer, Defined):
            findings = answer.findings if isinstance(answer, Refused) else ()
            raise DefinitionError(definition.label, "\n  ".join(findings) or str(answer))
        self.cast.fill(definition, example_results(saga, definition))

    async def ask(self, request: RequestMessage, what: str) -> None:
        """Sends a client's request to the coordinator, which takes it at once."""
        self.note("client", what)
        crash = None
        if isinstance(request, StartMessage):
            crash = self.troubles.take(request.saga_id, START, "do", COORDINATOR_CRASHES)
        await self._take(_delivery(write_request(request, source="/kit"), self.reply_queue), crash, "the start")

    @property
    def reply_queue(self) -> str:
        return self._topology.client_queue(CLIENT)

    async def saga(self, saga_id: str) -> Saga | None:
        (loaded,) = await self._store.load([saga_id])
        return None if loaded is None else loaded.saga

    async def history(self, saga_id: str) -> list[Record]:
        return await self._store.history(saga_id, limit=EVENTS_MAX)

    def note(self, who: str, what: str) -> None:
        self.happenings.append(Happening(self.clockwork.elapsed_ms(), who, what))

    # --- time

    async def rest(self, events_max: int = EVENTS_MAX) -> None:
        """Lets time go by until nothing will happen any more.

        Raises:
            Unrest: it never comes to that.
        """
        for _ in range(events_max):
            if not await self._happen(None):
                if not self._held and not self._late:
                    return
                self._release()
        raise Unrest(f"not at rest after {events_max} events")

    async def run_for(self, duration_ms: int) -> None:
        """Lets so much time go by."""
        end_ms = self.clockwork.now_ms() + duration_ms
        for _ in range(EVENTS_MAX):
            if not await self._happen(end_ms):
                self.clockwork.advance_to(end_ms)
                return
        raise Unrest(f"more than {EVENTS_MAX} events within {duration_ms} ms")

    async def _happen(self, until_ms: int | None) -> bool:
        """One event; false if there is none until then."""
        message_ms, due_ms = self.clockwork.next_ms(), self._store.next_due_ms()
        moments = [moment for moment in (message_ms, due_ms) if moment is not None]
        if not moments or (until_ms is not None and min(moments) > until_ms):
            return False
        if due_ms is not None and (message_ms is None or due_ms < message_ms):
            self.clockwork.advance_to(due_ms)
            await self._replica.wake_ups.fire_once()
        else:
            await self.clockwork.take()()
        return True

    # --- the broker

    def _routed(self, message: Message) -> None:
        if message.exchange == self._topology.commands_exchange:
            self._sent(read_command(Incoming(message.headers, message.body)))
        elif message.exchange == "" and message.routing_key == self.reply_queue:
            self.answers.append(read_answer(Incoming(message.headers, message.body)))
        elif message.exchange == self._topology.lifecycle_exchange:
            self._told(message)

    def _told(self, message: Message) -> None:
        """What happened to a saga as a whole stands in the timeline; its steps' replies stand there already."""
        subject, _, happened = message.routing_key.partition(".")[2].partition(".")
        if subject == "saga" and happened != "started":
            data = msgspec.json.decode(message.body)
            why = ", ".join(str(value) for value in data.values() if value) if isinstance(data, dict) else ""
            self.note("coordinator", f"the saga: {happened}" + (f" ({why})" if why else ""))

    def _sent(self, command: CommandMessage) -> None:
        attempt = "" if command.attempt == 1 else f", attempt {command.attempt}"
        self.note("coordinator", f"asks {command.participant} for {named(command.step, command.direction)}{attempt}")
        trouble = self.troubles.take(command.saga_id, command.step, command.direction, COMMAND_WAYS)
        if trouble is not None:
            self.note("trouble", f"{named(command.step, command.direction)}: {trouble.words}")
        match None if trouble is None else trouble.kind:
            case "command_overtaken":
                self._held.append(command)
            case "command_late":
                self._carry(command, self._left_ms(command) + LATE_MS)
            case "command_duplicated":
                self._carry(command, self.clockwork.latency_ms())
                self._carry(command, self.clockwork.latency_ms() + LATE_MS)
            case _:
                self._carry(command, self.clockwork.latency_ms())

    def _carry(self, command: CommandMessage, delay_ms: int, delivery: int = 1) -> None:
        async def arrive() -> None:
            await self._handle(command, delivery)

        self.clockwork.after(delay_ms, arrive)

    def _release(self) -> None:
        """What was held back arrives when nobody waits for it any more."""
        held, self._held = self._held, []
        for command in held:
            self.note("trouble", f"the overtaken command for {named(command.step, command.direction)} arrives at last")
            self._carry(command, self.clockwork.latency_ms())
        late, self._late = self._late, []
        for reply in late:
            self.note("trouble", f"the late reply to {named(reply.step, reply.direction)} arrives at last")
            self._bring(reply, self.clockwork.latency_ms())

    def _overtaking(self, command: CommandMessage) -> list[CommandMessage]:
        """The held commands of this step that this one has overtaken."""
        return [
            each
            for each in self._held
            if (each.saga_id, each.step) == (command.saga_id, command.step)
            and (each.direction, each.attempt) != (command.direction, command.attempt)
        ]

    # --- participants

    async def _handle(self, command: CommandMessage, delivery: int) -> None:
        what = named(command.step, command.direction)
        made_up = self.troubles.take(command.saga_id, command.step, command.direction, ANSWERS)
        if made_up is not None:
            self._reply(reply_to(command, _made_up(made_up)))
            return
        crash = self.troubles.take(command.saga_id, command.step, command.direction, PARTICIPANT_CRASHES)
        reply = await self.cast.handle(command, crash)
        if reply is None:
            when = "" if crash is None else crash.once.removeprefix("participant crashed ")
            self.note(command.participant, f"crashes at {what}, {when}")
            if delivery < DELIVERY_LIMIT:
                self._carry(command, RESTART_MS, delivery + 1)
            else:
                self.note("broker", f"gives {what} up after {delivery} deliveries")
            return
        self._reply(reply)
        for held in self._overtaking(command):
            self._held.remove(held)
            self.note("trouble", f"the overtaken command for {named(held.step, held.direction)} arrives")
            self._carry(held, self.clockwork.latency_ms())

    def _reply(self, reply: ReplyMessage) -> None:
        what = named(reply.step, reply.direction)
        replayed = " (from its records)" if reply.replayed else ""
        self.note(reply.participant, f"answers {what}: {outcome_in_words(reply.outcome)}{replayed}")
        trouble = self.troubles.take(reply.saga_id, reply.step, reply.direction, REPLY_WAYS)
        if trouble is not None:
            self.note("trouble", f"{what}: {trouble.words}")
        latency_ms = self.clockwork.latency_ms()
        match None if trouble is None else trouble.kind:
            case "reply_lost":
                return
            case "reply_late":
                self._late.append(reply)
            case "reply_delayed" if trouble is not None:
                self._bring(reply, latency_ms + trouble.delay_ms)
            case "reply_duplicated":
                self._bring(reply, latency_ms)
                self._bring(reply, latency_ms + LATE_MS)
            case _:
                self._bring(reply, latency_ms)

    def _left_ms(self, command: CommandMessage) -> int:
        """How much longer the coordinator waits for this attempt."""
        return max(0, command.deadline_ms - self.clockwork.now_ms())

    def _bring(self, reply: ReplyMessage, delay_ms: int) -> None:
        async def arrive() -> None:
            crash = self.troubles.take(reply.saga_id, reply.step, reply.direction, COORDINATOR_CRASHES)
            delivery = _delivery(write_reply(reply), None)
            await self._take(delivery, crash, f"the reply to {named(reply.step, reply.direction)}")
            if reply.direction == "do" and isinstance(reply.outcome, Succeeded):
                for call in tuple(self.on_done):
                    call(reply.saga_id, reply.step)

        self.clockwork.after(delay_ms, arrive)

    # --- the coordinator

    async def _take(self, delivery: Delivery, crash: Trouble | None, what: str) -> None:
        point = None if crash is None else _POINTS[crash.kind]
        self._store.crash = self._post.crash = point
        try:
            await self._replica.inbox.take([delivery])
        except CoordinatorCrashed:
            when = "" if crash is None else crash.once.removeprefix("coordinator crashed ")
            self.note("coordinator", f"crashes at {what}, {when}")
            self._replica = self._new_replica()
            self._store.crash = self._post.crash = None
            self.clockwork.after(RESTART_MS, lambda: self._again(delivery, what))
        finally:
            self._store.crash = self._post.crash = None

    async def _again(self, delivery: Delivery, what: str) -> None:
        self.note("trouble", f"{what} is delivered again")
        delivery.redelivered = True
        await self._take(delivery, None, what)


def _made_up(trouble: Trouble) -> ReplyOutcome:
    if trouble.kind == "rejects":
        return Rejected(trouble.code or "rejected_by_the_test", trouble.reason)
    return Failed(trouble.code or "failed_by_the_test", trouble.reason, trouble.rolled_back)


def _delivery(envelope: Envelope, reply_queue: str | None) -> Delivery:
    return Delivery(
        body=envelope.body,
        headers=envelope.headers,
        content_type=envelope.content_type,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to or reply_queue,
        message_id=None,
        app_id=None,
        user_id=None,
        exchange="",
        routing_key="",
        queue="",
        redelivered=False,
        delivery_tag=0,
        generation=0,
    )
