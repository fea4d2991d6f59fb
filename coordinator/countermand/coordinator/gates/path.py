"""The path of gates and mailboxes: load, decide, commit, publish; the inbox settles.

As on the sagas' path, nothing is published that isn't committed, and a delivery is acknowledged only after what it
caused is confirmed. A crash in between is repaired by the delivery coming again: what it caused is said again.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final, TypeVar, assert_never

import msgspec
import structlog

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.core.draft import Addressed
from countermand.coordinator.gates import gate, mailbox
from countermand.coordinator.gates.decision import Decision, Telling
from countermand.coordinator.gates.gate import Gate
from countermand.coordinator.gates.mailbox import Mailbox
from countermand.coordinator.gates.ports import Aggregate, AggregateStore, Change, Stored
from countermand.coordinator.intake import GateItem, LockAsked
from countermand.coordinator.outbox import Outbox
from countermand.coordinator.sending import Sender
from countermand.coordinator.telemetry import Counters
from countermand.schemas.coordination import EventMessage, ReleaseMessage, SubscribeMessage
from countermand.schemas.errors import BrokerUnavailable, InvariantViolated, StoreUnavailable
from countermand.schemas.identifiers import new_secret
from countermand.schemas.messages import ReplyMessage, SignalMessage
from countermand.wire import Message

log = structlog.get_logger(__name__)

State = TypeVar("State", Gate, Mailbox)

CONFLICT_PAUSE_MS_MAX: Final = 64  # Longer than a commit takes, so that those who collided meet no more.
STORE_PAUSE_S: Final = 0.5  # A store that is away is asked again at this pace; the messages wait here, unsettled.


class _Step(msgspec.Struct):
    """One aggregate in one batch: its messages, what was loaded, and what has been decided."""

    target: str
    items: list[GateItem]
    stored: Stored | None = None
    state: Aggregate | None = None
    tells: list[Telling] = []
    counts: list[str] = []
    at_ms: int = 0
    again: bool = False

    @property
    def changed(self) -> bool:
        return self.state is not (None if self.stored is None else self.stored.state)


class GatePath:
    """Takes messages to gates and mailboxes to the end. Any number of these run at once, here and elsewhere."""

    def __init__(
        self, store: AggregateStore, sender: Sender, clock: StoreClock, outbox: Outbox, counters: Counters
    ) -> None:
        self._store = store
        self._sender = sender
        self._clock = clock
        self._outbox = outbox
        self._counters = counters

    async def run(self, items: Sequence[GateItem]) -> None:
        """Returns once everything that the messages caused is confirmed by the broker.

        Raises:
            BrokerUnavailable: a reply or a signal found no queue; the messages must come again.
        """
        steps: dict[str, _Step] = {}
        for item in items:
            steps.setdefault(item.target, _Step(item.target, [])).items.append(item)
        pending, rounds = list(steps.values()), 0
        while pending:
            await self._load(pending)
            for step in pending:
                self._decide(step)
            done, pending = await self._commit(pending)
            await self._publish(done)
            rounds += 1
            if pending:
                pause_ms = secrets.randbelow(min(2 ** min(rounds, 10), CONFLICT_PAUSE_MS_MAX))
                await asyncio.sleep(pause_ms / 1000)

    async def _load(self, steps: Sequence[_Step]) -> None:
        while True:
            try:
                found = await self._store.load([step.target for step in steps])
                break
            except StoreUnavailable as error:
                await self._wait_for_store(error)
        for step, stored in zip(steps, found, strict=True):
            step.stored = stored

    def _decide(self, step: _Step) -> None:
        """Decides all messages to one aggregate, one after another."""
        step.state = None if step.stored is None else step.stored.state
        step.tells, step.counts, step.at_ms = [], [], self._clock.now_ms()
        for item in step.items:
            decision = _decided(step.state, item, step.at_ms, again=item.again or step.again)
            step.state = decision.state
            step.tells += decision.tells
            step.counts += decision.counts

    async def _commit(self, steps: Sequence[_Step]) -> tuple[list[_Step], list[_Step]]:
        """The steps that stand now, and those that somebody else was faster with."""
        changed = [step for step in steps if step.changed]
        changes = [_change_of(step) for step in changed]
        stand = await self._commit_surely(changed, changes) if changes else []
        beaten = [step for step, stands in zip(changed, stand, strict=True) if not stands]
        self._counters.count("gate_commits", len(changed) - len(beaten))
        self._counters.count("gate_conflicts", len(beaten))
        return [step for step in steps if step not in beaten], beaten

    async def _commit_surely(self, steps: Sequence[_Step], changes: Sequence[Change]) -> list[bool]:
        while True:
            try:
                return await self._store.commit(changes)
            except StoreUnavailable as error:
                # Some of it may stand, and somebody may move on from it: then what it caused is ours to say.
                for step in steps:
                    step.again = True
                await self._wait_for_store(error)

    async def _publish(self, steps: Sequence[_Step]) -> None:
        messages: list[Message] = []
        needed: set[int] = set()
        for step in steps:
            for name in step.counts:
                self._counters.count(name)
            for telling in step.tells:
                message = self._message(telling)
                if message is not None:
                    if not isinstance(telling, Addressed):
                        needed.add(len(messages))
                    messages.append(message)
        unsent = {each.index for each in await self._sender.send(messages)} if messages else set()
        if unsent & needed:
            raise BrokerUnavailable(f"{len(unsent & needed)} messages to sagas were not taken by the coordinator inbox")

    def _message(self, telling: Telling) -> Message | None:
        match telling:
            case ReplyMessage():
                return self._outbox.own_reply(telling)
            case SignalMessage():
                return self._outbox.signal(telling)
            case Addressed():
                return self._outbox.answer(telling)
            case _:
                assert_never(telling)

    async def _wait_for_store(self, error: StoreUnavailable) -> None:
        self._counters.count("store_unavailable")
        log.warning("store_unavailable", error=str(error))
        await asyncio.sleep(STORE_PAUSE_S)


def _decided(state: Aggregate | None, item: GateItem, at_ms: int, *, again: bool) -> Decision[Aggregate]:
    match item.message:
        case LockAsked(command=command, body=body):
            return gate.ask(_as(Gate, state, item), command, body, at_ms)
        case ReleaseMessage() as message:
            return gate.release(_as(Gate, state, item), message, at_ms)
        case EventMessage() as message:
            return mailbox.happened(_as(Mailbox, state, item), message, at_ms, again=again)
        case SubscribeMessage() as message:
            return mailbox.subscribe(_as(Mailbox, state, item), message, at_ms)
        case _:
            assert_never(item.message)


def _as(type_: type[State], state: Aggregate | None, item: GateItem) -> State | None:
    if state is None or isinstance(state, type_):
        return state
    raise InvariantViolated(f"{item.target} is a {type(state).__name__}, not a {type_.__name__}")


def _change_of(step: _Step) -> Change:
    if step.state is None:
        raise InvariantViolated(f"{step.target} has changed into nothing")
    expected = 0 if step.stored is None else step.stored.version
    # A new one's versions begin with the time, so that one that was forgotten and begins anew has others than before.
    version = expected + 1 if expected else step.at_ms
    return Change(step.target, expected, version, new_secret(), step.state)
