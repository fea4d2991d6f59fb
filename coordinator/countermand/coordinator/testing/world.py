"""A world in memory, on virtual time: coordinators that run the real one path, and participants that are real or not.

What is simulated is the broker, the store and the clock. Every message is one event on the agenda; the next event, or
the next wake-up of the store's due-index, moves the clock. A participant handles a command within one moment: how long
a step takes is told by a trouble, and a handler that sleeps, sleeps for real.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from countermand.coordinator.core.journal import (
    ApprovalAsked,
    BranchTaken,
    ChildAsked,
    JournalEntry,
    LoopOpened,
    ParentAsked,
    Record,
    SagaEnded,
    SagaReleased,
    SagaStuck,
    SleepBegun,
    StepAsked,
    WaitBegun,
)
from countermand.coordinator.core.state import Saga
from countermand.coordinator.testing.addresses import Family
from countermand.coordinator.testing.advice import warn_of
from countermand.coordinator.testing.answering import Answering, SagaDocument, example_results
from countermand.coordinator.testing.cast import Cast
from countermand.coordinator.testing.clockwork import Clockwork
from countermand.coordinator.testing.courier import RESTART_MS, Courier
from countermand.coordinator.testing.effects import Look
from countermand.coordinator.testing.node_words import node_words
from countermand.coordinator.testing.replica import CoordinatorCrashed, CrashPoint, FragileStore, Post, Replica
from countermand.coordinator.testing.timeline import Happening
from countermand.coordinator.testing.troubles import COORDINATOR_CRASHES, START, Trouble, Troubles
from countermand.schemas.coordinating import RELEASE, write_event
from countermand.schemas.coordination import LOCK_ACTION, ChildBody, EventMessage
from countermand.schemas.definition import Definition, decode_definition
from countermand.schemas.envelope import (
    COMMAND,
    REPLY,
    SIGNAL,
    Envelope,
    Incoming,
    read_answer,
    read_command,
    read_reply,
    read_request,
    write_request,
)
from countermand.schemas.errors import DefinitionError
from countermand.schemas.messages import (
    Answer,
    CommandMessage,
    Defined,
    DefineMessage,
    Refused,
    RequestMessage,
    SignalMessage,
    StartMessage,
    UndoBody,
)
from countermand.schemas.topology import Topology
from countermand.wire import Delivery, Message

CLIENT: Final = "kit"
# A saga that has taken so many events without coming to rest goes round in circles; more, the more steps it has.
EVENTS_MAX: Final = 10_000
EVENTS_PER_STEP: Final = 50
HISTORY_PAGE: Final = 10_000

_POINTS: Final[Mapping[str, CrashPoint]] = {
    "coordinator_crash_before_commit": "before_commit",
    "coordinator_crash_after_commit": "after_commit",
    "coordinator_crash_after_publish": "after_publish",
}

# What stands in the journal when a saga has come to a node.
Reached = StepAsked | BranchTaken | LoopOpened | WaitBegun | SleepBegun | ApprovalAsked
# Called with a saga and an entry of its journal, as soon as it is committed.
Heard = Callable[[str, JournalEntry], None]


class Unrest(AssertionError):
    """A saga takes event after event without coming to rest."""


class World:
    """One world. Sagas that are started in it share its participants and its clock."""

    def __init__(self, participants: Sequence[Answering] = (), *, seed: int = 0, effects: Look | None = None) -> None:
        self.clockwork = Clockwork(seed)
        self.troubles = Troubles()
        self.family = Family()
        self.happenings: list[Happening] = []
        self.answers: list[Answer] = []
        self.entries: list[tuple[str, JournalEntry]] = []
        self.on_entry: list[Heard] = []
        self.cast = Cast(participants, effects, self.clockwork.now_ms)
        self._definitions: dict[str, Definition] = {}
        self._steps = 0
        self._stuck: set[str] = set()
        self._in_vain: set[str] = set()
        self._topology = Topology()
        self._store = FragileStore(now_ms=self.clockwork.now_ms, committed=self._committed)
        self._post = Post(self._routed)
        self._replica = self._new_replica()
        self._courier = Courier(
            self.clockwork,
            self.troubles,
            self.cast,
            self.family,
            note=self.note,
            take=self._take,
            knows=self._knows,
        )

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
        self._definitions[definition.label] = definition
        self.cast.fill(definition, example_results(saga))

    def advise(self) -> None:
        """Warns of what the lint finds in the sagas that were registered, beside the contracts of who was given."""
        for definition in self._definitions.values():
            warn_of(definition, self.cast.given)

    async def ask(self, request: RequestMessage | EventMessage, what: str, node: str = "") -> None:
        """Sends a client's request to the coordinator, which takes it at once. `node` is what it is for, if it is."""
        if isinstance(request, EventMessage):
            self.note("client", what)
            await self._take(write_event(request, source="/kit"), None, what, "")
            return
        saga_id = "" if isinstance(request, DefineMessage) else request.saga_id
        self.note("client", what, saga_id)
        crash = self._crash_at(saga_id, START if isinstance(request, StartMessage) else node)
        told = "the start" if isinstance(request, StartMessage) else what
        await self._take(write_request(request, source="/kit"), crash, told, saga_id)

    def _crash_at(self, saga_id: str, ref: str) -> Trouble | None:
        root, address = self.family.address(saga_id, ref)
        return self.troubles.take(root, address, "do", COORDINATOR_CRASHES) if ref else None

    @property
    def reply_queue(self) -> str:
        return self._topology.client_queue(CLIENT)

    async def saga(self, saga_id: str) -> Saga | None:
        (loaded,) = await self._store.load([saga_id])
        return None if loaded is None else loaded.saga

    async def history(self, saga_id: str) -> list[Record]:
        records: list[Record] = []
        while page := await self._store.history(saga_id, start=len(records), limit=HISTORY_PAGE):
            records += page
        return records

    def reached(self, root: str) -> tuple[str, ...]:
        """The addresses of all nodes that a saga and its children have come to, in that order."""
        found: dict[str, None] = {}
        for saga_id, entry in self.entries:
            if isinstance(entry, Reached) and (not isinstance(entry, StepAsked) or entry.direction == "do"):
                of, address = self.family.address(saga_id, entry.step)
                if of == root:
                    found[address] = None
        return tuple(found)

    def note(self, who: str, what: str, saga_id: str = "") -> None:
        self.happenings.append(Happening(self.clockwork.elapsed_ms(), who, what, saga_id))

    # --- time

    async def rest(self, events_max: int = EVENTS_MAX) -> None:
        """Lets time go by until nothing will happen any more, or nothing but that a child is asked for that is stuck.

        Raises:
            Unrest: it never comes to that.
        """
        events = 0
        while events < events_max + EVENTS_PER_STEP * self._steps:
            events += 1
            if self._in_vain and self.clockwork.next_ms() is None:
                return
            if not await self._happen(None):
                if not self._courier.holds_back:
                    return
                self._courier.release()
        raise Unrest(f"not at rest after {events} events")

    async def run_for(self, duration_ms: int) -> None:
        """Lets so much time go by."""
        end_ms = self.clockwork.now_ms() + duration_ms
        events = 0
        while events < EVENTS_MAX + EVENTS_PER_STEP * self._steps:
            events += 1
            if not await self._happen(end_ms):
                self.clockwork.advance_to(end_ms)
                return
        raise Unrest(f"more than {events} events within {duration_ms} ms")

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

    # --- the journal

    def _committed(self, saga_id: str, record: Record) -> None:
        """What stands in a journal happened: it is told, and whoever listens may act on it."""
        entry = record.entry
        self.entries.append((saga_id, entry))
        if isinstance(entry, ChildAsked):
            self.family.born(saga_id, entry.step, entry.saga_id)
        if isinstance(entry, StepAsked) and entry.attempt == 1:
            self._steps += 1
        if isinstance(entry, SagaStuck):
            self._stuck.add(saga_id)
        if isinstance(entry, SagaReleased | SagaEnded):
            self._stuck.discard(saga_id)
            self._in_vain.discard(saga_id)
        if isinstance(entry, ParentAsked) and entry.attempt > 1 and saga_id in self._stuck:
            self._in_vain.add(saga_id)
        words = node_words(entry, record.at_ms)
        if words is not None:
            self.note("coordinator", words, saga_id)
        for hear in tuple(self.on_entry):
            hear(saga_id, entry)

    # --- the broker

    def _routed(self, message: Message) -> None:
        incoming = Incoming(message.headers, message.body)
        if message.type == COMMAND:
            self._courier.send(read_command(incoming))
        elif message.exchange == self._topology.inbox_exchange:
            self._between(message, incoming)
        elif message.exchange == "" and message.routing_key == self.reply_queue:
            self.answers.append(read_answer(incoming))
        elif message.exchange == self._topology.lifecycle_exchange:
            self._told(message)

    def _between(self, message: Message, incoming: Incoming) -> None:
        """What a saga, a lock or a mailbox tells another of them: it comes back to the coordinator."""
        if message.type.startswith(REPLY):
            self._courier.reply(read_reply(incoming))
            return
        saga_id, crash = message.correlation_id or "", None
        if message.type == RELEASE:
            self.note("coordinator", f"releases the lock {msgspec.json.decode(message.body)['lock']}", saga_id)
        if message.type == SIGNAL and isinstance(signal := read_request(incoming), SignalMessage):
            crash = self._crash_at(signal.saga_id, signal.wait or "")
        envelope = Envelope(message.type, message.headers, message.body, message.correlation_id, message.reply_to)
        what = message.type.rpartition(".")[2]

        async def arrive() -> None:
            await self._take(envelope, crash, f"the {what}", saga_id)

        self.clockwork.after(self.clockwork.latency_ms(), arrive)

    def _told(self, message: Message) -> None:
        """What happened to a saga as a whole stands in the timeline; its steps' replies stand there already."""
        subject, _, happened = message.routing_key.partition(".")[2].partition(".")
        if subject == "saga" and happened != "started":
            data = msgspec.json.decode(message.body)
            why = ", ".join(str(value) for value in data.values() if value) if isinstance(data, dict) else ""
            said = f"the saga: {happened}" + (f" ({why})" if why else "")
            self.note("coordinator", said, message.correlation_id or "")

    def _knows(self, command: CommandMessage) -> bool:
        """Whether the definition of the child saga that is asked for was given; a lock needs none."""
        if command.action == LOCK_ACTION:
            return True
        body = command.body
        if command.direction == "undo":
            body = bytes(msgspec.json.decode(body, type=UndoBody).command)
        child = msgspec.json.decode(body, type=ChildBody)
        return any(
            each.name == child.definition and child.version in (None, each.version)
            for each in self._definitions.values()
        )

    # --- the coordinator

    async def _take(self, envelope: Envelope, crash: Trouble | None, what: str, saga_id: str) -> None:
        await self._given(delivered(envelope), crash, what, saga_id)

    async def _given(self, delivery: Delivery, crash: Trouble | None, what: str, saga_id: str) -> None:
        point = None if crash is None else _POINTS[crash.kind]
        self._store.crash = self._post.crash = point
        try:
            await self._replica.inbox.take([delivery])
        except CoordinatorCrashed:
            when = "" if crash is None else crash.once.removeprefix("coordinator crashed ")
            self.note("coordinator", f"crashes at {what}, {when}", saga_id)
            self._replica = self._new_replica()
            self.clockwork.after(RESTART_MS, lambda: self._again(delivery, what, saga_id))
        finally:
            self._store.crash = self._post.crash = None

    async def _again(self, delivery: Delivery, what: str, saga_id: str) -> None:
        self.note("trouble", f"{what} is delivered again", saga_id)
        delivery.redelivered = True
        await self._given(delivery, None, what, saga_id)


def delivered(envelope: Envelope | Message) -> Delivery:
    """A message as the broker brings it for the first time."""
    return Delivery(
        body=envelope.body,
        headers=envelope.headers,
        content_type=envelope.content_type,
        type=envelope.type,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
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
