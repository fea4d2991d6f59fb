"""The one path: load, decide, commit, publish, settle.

Every event takes it, in natural batches: replies and requests that the broker brings, wake-ups, and commands that came
back. Nothing is published that isn't committed (invariant I1); nothing is settled before what it caused is confirmed.

A crash between any two of the five lines is repaired by the event coming again. A broker delivery comes again marked as
redelivered; an event without a delivery leaves a guard, which wakes the saga up. Either way what the saga has to send
is a function of its state, and is sent again under the same keys.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import structlog

from countermand.coordinator.clock import StoreClock
from countermand.coordinator.core import Decision, Plan, decide, pending_commands, wake_at
from countermand.coordinator.core.children import refuse_parent
from countermand.coordinator.core.commands import Tiding, pending_tidings
from countermand.coordinator.core.decide import refuse_unknown
from countermand.coordinator.core.draft import Addressed, Parts
from countermand.coordinator.core.events import CommandUnroutable, OperationRequested, ParentRequested
from countermand.coordinator.core.journal import ParentAsked, ParentGone, Record, SagaEnded, StepAsked, WaitBegun
from countermand.coordinator.core.state import EVERYTHING, NotLoaded, Saga
from countermand.coordinator.core.turning import outcome_of
from countermand.coordinator.definitions import Definitions
from countermand.coordinator.intake import Item
from countermand.coordinator.outbox import Outbox, caused_by, lifecycle_of
from countermand.coordinator.ports import Commit, CommitAnswer, Committed, Loaded, SagaStore, Settlement
from countermand.coordinator.sending import Sender
from countermand.coordinator.telemetry import Counters
from countermand.schemas.errors import CountermandError, InvariantViolated, SagaUnreadable, StoreUnavailable
from countermand.schemas.identifiers import new_secret
from countermand.schemas.messages import CommandMessage, Refused
from countermand.wire import Message

log = structlog.get_logger(__name__)

ROUNDS_ALARMING: Final = 50  # Many writers of one saga collide for a while; this often in a row is worth a look.
CONFLICT_PAUSE_MS_MAX: Final = 64  # Longer than a commit takes, so that those who collided meet no more.
STORE_PAUSE_S: Final = 0.5  # A store that is away is asked again at this pace; the events wait here, unsettled.
ROUNDS_OF_PARTS: Final = 8  # Whoever needs more than this of a large saga may as well have all of it.
HISTORY_LOOKED_AT: Final = 1_000  # How far back what a repeated event once caused is looked for.


class Step(msgspec.Struct):
    """One saga in one batch: its events, what was loaded, and what has been decided."""

    saga_id: str
    items: list[Item]
    loaded: Loaded | None = None
    plan: Plan | None = None
    saga: Saga | None = None
    records: tuple[Record, ...] = ()
    parts: Parts = msgspec.field(default_factory=Parts)
    answers: tuple[Addressed, ...] = ()
    tidings: tuple[Tiding, ...] = ()
    wanted: frozenset[str] | None = None
    rounds: int = 0
    unheard: list[Item] = []
    plans: dict[int, Plan | None] = {}
    token: str = ""
    again: bool = False
    taken_over: int | None = None

    @property
    def version(self) -> int:
        return 0 if self.loaded is None else self.loaded.saga.state.version


class OnePath:
    """Takes events through the five lines. Any number of these run at once, here and elsewhere, on the same sagas."""

    def __init__(
        self,
        store: SagaStore,
        sender: Sender,
        definitions: Definitions,
        clock: StoreClock,
        outbox: Outbox,
        counters: Counters,
        *,
        guard_ms: int,
    ) -> None:
        self._store = store
        self._sender = sender
        self._definitions = definitions
        self._clock = clock
        self._outbox = outbox
        self._counters = counters
        self._guard_ms = guard_ms

    async def run(self, items: Sequence[Item]) -> list[Item]:
        """Carries events through, to the point where they may be settled; the items that had to be put aside.

        Returns once everything that the events caused is confirmed by the broker. An event that fails by a fault of
        ours is put aside alone: the others go on.
        """
        aside: list[Item] = []
        steps = _by_saga(items)
        rounds = 0
        while steps:
            aside += await self._load(steps)
            aside += await self._decide(steps)
            done, steps = await self._commit(steps)
            # Only now is it certain that they were refused: in another round they could have been accepted.
            aside += [item for step in done for item in step.unheard]
            await self._publish(done)
            await self._settle(done)
            rounds += 1
            if steps:
                await self._yield_to_others(steps, rounds)
        return aside

    async def _yield_to_others(self, steps: list[Step], rounds: int) -> None:
        """Makes room: of those who collide, one always wins, and everybody's turn comes."""
        if rounds % ROUNDS_ALARMING == 0:
            self._counters.count("commit_conflicts_lasting")
            log.warning("commit_conflicts_lasting", sagas=[step.saga_id for step in steps], rounds=rounds)
        pause_ms = secrets.randbelow(min(2 ** min(rounds, 10), CONFLICT_PAUSE_MS_MAX))
        await asyncio.sleep(pause_ms / 1000)

    # --- load

    async def _load(self, steps: list[Step]) -> list[Item]:
        """Loads all sagas; the items of those that can't be read, which are taken out of `steps`."""
        aside: list[Item] = []
        while steps:
            try:
                found = await self._store.load_parts([(step.saga_id, step.wanted) for step in steps])
                break
            except StoreUnavailable as error:
                await self.wait_for_store(error)
            except SagaUnreadable as error:
                aside += self._take_out(steps, {error.saga_id}, error)
        for step, loaded in zip(list(steps), found if steps else [], strict=True):
            step.loaded = loaded
            try:
                await self._find_plans(step)
            except CountermandError as error:
                aside += self._take_out(steps, {step.saga_id}, error)
        return aside

    def _take_out(self, steps: list[Step], saga_ids: set[str], error: CountermandError) -> list[Item]:
        out = [step for step in steps if step.saga_id in saga_ids]
        steps[:] = [step for step in steps if step.saga_id not in saga_ids]
        self._counters.count("sagas_not_decided", len(out))
        log.error("saga_unreadable", saga_ids=sorted(saga_ids), code=error.code, problem=str(error))
        return [item for step in out for item in step.items]

    async def _find_plans(self, step: Step) -> None:
        """The plan of a saga that is there; for one that isn't, the plan that each start asks for."""
        while True:
            try:
                step.plan, step.plans = None, {}
                if step.loaded is not None:
                    step.plan = await self._definitions.plan(step.loaded.saga.state.definition_hash)
                    await self._find_targets(step, step.loaded.saga.state.definition.partition("@")[0])
                    return
                for item in step.items:
                    if item.start is not None:
                        plan = await self._definitions.plan_named(item.start.definition, item.start.version)
                        step.plans[id(item)] = plan
                return
            except StoreUnavailable as error:
                await self.wait_for_store(error)

    async def _find_targets(self, step: Step, name: str) -> None:
        """The plans of the versions that migrations of a saga are to go over to."""
        for item in step.items:
            if item.to_version is not None:
                step.plans[id(item)] = await self._definitions.plan_named(name, item.to_version)

    # --- decide

    async def _decide(self, steps: list[Step]) -> list[Item]:
        """Decides all sagas; of large ones, what that takes is loaded as it turns out. The items put aside."""
        aside: list[Item] = []
        lacking = list(steps)
        while lacking:
            wanting: list[Step] = []
            for step in lacking:
                try:
                    self._decide_step(step)
                except NotLoaded as missing:
                    known = frozenset() if step.wanted is None else step.wanted
                    step.rounds += 1
                    everything = not missing.parts or step.rounds >= ROUNDS_OF_PARTS
                    step.wanted = EVERYTHING if everything else known | missing.parts
                    wanting.append(step)
                except Exception as error:
                    # A saga that can't be decided is a bug of ours, whatever it raises; the others must not go with it.
                    log.exception("saga_not_decided", saga_id=step.saga_id, error=type(error).__name__)
                    self._counters.count("sagas_not_decided")
                    aside += step.items
                    steps.remove(step)
            readable = list(wanting)
            aside += await self._load(readable)
            for step in wanting:
                if step not in readable:
                    steps.remove(step)
            lacking = readable
        return aside

    def _decide_step(self, step: Step) -> None:
        """Decides all events of one saga, one after another."""
        step.saga = None if step.loaded is None else step.loaded.saga
        step.records, step.parts, step.answers, step.tidings, step.unheard = (), Parts(), (), (), []
        step.again = step.again or any(item.again for item in step.items)
        for item in step.items:
            event = item.event(self._clock.now_ms())
            named = step.plans.get(id(item))
            plan = step.plan or named
            if isinstance(event, OperationRequested):
                event = msgspec.structs.replace(event, target=named)
            if plan is None:
                answers = self._without_plan(step, item)
            else:
                decision: Decision = decide(plan, step.saga, event)
                answers = decision.answers
                step.saga = decision.saga
                step.plan = _plan_after(step.saga, plan, named)
                step.records += decision.records
                step.parts |= decision.parts
                step.tidings += decision.tidings
            step.answers += answers
            step.unheard += [item for each in answers if self._refused_unheard(step, each)]

    def _refused_unheard(self, step: Step, addressed: Addressed) -> bool:
        if not isinstance(addressed.answer, Refused):
            return False
        self._counters.count("requests_refused")
        if addressed.queue is not None:
            return False
        # Nobody is there to be told: the request goes to the dead-letter queue, where it can be found and mended.
        log.warning(
            "request_refused", saga_id=step.saga_id, code=addressed.answer.code, problem=addressed.answer.problem
        )
        return True

    def _without_plan(self, step: Step, item: Item) -> tuple[Addressed, ...]:
        if step.loaded is not None:
            definition = step.loaded.saga.state.definition
            raise InvariantViolated(f"the definition {definition} of saga {step.saga_id} is not in the store")
        event = item.event(self._clock.now_ms())
        if isinstance(event, ParentRequested) and item.start is not None:
            # Its parent waits: it is told as by any participant that can't do what it is asked for.
            step.tidings += (
                refuse_parent(event, "unknown_definition", f"definition: {item.start.definition} is not registered"),
            )
            return ()
        if item.start is not None:
            version = "" if item.start.version is None else f"@{item.start.version}"
            problem = f"definition: {item.start.definition}{version} is not registered"
            refusal = Refused(item.start.request_id, "unknown_definition", problem, step.saga_id)
            return (Addressed(item.start.reply_to, refusal),)
        self._counters.count("events_for_unknown_sagas")
        log.info("saga_unknown", saga_id=step.saga_id, cause=item.event_id)
        return refuse_unknown(event)

    # --- commit

    async def _commit(self, steps: list[Step]) -> tuple[list[Step], list[Step]]:
        """Commits what has changed: the steps that stand now, and those that somebody else was faster with."""
        changed = [step for step in steps if step.records]
        done = [step for step in steps if not step.records]
        for step in changed:
            step.token = new_secret()
        commits = [self._commit_of(step) for step in changed]
        answers = await self._commit_surely(changed, commits) if commits else []
        again: list[Step] = []
        for step, answer in zip(changed, answers, strict=True):
            if isinstance(answer, Committed):
                step.taken_over = answer.taken_over
                self._counters.count("commits")
                done.append(step)
            else:
                self._counters.count("commit_conflicts")
                again.append(step)
        return done, again

    async def _commit_surely(self, steps: list[Step], commits: list[Commit]) -> list[CommitAnswer]:
        while True:
            try:
                return list(await self._store.commit(commits))
            except StoreUnavailable as error:
                # Some of it may stand. The token makes asking again safe; and should somebody else meanwhile have moved
                # a saga on from a commit of ours, what that one left unsent is ours to send.
                for step in steps:
                    step.again = True
                await self.wait_for_store(error)

    def _commit_of(self, step: Step) -> Commit:
        if step.saga is None:
            raise InvariantViolated(f"saga {step.saga_id} has records but no state")
        guarded = all(item.delivery is None for item in step.items)
        return Commit(
            expected_version=step.version,
            token=step.token,
            saga=step.saga,
            records=step.records,
            parts=step.parts,
            wake_at_ms=wake_at(step.saga.state),
            guard_ms=self._guard_ms if guarded else None,
        )

    # --- publish

    async def _publish(self, steps: list[Step]) -> None:
        messages: list[Message] = []
        commands: dict[int, CommandMessage] = {}
        for step in steps:
            pending, tidings = await self._pending(step)
            for command in pending:
                commands[len(messages)] = command
                messages.append(self._outbox.command(command))
            messages += [self._outbox.tiding(each) for each in (*tidings, *step.tidings)]
            messages += await self._tidings_of(step)
        unsent = await self._sender.send(messages)
        # A copy of a command that is sent again may have got through the first time.
        doubtful = {step.saga_id for step in steps if self._sends_everything(step)}
        back = [(commands[each.index], each.certain) for each in unsent if each.index in commands]
        await self._give_back([(command, certain and command.saga_id not in doubtful) for command, certain in back])

    async def _pending(self, step: Step) -> tuple[list[CommandMessage], list[Tiding]]:
        """The commands that are this step's to send, and what is to be told to other sagas, locks and mailboxes."""
        if step.saga is None or step.plan is None:
            return [], []
        try:
            return _to_send(step.plan, step.saga, None if self._sends_everything(step) else step.records)
        except NotLoaded:
            return await self._pending_of_whole(step)
        except CountermandError as error:
            self._not_made(step, error)
            return [], []

    async def _pending_of_whole(self, step: Step) -> tuple[list[CommandMessage], list[Tiding]]:
        """Everything that a large saga has to send, as it is now: what was overtaken meanwhile need not be sent."""
        while True:
            try:
                (loaded,) = await self._store.load([step.saga_id])
                plan = None if loaded is None else await self._definitions.plan(loaded.saga.state.definition_hash)
                return ([], []) if loaded is None or plan is None else _to_send(plan, loaded.saga, None)
            except StoreUnavailable as error:
                await self.wait_for_store(error)
            except CountermandError as error:
                self._not_made(step, error)
                return [], []

    def _not_made(self, step: Step, error: CountermandError) -> None:
        # It could be made when it was decided. Its timeout will bring it up again; nobody else waits for it.
        log.error("command_not_made", saga_id=step.saga_id, code=error.code, problem=str(error))
        self._counters.count("commands_not_made")

    async def _tidings_of(self, step: Step) -> Iterable[Message]:
        """Lifecycle events and answers of a step that stands."""
        if step.saga is None:
            return [message for each in step.answers if (message := self._outbox.answer(each))]
        records: Sequence[Record] = step.records
        answers = step.answers
        if self._sends_everything(step):
            since = step.taken_over if step.taken_over is not None else _guard_of(step)
            history = await self._history(step.saga_id)
            records = caused_by(history, (item.event_id for item in step.items), since)
            if step.saga.state.ended:
                outcome = outcome_of(step.saga)
                answers += tuple(Addressed(queue, outcome) for queue in step.saga.state.watchers)
        events = [self._outbox.lifecycle(event) for event in lifecycle_of(step.saga.state, records)]
        return [*events, *(message for each in answers if (message := self._outbox.answer(each)))]

    def _sends_everything(self, step: Step) -> bool:
        """Whether something committed earlier may never have been sent, and is this step's to send."""
        unsettled = not step.records and _guard_of(step) is not None and _is_wake_up(step)
        return step.again or step.taken_over is not None or unsettled

    async def _history(self, saga_id: str) -> list[Record]:
        while True:
            try:
                return await self._store.history(saga_id, start=-HISTORY_LOOKED_AT, limit=HISTORY_LOOKED_AT)
            except StoreUnavailable as error:
                await self.wait_for_store(error)

    async def _give_back(self, commands: list[tuple[CommandMessage, bool]]) -> None:
        """Tells sagas that nobody takes their commands: each is an event of its own, on the same path."""
        if not commands:
            return
        for command, _ in commands:
            self._counters.count("commands_unroutable")
            log.error(
                "command_unroutable",
                saga_id=command.saga_id,
                step=command.step,
                participant=command.participant,
                attempt=command.attempt,
            )
        aside = await self.run([_unroutable_item(command, certain) for command, certain in commands])
        if aside:
            log.error("unroutable_commands_left_to_their_timeouts", sagas=[item.saga_id for item in aside])

    # --- settle

    async def _settle(self, steps: list[Step]) -> None:
        """Takes away the guards of what is sent now, also those that were taken over.

        Deliveries are acknowledged by whoever brought them.
        """
        settlements = [
            Settlement(step.saga_id, 0 if step.saga is None else step.saga.state.version)
            for step in steps
            if _is_wake_up(step) or step.taken_over is not None
        ]
        while settlements:
            try:
                await self._store.settle(settlements)
                return
            except StoreUnavailable as error:
                await self.wait_for_store(error)

    async def wait_for_store(self, error: StoreUnavailable) -> None:
        """Notes that the store is away, and returns when it may be asked again."""
        self._counters.count("store_unavailable")
        log.warning("store_unavailable", error=str(error))
        await asyncio.sleep(STORE_PAUSE_S)


