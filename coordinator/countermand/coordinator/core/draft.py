"""A decision in the making: entries are added one by one, and each is applied at once."""

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.commands import Tiding
from countermand.coordinator.core.evolve import evolve
from countermand.coordinator.core.frontier import Frontier
from countermand.coordinator.core.journal import IgnoredBecause, JournalEntry, Record, ReplyIgnored, StepAsked
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import Mark, Saga, SagaState, Scoped, StepState
from countermand.schemas.definition import StepNode
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.identifiers import Direction
from countermand.schemas.messages import Answer, ReplyMessage

# A participant gone wild can repeat itself for ever; a history that people read can't. Beyond this many replies that
# changed nothing, they are counted by the coordinator's metrics only.
IGNORED_REPLIES_MAX = 100


class Addressed(msgspec.Struct, frozen=True):
    """An answer and the client's queue that it goes to; null where nobody waits for it."""

    queue: str | None
    answer: Answer


class Parts(msgspec.Struct):
    """What is new beside the state: by name and place, or by request; see `state.Saga`."""

    results: dict[str, msgspec.Raw] = {}
    edits: dict[str, msgspec.Raw] = {}
    items: dict[str, msgspec.Raw] = {}
    events: dict[str, msgspec.Raw] = {}
    steps: dict[str, StepState] = {}
    marks: dict[str, Mark] = {}

    def __or__(self, later: "Parts") -> "Parts":
        """These and later ones."""
        return Parts(
            {**self.results, **later.results},
            {**self.edits, **later.edits},
            {**self.items, **later.items},
            {**self.events, **later.events},
            {**self.steps, **later.steps},
            {**self.marks, **later.marks},
        )


