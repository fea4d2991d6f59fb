"""How sagas end, for those who wait.

The coordinator sends an outcome once, to the queue that the start or a watch named, and that queue dies with its
connection. So a client asks again for every outcome that somebody waits for: when its queue was lost, and once in a
while, because the last message before a loss can't be told from one that was never sent.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec

from countermand.participants.correspondence import Answered, Correspondence
from countermand.participants.saga import Saga
from countermand.schemas.errors import CountermandError
from countermand.schemas.identifiers import checked_saga_id
from countermand.schemas.messages import Accepted, Failure, Outcome, Phase, Refused, WatchMessage

Out = TypeVar("Out")
Out_co = TypeVar("Out_co", covariant=True)

_FIELD = re.compile(r"[A-Za-z_][\w.\[\]\-]*(?=: )")
_WATCH: Final = "watch:"


class RequestRefused(CountermandError):
    """A coordinator refused a request, and nothing was changed.

    `code` is stable; `field` is the field at fault, if one is; `findings` are the lint's, for a definition.
    """

    def __init__(self, refused: Refused) -> None:
        super().__init__("\n  ".join((f"{refused.code}: {refused.problem}", *refused.findings)))
        self.code = refused.code
        self.problem = refused.problem
        self.findings = refused.findings
        named = _FIELD.match(refused.problem)
        self.field = named.group() if named else None


class StartRefused(RequestRefused):
    """A start was refused: the id is taken by a saga with other content, or definition or input are not accepted."""


class OutcomePending(CountermandError, TimeoutError):
    """The saga had not ended in time. It goes on; wait again."""

    code = "outcome_pending"


@dataclass(frozen=True, slots=True)
class SagaOutcome(Generic[Out_co]):
    """How a saga ended. `result` is there for a completed saga, `failure` says why any other one turned back."""

    saga_id: str
    phase: Phase
    result: Out_co | None
    failure: Failure | None

    @property
    def completed(self) -> bool:
        return self.phase == "completed"


class Watched:
    """What a client knows about the end of one saga. Lives as long as somebody holds a handle."""

    def __init__(self, saga_id: str) -> None:
        self.saga_id = saga_id
        self.outcome: Outcome | None = None
        # Whether a coordinator has been told, by a start or a watch, where the outcome is wanted.
        self.asked = False
        self.waiting: set[asyncio.Future[Outcome]] = set()

    def settle(self, resolve: Callable[[asyncio.Future[Outcome]], None]) -> None:
        """Lets everybody who waits have the outcome or an error."""
        for waiting in self.waiting:
            if not waiting.done():
                resolve(waiting)


class Watch:
    """The sagas that one client has handles on."""

    def __init__(self, correspondence: Correspondence, interval_s: float) -> None:
        self._correspondence = correspondence
        self._interval_s = interval_s
        self._sagas: WeakValueDictionary[str, Watched] = WeakValueDictionary()

    def saga(self, saga_id: str) -> Watched:
        """What is known about this saga. Raises InvalidIdentifier."""
        watched = self._sagas.get(checked_saga_id(saga_id))
        if watched is None:
            watched = self._sagas[saga_id] = Watched(saga_id)
        return watched

    async def outcome(self, watched: Watched, timeout_s: float | None) -> Outcome:
        """How the saga ended; waits for it.

        Raises:
            OutcomePending: it had not ended in time.
            RequestRefused: no coordinator knows it.
        """
        if watched.outcome is not None:
            return watched.outcome
        waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        watched.waiting.add(waiting)
        if not watched.asked:
            self._ask(watched)
        try:
            await asyncio.wait({waiting}, timeout=timeout_s)
            if not waiting.done():
                raise OutcomePending(f"saga {watched.saga_id} had not ended after {timeout_s:g} s; it goes on")
            return waiting.result()
        finally:
            watched.waiting.discard(waiting)
            waiting.cancel()

    async def run(self) -> None:
        """Asks again for what is waited for, for ever."""
        while True:
            await self._correspondence.wait_reconnected(self._interval_s)
            if self._correspondence.stalled:
                continue  # While the broker takes nothing, more of the same would only pile up.
            for watched in list(self._sagas.values()):
                watched.asked = False
                if watched.waiting and watched.outcome is None:
                    self._ask(watched)

    def told(self, answer: Outcome | Answered) -> None:
        """Takes note of an outcome, or of the answer to a watch."""
        if isinstance(answer, Outcome):
            watched = self._sagas.get(answer.saga_id)
            if watched is not None:
                watched.outcome = answer
                watched.settle(lambda waiting: waiting.set_result(answer))
        elif isinstance(answer, Refused) and answer.request_id.startswith(_WATCH):
            watched = self._sagas.get(answer.request_id.removeprefix(_WATCH))
            if watched is not None:
                watched.asked = False
                watched.settle(lambda waiting: waiting.set_exception(RequestRefused(answer)))

    def close(self) -> None:
        """Sends everybody home who still waits."""
        for watched in list(self._sagas.values()):
            gone = OutcomePending(f"the client was closed; saga {watched.saga_id} goes on")
            watched.settle(lambda waiting, gone=gone: waiting.set_exception(gone))  # type: ignore[misc]

    def _ask(self, watched: Watched) -> None:
        watched.asked = True
        request = WatchMessage(f"{_WATCH}{watched.saga_id}", watched.saga_id, self._correspondence.queue)
        self._correspondence.tell(request, shard_of=watched.saga_id)


class SagaHandle(Generic[Out]):
    """One saga, whether this client started it or not.

    `duplicate` says that the saga had been started before, by this or another call with the same id.
    """

    def __init__(self, watch: Watch, watched: Watched, saga: Saga[Any, Out] | None, answer: Accepted | None) -> None:
        self._watch = watch
        self._watched = watched
        self._saga = saga
        self.saga_id = watched.saga_id
        self.duplicate = answer is not None and answer.duplicate

    async def outcome(self, timeout_s: float | None = None) -> SagaOutcome[Out]:
        """Waits until the saga has ended; without `timeout_s` for as long as it takes.

        Raises:
            OutcomePending: it had not ended in time.
            RequestRefused: no coordinator knows the saga (any more).
            MalformedMessage: the result isn't what the saga declares.
        """
        outcome = await self._watch.outcome(self._watched, timeout_s)
        result: Out | None = None
        if outcome.phase == "completed":
            decode = msgspec.json.decode if self._saga is None else self._saga.decode_outcome
            result = decode(bytes(outcome.result))
        return SagaOutcome(outcome.saga_id, outcome.phase, result, outcome.failure)

    def __repr__(self) -> str:
        return f"<SagaHandle {self.saga_id}>"
