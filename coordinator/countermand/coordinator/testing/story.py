"""Sagas told as stories: what goes wrong, and what is expected of it.

    given(fulfil, order).rejects("authorise_payment").expect_compensated("reserve_stock")

A story is told in the order of writing. In a plain test each expectation is checked where it stands; in an asynchronous
one the whole story is awaited: `await given(…).rejects(…).expect_compensated(…)`.
"""

import difflib
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Final, Literal, NoReturn, Self

import msgspec

from countermand.coordinator.operate.durations import milliseconds
from countermand.coordinator.testing.answering import SagaDocument
from countermand.coordinator.testing.effects import Effects, Look, difference, in_words, look
from countermand.coordinator.testing.expectations import (
    ANYTHING,
    Difference,
    Expected,
    compensation,
    completion,
    motion,
    names_of,
    standstill,
)
from countermand.coordinator.testing.home import Home, loop_runs
from countermand.coordinator.testing.stage import Participants
from countermand.coordinator.testing.troubles import START, Kind, Trouble
from countermand.coordinator.testing.verdict import Verdict, verdict_on
from countermand.coordinator.testing.world import World
from countermand.schemas.codec import encode
from countermand.schemas.definition import decode_definition
from countermand.schemas.errors import InvariantViolated
from countermand.schemas.messages import CancelMessage, Refused, SignalMessage, StartMessage

SAGA_ID: Final = "saga-1"

Act = Callable[[], Awaitable[None]]


class StoryFailed(AssertionError):
    """A saga didn't do what was expected of it; the text has its timeline."""