class Draft:
    """What one event does to one saga, so far."""

    def __init__(
        self, plan: Plan, saga: Saga | None, event_id: str, at_ms: int, away: frozenset[str] = frozenset()
    ) -> None:
        self.plan = plan
        self.event_id = event_id
        # Time never runs backwards inside a saga, even where two clocks or a restored one say so.
        self.at_ms = at_ms if saga is None else max(at_ms, saga.state.updated_ms)
        self.version = 1 if saga is None else saga.state.version + 1
        self.records: list[Record] = []
        self.parts = Parts()
        self.answers: list[Addressed] = []
        self.tidings: list[Tiding] = []
        self._before = saga
        self._state = None if saga is None else saga.state
        self._saga = saga
        self._passed: list[str] = []
        self._away = away
        self._begun = msgspec.Raw(b"null")

    @property
    def state(self) -> SagaState:
        if self._state is None:
            raise InvariantViolated("the saga has not been started")
        return self._state

    @property
    def saga(self) -> Saga:
        """The saga as it is after everything drafted so far, under the version that a commit will give it."""
        if self._saga is None:
            raise InvariantViolated("the saga has not been started")
        return replace(self._saga, state=self._numbered())

    def after(self) -> Saga | None:
        """The saga once decided: what it was before, if nothing was drafted."""
        if not self.records:
            return self._before
        self._put_away()
        return self.saga

    def step(self, ref: str) -> StepState | None:
        """What is known of a step; one that was put away is brought back, to be changed."""
        known = self.state.steps.get(ref)
        if known is None and (known := self.saga.step(ref)) is not None:
            self._state = replace(self.state, steps={**self.state.steps, ref: known})
        return known

    def going_back(self, ref: str) -> bool:
        """Whether a node's part of the saga is being undone, or has been: the saga as a whole, or a scope around it."""
        if self.state.phase != "running":
            return True
        return any(self.saga.mark(scope) is not None for scope in self.plan.scopes_around(ref))

    def moved(self, frontier: Frontier) -> None:
        """Takes over how far a walk came."""
        if frontier.frames != self.state.frames:
            self._state = replace(self.state, frames=frontier.frames)
        self._passed += frontier.passed

    def add(self, entry: JournalEntry) -> None:
        self._state = evolve(self._state, entry, self.at_ms)
        if self._saga is None:
            self._saga = Saga(self._state, self._begun, {})
        self.records.append(Record(self.version, self.at_ms, self.event_id, entry))

    def ask(self, step: StepNode, ref: str, direction: Direction, attempt: int) -> None:
        """Asks for one attempt of a step."""
        known = self.state.steps.get(ref)
        route = None if known is None or direction != "undo" else known.route
        timeout_ms = step.timeout_for(direction) if route is None else route.undo_timeout_ms
        self.add(StepAsked(ref, direction, attempt, self.at_ms + timeout_ms))

    def leave_behind(self, version: int) -> None:
        """Goes on past a version that the saga may once have had: nothing of before is to look newer than this."""
        self.version = max(self.version, version + 1)

    def take_input(self, value: msgspec.Raw) -> None:
        """The new saga's input. It comes before the first entry."""
        self._begun = value

    def take_result(self, step: str, value: msgspec.Raw) -> None:
        self.parts.results[step] = value
        self._saga = replace(self.saga, results={**self.saga.results, step: value})

    def take_edit(self, step: str, value: msgspec.Raw) -> None:
        self.parts.edits[step] = value
        self._saga = replace(self.saga, edits={**self.saga.edits, step: value})

    def take_items(self, items: dict[str, msgspec.Raw]) -> None:
        """The items of a loop, or what an approval shows, by name and place."""
        self.parts.items.update(items)
        self._saga = replace(self.saga, items={**self.saga.items, **items})

    def take_event(self, request_id: str, payload: msgspec.Raw) -> None:
        self.parts.events[request_id] = payload
        self._saga = replace(self.saga, events={**self.saga.events, request_id: payload})

    def take_outcome(self, value: msgspec.Raw) -> None:
        self._saga = replace(self.saga, outcome=value)

    def answer(self, queue: str | None, answer: Answer) -> None:
        self.answers.append(Addressed(queue, answer))

    @property
    def takes_facts(self) -> bool:
        """Whether there is room for another fact."""
        return self.state.facts < IGNORED_REPLIES_MAX

    def ignore(self, reply: ReplyMessage, why: IgnoredBecause) -> None:
        """Keeps a reply that changes nothing as a fact, as long as there are few of them."""
        if self.takes_facts:
            kind = type(reply.outcome).__name__.lower()
            self.add(ReplyIgnored(reply.step, reply.direction, reply.attempt, kind, why))

    def _put_away(self) -> None:
        """Keeps the state small: what is over stands beside it from now on."""
        state, over_max = self.state, self.plan.over_max
        # What the frames have not been led past yet has to stay: without a walk they stand still. What an operator's
        # request brought back had been put away before, and goes back as long as there are frames that lead past it.
        walked = state.paused is None and not state.halted and not state.confirming
        back = self._away if state.frames else frozenset[str]()
        passed = back.union(self._passed) if walked else back
        leave = {ref: mark for ref, mark in state.marks.items() if ref in passed}
        if len(state.marks) <= over_max:
            leave = {}
        if len(state.steps) > over_max or leave:
            # The pivot stays: whether the saga may turn back is asked of it all the time.
            over = {
                ref: step for ref, step in state.steps.items() if (walked or ref in back) and self._is_over(ref, step)
            }
            # What a scope's mark says of its steps goes with it.
            if len(over) > over_max or leave:
                self.parts.steps.update(over)
                steps = {ref: step for ref, step in state.steps.items() if ref not in over}
                self._state = state = replace(state, steps=steps)
                self._saga = replace(self.saga, steps={**self.saga.steps, **over})
        if leave:
            self.parts.marks.update(leave)
            marks = {ref: mark for ref, mark in state.marks.items() if ref not in leave}
            self._state = replace(state, marks=marks)
            self._saga = replace(self.saga, marks={**self.saga.marks, **leave})

    def _is_over(self, ref: str, step: StepState) -> bool:
        if ref == self.plan.pivot or step.open:
            return False
        if step.over:
            return True
        marks = (self.state.marks.get(scope) for scope in self.plan.scopes_around(ref))
        return any(isinstance(mark, Scoped) and mark.undone for mark in marks)

    def _numbered(self) -> SagaState:
        return replace(self.state, version=self.version, updated_ms=self.at_ms) if self.records else self.state