def _plan_after(saga: Saga | None, plan: Plan, named: Plan | None) -> Plan | None:
    """The plan of a saga once decided: another one, if that was a migration; none, if there is no saga."""
    if saga is None:
        return None
    return named if named is not None and saga.state.definition_hash == named.hash else plan


def _to_send(plan: Plan, saga: Saga, records: Sequence[Record] | None) -> tuple[list[CommandMessage], list[Tiding]]:
    """What a saga has to send: all of it, or what is new with these records."""
    if records is None:
        return pending_commands(plan, saga), pending_tidings(plan, saga)
    entries = [record.entry for record in records]
    asked = {(entry.step, entry.direction, entry.attempt) for entry in entries if isinstance(entry, StepAsked)}
    waits = {entry.step for entry in entries if isinstance(entry, WaitBegun)}
    tells = bool(waits) or any(isinstance(entry, SagaEnded | ParentAsked | ParentGone) for entry in entries)
    return (
        pending_commands(plan, saga, asked.__contains__) if asked else [],
        pending_tidings(plan, saga, waits.__contains__) if tells else [],
    )


def _by_saga(items: Sequence[Item]) -> list[Step]:
    steps: dict[str, Step] = {}
    for item in items:
        steps.setdefault(item.saga_id, Step(item.saga_id, [])).items.append(item)
    return list(steps.values())


def _is_wake_up(step: Step) -> bool:
    return all(item.delivery is None for item in step.items)


def _guard_of(step: Step) -> int | None:
    return None if step.loaded is None else step.loaded.guard


def _unroutable_item(command: CommandMessage, certain: bool) -> Item:
    event_id = f"unroutable:{command.step}/{command.direction}/{command.attempt}"
    return Item(
        command.saga_id,
        lambda at_ms: CommandUnroutable(event_id, at_ms, command.step, command.direction, command.attempt, certain),
        event_id,
    )
