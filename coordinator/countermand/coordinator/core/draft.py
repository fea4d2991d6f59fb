"""A decision in the making: entries are added one by one, and each is applied at once."""

import msgspec
from msgspec.structs import replace

from countermand.coordinator.core.evolve import evolve
from countermand.coordinator.core.journal import IgnoredBecause, JournalEntry, Record, ReplyIgnored, StepAsked
from countermand.coordinator.core.plan import Plan
from countermand.coordinator.core.state import Saga, SagaState
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


class Draft:
    """What one event does to one saga, so far."""

    def __init__(self, plan: Plan, saga: Saga | None, event_id: str, at_ms: int) -> None:
        self.plan = plan
        self.event_id = event_id
        # Time never runs backwards inside a saga, even where two clocks or a restored one say so.
        self.at_ms = at_ms if saga is None else max(at_ms, saga.state.updated_ms)
        self.version = 1 if saga is None else saga.state.version + 1
        self.records: list[Record] = []
        self.results: dict[str, msgspec.Raw] = {}
        self.edits: dict[str, msgspec.Raw] = {}
        self.answers: list[Addressed] = []
        self._before = saga
        self._state = None if saga is None else saga.state
        self._input = msgspec.Raw(b"null") if saga is None else saga.input
        self._known_results = {} if saga is None else saga.results
        self._outcome = None if saga is None else saga.outcome
        self._known_edits = {} if saga is None else saga.edits

    @property
    def state(self) -> SagaState:
        if self._state is None:
            raise InvariantViolated("the saga has not been started")
        return self._state

    @property
    def saga(self) -> Saga:
        """The saga as it is after everything drafted so far, under the version that a commit will give it."""
        return Saga(self._numbered(), self._input, self._known_results, self._outcome, self._known_edits)

    def after(self) -> Saga | None:
        """The saga once decided: what it was before, if nothing was drafted."""
        return self.saga if self.records else self._before

    def add(self, entry: JournalEntry) -> None:
        self._state = evolve(self._state, entry, self.at_ms)
        self.records.append(Record(self.version, self.at_ms, self.event_id, entry))

    def ask(self, step: StepNode, direction: Direction, attempt: int) -> None:
        """Asks for one attempt of a step."""
        self.add(StepAsked(step.name, direction, attempt, self.at_ms + step.timeout_for(direction)))

    def leave_behind(self, version: int) -> None:
        """Goes on past a version that the saga may once have had: nothing of before is to look newer than this."""
        self.version = max(self.version, version + 1)

    def take_input(self, value: msgspec.Raw) -> None:
        self._input = value

    def take_result(self, step: str, value: msgspec.Raw) -> None:
        self.results[step] = value
        self._known_results = {**self._known_results, step: value}

    def take_edit(self, step: str, value: msgspec.Raw) -> None:
        self.edits[step] = value
        self._known_edits = {**self._known_edits, step: value}

    def take_outcome(self, value: msgspec.Raw) -> None:
        self._outcome = value

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

    def _numbered(self) -> SagaState:
        return replace(self.state, version=self.version, updated_ms=self.at_ms) if self.records else self.state