class Story:
    """One saga's story; made by `given`. Every verb gives the story back."""

    def __init__(
        self,
        saga: SagaDocument,
        value: object,
        *,
        home: Home,
        shares: bool = False,
        saga_id: str = SAGA_ID,
        tags: tuple[str, ...] = (),
    ) -> None:
        self._saga = saga
        self._input = encode(value)
        self._home = home
        self._shares = shares
        self._saga_id = saga_id
        self._tags = tags
        self._definition = decode_definition(saga.document)
        self._steps = {step.name: step for step in self._definition.steps()}
        self._script: list[Act] = []
        self._defined = False
        self._started = False
        self._before: Effects = {}
        self._requests = 0
        self._results: dict[str, bytes] = {}
        self._over: _Facts | None = None

    # --- what goes wrong

    def rejects(self, step: str, code: str = "rejected_by_the_test", *, reason: str = "") -> Self:
        """The participant says a business no, without being asked."""
        return self._trouble(step, "rejects", code=code, reason=reason)

    def fails(
        self,
        step: str,
        *,
        times: int | None = 1,
        code: str = "failed_by_the_test",
        rolled_back: bool = False,
        undo: bool = False,
    ) -> Self:
        """The participant fails so many times (None: always), without being asked; `undo`: at its compensation.

        `rolled_back` says that the participant vouches for having done nothing.
        """
        return self._trouble(step, "fails", undo, times=times, code=code, rolled_back=rolled_back)

    def times_out(self, step: str, *, times: int | None = 1, undo: bool = False) -> Self:
        """The participant does what it was asked for; its answer comes when nobody waits for it any more."""
        return self._trouble(step, "reply_late", undo, times=times)

    def loses_reply(self, step: str, *, times: int | None = 1, undo: bool = False) -> Self:
        """The participant does what it was asked for, and nobody ever hears of it."""
        return self._trouble(step, "reply_lost", undo, times=times)

    def duplicates(self, step: str, *, undo: bool = False) -> Self:
        """The command is delivered twice, and so is its reply."""
        self._trouble(step, "command_duplicated", undo)
        return self._trouble(step, "reply_duplicated", undo)

    def delays(self, step: str, duration: str, *, times: int | None = 1, undo: bool = False) -> Self:
        """The reply takes so long: `"5s"`, `"2h"`."""
        return self._trouble(step, "reply_delayed", undo, times=times, delay_ms=_duration(duration))

    def reorders(self, step: str, *, times: int | None = 1, undo: bool = False) -> Self:
        """The command is overtaken by the next one for this step, be it another attempt or the compensation.

        If there is none, it arrives when nothing else happens any more.
        """
        return self._trouble(step, "command_overtaken", undo, times=times)

    def crashes_participant(
        self, step: str, when: Literal["before", "after"] = "after", *, times: int | None = 1, undo: bool = False
    ) -> Self:
        """The participant's process ends before its effect, or after it and before the outcome is kept."""
        return self._trouble(
            step, "crash_before_effect" if when == "before" else "crash_after_effect", undo, times=times
        )

    def crashes_coordinator(
        self, step: str = START, when: Literal["before", "after"] = "after", *, undo: bool = False
    ) -> Self:
        """The coordinator's process ends as it takes this step's reply (or the start), before or after its commit."""
        kind: Kind = "coordinator_crash_before_commit" if when == "before" else "coordinator_crash_after_commit"
        return self._trouble(step, kind, undo)

    def answers(self, step: str, value: object) -> Self:
        """What a step without a participant answers, in the place of an example."""
        self._results[self._known(step)] = encode(value)
        return self

    # --- what people do, and time

    def cancels(self, *, after: str | None = None, reason: str = "cancelled by the test") -> Self:
        """A client asks that the saga be undone: now, or once this step has been done."""

        async def ask(world: World) -> None:
            request = CancelMessage(self._request_id(), self._saga_id, reason, world.reply_queue)
            await world.ask(request, f"cancels {self._saga_id}")

        return self._act(ask, after)

    def signals(self, name: str, payload: object = None, *, after: str | None = None) -> Self:
        """A client tells the saga of an event: now, or once this step has been done."""

        async def ask(world: World) -> None:
            raw = msgspec.Raw(encode(payload))
            request = SignalMessage(self._request_id(), self._saga_id, name, raw, world.reply_queue)
            await world.ask(request, f"signals {name} to {self._saga_id}")

        return self._act(ask, after)

    def advance(self, duration: str) -> Self:
        """Lets so much time go by: `"500ms"`, `"1d"`."""
        duration_ms = _duration(duration)

        async def wait(world: World) -> None:
            await world.run_for(duration_ms)

        return self._act(wait, None)

    # --- what is expected

    def expect_completed(self, outcome: object = ANYTHING) -> Self:
        """In the end the saga has completed, with this outcome as a whole."""
        __tracebackhide__ = True
        return self._expect(lambda verdict: completion(verdict, outcome))

    def expect_compensated(self, *steps: Expected, because: str | None = None) -> Self:
        """In the end all is undone. `steps` are all those that were compensated, in that order; a set: in any order.

        `because` is the code of the failure that turned the saga back.
        """
        __tracebackhide__ = True
        for step in names_of(steps):
            self._known(step)
        return self._expect(lambda verdict: compensation(verdict, steps, because))

    def expect_stuck(self, cause: str, step: str | None = None) -> Self:
        """In the end the saga waits for a person, for this cause and on this step."""
        __tracebackhide__ = True
        return self._expect(lambda verdict: standstill(verdict, cause, step))

    def expect_running(self) -> Self:
        """At this moment the saga has neither turned back nor ended, and isn't stuck. No time goes by."""
        __tracebackhide__ = True
        return self._expect(motion, rest=False)

    def expect_effects(self, effects: Mapping[str, Any]) -> Self:
        """What the effects have come to since the start, as a whole; what went back isn't counted."""
        __tracebackhide__ = True
        if self._home.effects is None:
            self._script.clear()
            raise ValueError("expect_effects: say how to look at them: given(…, effects=…)")

        async def compare() -> None:
            __tracebackhide__ = True
            found = (await self._facts(rest=True)).changed
            if found != dict(effects):
                self._fail(f"expected the effects {in_words(effects)}", f"found {in_words(found)}")

        return self._do(compare)

    # --- how it is told

    @property
    def timeline(self) -> str:
        """What has happened so far."""
        return self._home.timeline

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._tell_and_close().__await__()
        return self

    def __del__(self) -> None:
        if getattr(self, "_script", None):
            warnings.warn(
                "a story was told but never awaited, or nothing is expected of it", RuntimeWarning, stacklevel=2
            )

    async def _tell_and_close(self) -> None:
        __tracebackhide__ = True
        try:
            await self._tell()
        finally:
            if not self._shares:
                await self._home.aclose()

    async def _tell(self) -> None:
        __tracebackhide__ = True
        script, self._script = self._script, []
        for act in script:
            await act()

    def _do(self, act: Act) -> Self:
        """An expectation: checked now, unless a loop runs already, in which the story is awaited."""
        __tracebackhide__ = True
        self._script.append(act)
        if loop_runs():
            return self
        failed = True
        try:
            self._home.run(self._tell())
            failed = False
        finally:
            if not self._shares and (failed or self._over is not None):
                self._home.close()
        return self

    def _act(self, act: Callable[[World], Awaitable[None]], after: str | None) -> Self:
        step = None if after is None else self._known(after)

        async def now() -> None:
            await act(await self._begun())

        async def then() -> None:
            world = await self._opened()

            def done(saga_id: str, done_step: str) -> None:
                if (saga_id, done_step) == (self._saga_id, step):
                    world.on_done.remove(done)
                    world.clockwork.after(world.clockwork.latency_ms(), lambda: act(world))

            world.on_done.append(done)

        self._script.append(now if step is None else then)
        return self

    def _trouble(self, step: str, kind: Kind, undo: bool = False, **more: Any) -> Self:
        if step != START or not kind.startswith("coordinator"):
            self._known(step)
        trouble = Trouble(step, kind, "undo" if undo else "do", saga_id=self._saga_id, **more)

        async def add() -> None:
            (await self._opened()).troubles.add(trouble)

        self._script.append(add)
        return self

    def _known(self, step: str) -> str:
        if step not in self._steps:
            self._script.clear()
            near = difflib.get_close_matches(step, self._steps, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self._steps)}"
            raise ValueError(f"{self._definition.label} has no step {step!r}; {hint}")
        return step

    def _request_id(self) -> str:
        self._requests += 1
        return f"request-{self._requests}"

    # --- the world

    async def _opened(self) -> World:
        if self._over is not None:
            raise RuntimeError("the story is over: its saga is at rest; tell what happens before what is expected")
        world = await self._home.world()
        if not self._defined:
            self._defined = True
            await world.define(self._saga)
            label = self._definition.label
            world.cast.results.update({(label, step): result for step, result in self._results.items()})
        return world

    async def _begun(self) -> World:
        __tracebackhide__ = True
        world = await self._opened()
        if self._started:
            return world
        self._started = True
        self._before = await look(self._home.effects)
        label = self._definition
        request = StartMessage(
            self._request_id(),
            self._saga_id,
            label.name,
            msgspec.Raw(self._input),
            label.version,
            self._tags,
            world.reply_queue,
        )
        await world.ask(request, f"starts {label.label} as {self._saga_id}")
        refused = [answer for answer in world.answers if isinstance(answer, Refused)]
        if refused:
            raise StoryFailed(f"the start was refused: {refused[0].code}: {refused[0].problem}")
        return world

    def _expect(self, judge: Callable[[Verdict], Difference | None], *, rest: bool = True) -> Self:
        __tracebackhide__ = True

        async def check() -> None:
            __tracebackhide__ = True
            facts = await self._facts(rest=rest)
            problem = judge(facts.verdict)
            if problem is not None:
                self._fail(*problem)
            if rest and facts.unused:
                told = ", ".join(f"{each.step}: {each.words}" for each in facts.unused)
                self._fail("expected every trouble of the story to happen", f"never happened: {told}")

        return self._do(check)

    async def _facts(self, *, rest: bool) -> "_Facts":
        """How the saga stands now, or once nothing happens any more. Then a story that is alone is over."""
        if self._over is not None:
            return self._over
        world = await self._begun()
        if rest:
            await world.rest()
        saga = await world.saga(self._saga_id)
        if saga is None:
            raise InvariantViolated(f"saga {self._saga_id} was accepted and is not there")
        verdict = verdict_on(saga, await world.history(self._saga_id))
        changed = difference(self._before, await look(self._home.effects))
        unused = tuple(each for each in world.troubles.unused if each.saga_id == self._saga_id)
        facts = _Facts(verdict, changed, unused)
        if rest and not self._shares:
            self._over = facts
        return facts

    def _fail(self, expected: str, found: str) -> NoReturn:
        __tracebackhide__ = True
        raise StoryFailed(f"{expected}\n   {found}\n\n{self.timeline}\n\n(seed {self._home.seed})")


class _Facts(msgspec.Struct, frozen=True):
    """How a saga stands, what has come of its effects, and which of its troubles have not happened."""

    verdict: Verdict
    changed: Effects
    unused: tuple[Trouble, ...]


def given(
    saga: SagaDocument,
    value: object,
    *,
    participants: Participants = (),
    effects: Look | None = None,
    seed: int = 0,
    saga_id: str = SAGA_ID,
    tags: tuple[str, ...] = (),
) -> Story:
    """Begins the story of one saga with this input.

    `participants` are real ones, or a function that opens them; steps of others answer by themselves, with an example
    of their result. `effects` says how to look at what was done. The same `seed` gives the same story.
    """
    return Story(saga, value, home=Home(participants, effects, seed), saga_id=saga_id, tags=tags)


def _duration(text: str) -> int:
    try:
        return milliseconds(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: expected {error}") from None
